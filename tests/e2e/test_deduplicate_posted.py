"""A purchase stays one from its pending row to its posted one, which is another row.

The bank removes the one and adds the other in one update, but their rows may be written in any
order; a job may run at any time. At every moment the purchase counts once.
"""

from collections.abc import AsyncIterator

import pytest

from tests.duplicates_world import World, duplicates


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with duplicates(database) as made:
        yield made


async def bought(world: World) -> tuple[str, str]:
    """(the plan's row, the bank's pending one): matched by a job."""
    mine = await world.plan("-10.00", "2026-03-02", "Bistro")
    pending = await world.bank("-10.00", "2026-03-02", "BISTRO 17", pending=True)
    await world.run()
    assert await world.matches() == [(mine, pending, "confirmed")]
    return mine, pending


async def posted(world: World, pending: str, amount: str = "-10.00") -> str:
    return await world.bank(amount, "2026-03-04", "BISTRO 17", pending_transaction_id=pending)


@pytest.mark.parametrize("first", ["added", "removed"])
async def test_what_is_posted_counts_once_before_and_after_the_next_job(
    world: World, first: str
) -> None:
    mine, pending = await bought(world)
    if first == "removed":
        await world.delete(pending)
        assert await world.once() == {mine}
    row = await posted(world, pending)
    assert await world.once() == {mine}
    await world.delete(pending)
    assert await world.once() == {mine}
    assert (await world.run())["followed"] == 1
    assert await world.matches() == [(mine, row, "confirmed")]
    match = await world.match(row)
    assert (match["decided_by"], match["reason"]["was_pending"]) == ("job 1", pending)
    assert await world.once() == {mine}
    again = await world.run()
    assert (again["followed"], again["confirmed"], again["withdrawn"]) == (0, 0, 0)
    await world.run(undo="1")
    assert await world.once() == {mine, row}  # and it can be undone
    await world.run()
    assert await world.once() == {mine, row}


async def test_a_job_between_adding_and_removing_changes_nothing(world: World) -> None:
    mine, pending = await bought(world)
    row = await posted(world, pending)
    await world.run()
    assert await world.once() == {mine}
    await world.delete(pending)
    assert await world.once() == {mine}
    await world.run()
    assert await world.once() == {mine}
    assert (mine, row, "confirmed") in await world.matches()


async def test_what_was_linked_while_both_lived_is_still_found_in_the_plan(world: World) -> None:
    pending = await world.bank("-10.00", "2026-03-02", "BISTRO 17", pending=True)
    row = await posted(world, pending)
    await world.run()
    assert await world.matches() == [(row, pending, "confirmed")]
    mine = await world.plan("-10.00", "2026-03-02", "Bistro")
    await world.run()
    assert await world.once() == {mine}
    await world.delete(pending)
    await world.run()
    assert await world.once() == {mine}


async def test_a_tip_makes_it_no_other_purchase(world: World) -> None:
    mine, pending = await bought(world)
    row = await posted(world, pending, "-12.00")
    await world.delete(pending)
    assert await world.once() == {mine}
    assert (await world.run())["withdrawn"] == 0
    assert await world.once() == {mine}
    assert (await world.validate())["relations"] == 1  # what the plan says is not what was paid
    await world.change(mine, "-12.00")
    assert "relations" not in await world.validate()
    await world.change(mine, "-99.00")
    assert (await world.run())["withdrawn"] == 1
    assert await world.once() == {mine, row}


async def test_what_a_person_confirmed_follows(world: World) -> None:
    mine, pending = await bought(world)
    await world.run(confirm=str((await world.match(pending))["id"]))
    row = await posted(world, pending, "-12.00")
    await world.delete(pending)
    await world.run()
    assert await world.matches() == [(mine, row, "confirmed")]
    assert (await world.match(row))["decided_by"] == "anna"
    assert await world.once() == {mine}


async def test_what_a_person_rejected_stays_rejected(world: World) -> None:
    mine, pending = await bought(world)
    await world.run(reject=str((await world.match(pending))["id"]))
    row = await posted(world, pending)
    assert await world.once() == {mine, row}
    await world.delete(pending)
    assert await world.once() == {mine, row}
    for _ in range(2):
        await world.run()
        assert await world.matches() == [(mine, row, "rejected")]
        assert await world.once() == {mine, row}


