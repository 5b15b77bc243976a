"""One purchase of two feeds counts once, two equal ones twice; a person has the last word."""

from collections.abc import AsyncIterator

import pytest

from cdc.runtime.errors import Refused
from tests.duplicates_world import World, duplicates


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with duplicates(database) as made:
        yield made


async def test_one_purchase_of_two_feeds_counts_once_and_the_plans_row_is_kept(
    world: World,
) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-04", "SQ *BLUE BOTTLE 0423")
    other = await world.bank("-14.50", "2026-05-04", "SQ *BLUE BOTTLE 0423")
    tried = await world.run(dry_run="true")
    assert (tried["confirmed"], await world.matches()) == (1, [])
    assert (await world.run())["confirmed"] == 1
    assert await world.matches() == [(mine, theirs, "confirmed")]
    assert await world.once() == {mine, other}
    assert (await world.run())["confirmed"] == 0


async def test_two_equal_purchases_of_a_day_stay_two(world: World) -> None:
    mine = [await world.plan("-3.20", "2026-03-02", "Kiosk") for _ in range(2)]
    theirs = {await world.bank("-3.20", "2026-03-02", "KIOSK") for _ in range(3)}
    await world.run()
    matches = await world.matches()
    assert sorted(one for one, _, _ in matches) == sorted(mine)
    left_out = {other for _, other, _ in matches}
    assert len(left_out) == 2
    assert await world.once() == set(mine) | theirs - left_out


async def test_in_small_parts_the_same_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A household of any size is looked through in parts, which end where an amount does."""
    monkeypatch.setattr("cdc.jobs.deduplicate.PART_ROWS", 1)
    mine = set()
    for amount in ("-3.20", "-3.20", "-3.21", "-3.21", "-3.22"):
        mine.add(await world.plan(amount, "2026-03-02", "Kiosk"))
        await world.bank(amount, "2026-03-03", "KIOSK 17")
    assert (await world.run())["confirmed"] == 5
    assert await world.once() == mine


async def test_what_a_person_decides_stays(world: World) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    assert (await world.run(undo="1"))["decided"] == 1
    assert await world.once() == {mine, theirs}
    await world.run()
    assert await world.matches() == [(mine, theirs, "rejected")]
    match = await world.connection.fetchrow("SELECT id, decided_by FROM budget.matches")
    assert match is not None
    assert match["decided_by"] == "anna"
    tried = await world.run(confirm=str(match["id"]), dry_run="true")
    assert tried == {"dry_run": True, "decided": 1}
    assert await world.once() == {mine, theirs}
    await world.run(confirm=str(match["id"]))
    assert await world.once() == {mine}


async def test_what_is_doubtful_is_only_proposed(world: World) -> None:
    await world.plan("-99.00", "2026-03-02", "Birthday")
    await world.bank("-99.00", "2026-03-02", "AMAZON MKTPLACE")
    found = await world.run()
    assert (found["confirmed"], found["proposed"]) == (0, 1)
    assert len(await world.once()) == 2


async def test_a_posted_row_replaces_its_pending_one(world: World) -> None:
    pending = await world.bank("-10.00", "2026-03-02", "Bistro", pending=True)
    posted = await world.bank("-12.00", "2026-03-03", "Bistro", pending_transaction_id=pending)
    assert (await world.run())["confirmed"] == 1
    assert await world.once() == {posted}
    assert (await world.run())["confirmed"] == 0


async def test_a_match_that_no_longer_holds_is_withdrawn(world: World) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    await world.change(mine, "-9.00")
    assert (await world.run())["withdrawn"] == 1
    assert await world.once() == {mine, theirs}
    assert (await world.match(theirs))["reason"]["withdrawn"] == "the amounts differ"


async def test_a_persons_choice_takes_the_place_of_a_jobs(world: World) -> None:
    await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    chosen = await world.plan("-14.50", "2026-03-06", "Coffee")
    pair = (
        "INSERT INTO budget.matches (book, source, transaction_id, other_source, other_id, score)"
    )
    number = await world.connection.fetchval(
        f"{pair} VALUES ('home', 'ynab', $1, 'bank', $2, 0.7) RETURNING id", chosen, theirs
    )
    await world.run(confirm=str(number))
    assert [match[2] for match in await world.matches()] == ["proposed", "confirmed"]
    await world.run()
    assert [match[2] for match in await world.matches()] == ["proposed", "confirmed"]
    first = await world.connection.fetchval("SELECT min(id) FROM budget.matches")
    with pytest.raises(Refused, match="by a person's word"):
        await world.run(confirm=str(first))


async def test_a_row_deleted_and_made_anew_is_matched_anew(world: World) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    await world.delete(mine)
    assert await world.once() == {theirs}
    await world.run()
    assert await world.once() == {theirs}
    await world.delete(mine, back=True)
    assert await world.once() == {mine}  # nothing had taken its place
    await world.delete(mine)
    anew = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    assert (await world.run())["confirmed"] == 1
    assert await world.once() == {anew}
    await world.delete(mine, back=True)
    assert await world.once() == {mine, anew}  # YNAB has two now
    await world.run()
    assert await world.once() == {mine, anew}


async def test_what_a_person_confirmed_gives_way_only_to_a_living_row(world: World) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    number = (await world.match(theirs))["id"]
    await world.run(confirm=str(number))
    assert (await world.match(theirs))["decided_by"] == "anna"
    await world.delete(mine)
    await world.run()
    assert (await world.match(theirs))["state"] == "confirmed"
    anew = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    assert await world.once() == {anew}
    old = await world.match(theirs)
    assert (old["state"], old["reason"]["confirmed_by"]) == ("proposed", "anna")


async def test_the_banks_row_made_anew_is_matched_anew(world: World) -> None:
    mine = await world.plan("-14.50", "2026-03-02", "Blue Bottle")
    theirs = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    await world.delete(theirs)
    anew = await world.bank("-14.50", "2026-03-02", "Blue Bottle")
    await world.run()
    assert await world.once() == {mine}
    await world.delete(theirs, back=True)
    assert await world.once() == {mine, theirs}  # the bank tells of two again
    assert (mine, anew, "confirmed") in await world.matches()