async def test_a_proposal_follows_without_becoming_two(world: World) -> None:
    mine = await world.plan("-99.00", "2026-03-02", "Birthday")
    pending = await world.bank("-99.00", "2026-03-02", "AMAZON MKTPLACE", pending=True)
    await world.run()
    row = await world.bank("-99.00", "2026-03-03", "AMAZON", pending_transaction_id=pending)
    await world.delete(pending)
    await world.run()
    assert await world.matches() == [(mine, row, "proposed")]
    assert await world.once() == {mine, row}


async def test_a_person_may_say_that_what_was_posted_is_another_purchase(world: World) -> None:
    pending = await world.bank("-10.00", "2026-03-02", "Bistro", pending=True)
    row = await posted(world, pending)
    await world.run()
    await world.run(reject=str((await world.match(pending))["id"]))
    assert await world.once() == {pending, row}
    await world.run()
    assert await world.once() == {pending, row}


async def test_a_hold_that_is_posted_as_two_is_one_match_and_another_purchase(
    world: World,
) -> None:
    mine, pending = await bought(world)
    first, second = [await posted(world, pending) for _ in range(2)]
    await world.delete(pending)
    assert await world.once() == {mine, second}
    await world.run()
    assert await world.once() == {mine, second}
    assert await world.matches() == [(mine, first, "confirmed")]


async def test_a_row_that_comes_back_counts_once(world: World) -> None:
    mine, pending = await bought(world)
    row = await posted(world, pending)
    await world.delete(pending)
    await world.run()
    await world.delete(pending, back=True)
    assert await world.once() == {mine}
    await world.delete(pending)
    await world.delete(row)
    assert await world.once() == {mine}
    await world.delete(row, back=True)
    assert await world.once() == {mine}
    await world.delete(mine)
    assert await world.once() == {row}


async def test_two_jobs_confirmed_what_turns_out_to_be_one_purchase(world: World) -> None:
    """The link came late: both rows had been matched before."""
    mine, pending = await bought(world)
    other = await world.plan("-10.00", "2026-03-04", "Bistro")
    row = await world.bank("-10.00", "2026-03-04", "BISTRO 17")
    await world.run()
    assert len(await world.once()) == 2
    await world.connection.execute(
        "UPDATE budget.transactions SET pending_transaction_id = $1 WHERE id = $2", pending, row
    )
    await world.delete(pending)
    assert (await world.run())["withdrawn"] == 1
    states = {kept: state for kept, _, state in await world.matches()}
    assert sorted(states.values()) == ["confirmed", "proposed"]
    assert states.keys() == {mine, other}
    assert await world.once() == {mine, other}  # the plan has two


async def test_a_pending_row_that_is_kept_is_followed_too(world: World) -> None:
    """Two banks' feeds tell of one account: the row that counts is a pending one."""
    await world.budget.feed("another", "item")
    account = await world.budget.account("another", "0", name="Gold", mask="4711")
    for source, where in (("bank", world.bank_account), ("another", account)):
        await world.budget.spend(
            *(source, where, "-10.00", "2026-03-02", "Bistro"), id=f"{source}1", pending=True
        )
    await world.run()
    ((kept, left_out, _),) = await world.matches()
    assert await world.once() == {kept}
    source = "bank" if kept == "bank1" else "another"
    where = world.bank_account if source == "bank" else account
    row = await world.budget.spend(
        *(source, where, "-10.00", "2026-03-03", "Bistro"), pending_transaction_id=kept
    )
    await world.delete(kept)
    assert await world.once() == {row}
    await world.run()
    assert await world.matches() == [(row, left_out, "confirmed")]


async def test_a_dry_run_tells_what_a_run_would_do(world: World) -> None:
    _, pending = await bought(world)
    await posted(world, pending)
    await world.delete(pending)
    await world.plan("-3.00", "2026-03-02", "Kiosk")
    await world.bank("-3.00", "2026-03-02", "Kiosk")
    before = await world.matches()
    tried = await world.run(dry_run="true")
    assert await world.matches() == before
    done = await world.run()
    assert tried | {"dry_run": False} == done
    assert (done["followed"], done["confirmed"]) == (1, 1)
