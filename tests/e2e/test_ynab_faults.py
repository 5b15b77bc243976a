"""YNAB followed through whatever can go wrong on the way: nothing lost, twice or revived."""

import random
from typing import Any

import pytest

from cdc.integration import Kind
from cdc.pipeline import ASKED_SECONDS_MAX
from cdc.whole_read import LookUp
from cdc.wishes import Resync
from compose.simulators.ynab_household import YnabSize
from tests.fakes import random_faults
from tests.ynab_world import SMALL, world


async def test_split_lines_that_do_not_add_up_are_kept_and_told_until_they_do() -> None:
    async with world() as it:
        plan = it.sim.plan()
        split = plan.add_transaction("Visa", -3_000, lines=[{"amount": -1_000}], unbalanced=True)
        await it.settled()
        it.check()
        kind = Kind(next(iter(it.sim.books)), "transactions", "split_sum", split)
        assert it.integration.open == {kind}
        plan.delete_transaction(split)
        await it.settled()
        it.followed.line.resync(Resync("1"))
        await it.settled()
        assert it.integration.open == set()


async def test_answers_that_cannot_be_used_are_counted_until_they_can() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        await it.settled()
        it.sim.fail_next("html", match="/plans/", times=2)
        await it.followed.run_until(lambda: bool(it.integration.open))
        ((kind, seen),) = it.integration.take().seen.items()
        assert kind[2:] == ("not_json", "") and kind.endpoint.startswith("GET /plans/")
        assert "<html" not in seen.detail and seen.open
        it.sim.plan().add_transaction("Wallet", -1_000, category="Pets")
        await it.settled()
        assert it.integration.open == set()
        it.check()


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "error": "service_unavailable"},
    {"kind": "status", "error": "too_many_requests"},
    {"kind": "status", "status": 429, "headers": {"retry-after": "40"}},
    {"kind": "status", "status": 500},
    {"kind": "html"},
    {"kind": "reset"},
    {"kind": "reset_after"},
    {"kind": "truncated", "keep_bytes": 300},
    {"kind": "patch", "match": "/plans/", "changes": [["-data.server_knowledge", None]]},
    {"kind": "patch", "match": "/plans/", "changes": [["data.server_knowledge", "many"]]},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:60])
@pytest.mark.parametrize("skip", [0, 1, 2, 3, 4])
async def test_a_failing_answer_moves_nothing(fault: dict[str, Any], skip: int) -> None:
    """At the list of plans, the whole read, the movements, the first and the second delta."""
    async with world(YnabSize(transactions=60, years=1)) as it:
        it.sim.fail_next(skip=skip, times=2, **fault)
        await it.settled()
        it.sim.plan().add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        it.check()


async def test_a_broken_object_is_a_dead_letter_and_its_neighbours_arrive() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        first = it.sim.plan().plan.transactions.live()[0].id
        it.sim.fail_next(
            "patch",
            match="/plans/",
            changes=[
                ["data.plan.transactions.0.amount", "ten"],
                ["data.plan.payees.0.id", None],
                ["data.plan.accounts.0.type", "cryptoVault"],
                ["data.plan.accounts.0.mood", "fine"],
            ],
        )
        await it.settled()
        letters = it.followed.dead_letters()
        assert {(each["path"], each["document_id"]) for each in letters} == {
            ("amount", first),
            ("id", None),
        }
        rows = it.followed.rows("budget.transactions")
        assert len(rows) == len(it.sim.plan().plan.transactions.live()) - 1
        account = next(
            row for row in it.followed.rows("budget.accounts").values() if row["details"]
        )
        assert (account["type"], account["details"]) == ("cryptoVault", {"mood": "fine"})


async def test_a_wrong_token_is_told_at_once_and_uses_nothing_up() -> None:
    async with world(token="wrong") as it:
        await it.followed.run_until(lambda: it.followed.line.progress.reason != "")
        assert "refuses the token" in it.followed.line.progress.reason
        start = it.sim.clock.now()

        def hours() -> float:
            return (it.sim.clock.now() - start).total_seconds() / 3600

        await it.followed.run_until(lambda: hours() > 1)
        assert len(it.sim.requests()) <= 13 * (hours() + 1)
        assert "wrong" not in str(it.followed.heard.lines)


@pytest.mark.parametrize("seed", range(8))
async def test_killed_at_random_points_of_a_poll(seed: int) -> None:
    """Lives cut off without a word, while people go on editing.

    Nothing is lost, twice or revived; after no kill is a cursor ahead of its rows. Half of the
    stories begin with the first whole read and lose knowledge, the others are of polls alone.
    """
    chance = random.Random(seed)
    held = lost_ms = 0
    async with world(YnabSize(transactions=60, years=1), seed=seed) as it:
        plan = it.sim.plan()
        ours: list[str] = []
        if seed % 2:
            await it.settled()
        for _ in range(30):
            ours.append(plan.add_transaction("Wallet", -1_000, category="Pets"))
            if chance.random() < 0.4:
                plan.delete_transaction(ours.pop(chance.randrange(len(ours))))
            if chance.random() < 0.3:
                plan.move_money("Pets", "Groceries", 1_000)
            if seed % 2 == 0 and chance.random() < 0.05:
                plan.lose_knowledge()
                it.sim.clock.advance(1.0)
                lost_ms = int(it.followed.now() * 1000)
            await it.followed.killed_after(chance.randrange(10, 400))
            held += it.check_cursor(lost_ms)
            it.sim.clock.advance(chance.choice([0.0, 5.0, 40.0]))
            await it.followed.restart()
        await it.settled()
        it.check()
        held += it.check_cursor(lost_ms)
    assert held > 0


@pytest.mark.parametrize("seed", range(4))
async def test_commits_that_fail_or_stay_in_doubt(seed: int) -> None:
    async with world(
        YnabSize(transactions=60, years=1), seed=seed, fault=random_faults(seed, 0.3)
    ) as it:
        for _ in range(6):
            it.sim.plan().add_transaction("Wallet", -1_000, category="Pets")
            it.sim.plan().move_money("Pets", "Groceries", 1_000)
            await it.settled()
            it.check()


async def test_a_resync_beside_the_stream_repairs_and_deletes() -> None:
    """Amounts may change without a mark: only a whole read tells them."""
    async with world() as it:
        await it.settled()
        it.sim.switch(derived_stamps=False)
        it.sim.plan().add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        done: list[bool] = []
        it.followed.line.resync(Resync("1", done=lambda *_: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        it.check()


async def test_a_dead_letter_is_tried_again_from_the_plan_as_it_is() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        first = it.sim.plan().plan.transactions.live()[0].id
        it.sim.fail_next(
            "patch", match="/plans/", changes=[["data.plan.transactions.0.amount", "ten"]]
        )
        await it.settled()
        assert first not in it.followed.rows("budget.transactions")
        done: list[bool] = []
        collection = f"{it.sim.plan().plan.id}/transactions"
        it.followed.line.look_up(LookUp(collection, (first,), lambda: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        it.check()


@pytest.mark.parametrize("form", ["plan", "lists"])
async def test_edits_while_pages_of_a_whole_read_are_published(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole read is old as soon as it is there: a delta must win over its later pages."""
    monkeypatch.setattr("cdc.stream_reader.PAGE_ROWS", 10)
    async with world(poll_seconds=0.01) as it:
        if form == "lists":
            it.sim.switch(plan_detail_rows_max=100)
        plan = it.sim.plan()
        rows = sorted(plan.plan.transactions.live(), key=lambda row: row.id)
        plain = [row for row in rows if not row.transfer_transaction_id and row.date > "2026"]
        edited = [row.id for row in plain if row.id not in plan.plan.lines][-12:]
        match = f"/plans/{plan.plan.id}" if form == "plan" else "/transactions"
        for number, row_id in enumerate(edited[:10]):
            order = ("edit_transaction", {"id": row_id, "memo": f"edit {number}"})
            if number % 3 == 2:
                order = ("delete_transaction", {"id": row_id})
            it.sim.script(order[0], args=order[1], match=match, when="after", skip=number // 2)
        await it.settled()
        await it.settled()  # the last edits came after requests of the first
        it.check(lists=form == "lists")
        gone = [row_id for row_id in edited if plan.plan.transactions[row_id].deleted]
        assert gone
        memos = {row["memo"] for row in it.followed.rows("budget.transactions").values()}
        assert "edit 0" in memos


async def test_a_plan_that_fails_does_not_stop_another() -> None:
    sizes = (SMALL, YnabSize(name="Holiday House", transactions=100, years=1))
    async with world(*sizes) as it:
        gone = it.sim.plan("Holiday House").plan
        it.sim.fail_next("status", match=gone.id, status=500, times=10_000)
        home = it.sim.plan("Household")
        for _ in range(3):
            added = home.add_transaction("Wallet", -1_000, category="Pets")
            await it.followed.run_until(
                lambda added=added: added in it.followed.rows("budget.transactions")
            )
        assert gone.id in it.followed.line.progress.reason
        it.sim.clear_faults()
        await it.settled()
        it.check()
        assert it.followed.line.progress.reason == ""


async def test_a_resync_of_several_plans_ends_when_all_of_them_have_been_read() -> None:
    sizes = [YnabSize(name=f"Plan {number}", transactions=60, years=1) for number in range(3)]
    told: list[tuple[str | None, dict[str, Any] | None]] = []
    async with world(*sizes) as it:
        await it.settled()
        line, plans = it.followed.line, list(it.sim.books)

        def done(error: str | None = None, result: dict[str, Any] | None = None) -> None:
            told.append((error, result))
            for plan in plans:
                reads = it.followed.cursors()[plan].reads.values()
                assert all(each.done and each.reason == "resync 1" for each in reads), plan

        line.resync(Resync("1", done=done))
        await it.followed.run_until(lambda: bool(told))
        ((error, result),) = told
        assert error is None and result is not None
        for plan, book in it.sim.books.items():
            live = len(book.plan.transactions.live())
            assert result[f"{plan}/transactions"] == {"rows_done": live, "rows_total": live}


@pytest.mark.parametrize("plans", [1, 2])
async def test_a_server_that_asks_for_time_gets_it(plans: int) -> None:
    """Retry-After decides when the next request is made, for one plan and for one of several."""
    sizes = [YnabSize(name=f"Plan {number}", transactions=60, years=1) for number in range(plans)]
    async with world(*sizes) as it:
        await it.settled()
        it.sim.fail_next("status", match="/plans/", status=503, headers={"retry-after": "700"})
        began = it.sim.clock.now()
        await it.followed.run_until(lambda: any(it.followed.waits))
        assert max(it.followed.waits) == pytest.approx(700.0)
        assert (it.sim.clock.now() - began).total_seconds() >= 700
        await it.settled()
        it.check()


async def test_no_server_can_ask_for_days() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        await it.settled()
        it.sim.fail_next("status", match="/plans/", status=503, headers={"retry-after": "86400"})
        await it.followed.run_until(lambda: any(it.followed.waits))
        assert max(it.followed.waits) == ASKED_SECONDS_MAX


async def test_a_plan_that_is_gone_does_not_use_up_the_quota_of_the_others() -> None:
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with world(*sizes) as it:
        await it.settled()
        gone, kept = it.sim.books
        it.sim.fail_next("status", match=f"/plans/{gone}", status=404, times=10_000)
        start, before = it.sim.clock.now(), len(it.sim.requests())
        await it.followed.run_until(lambda: (it.sim.clock.now() - start).total_seconds() > 7_200)
        asked = [each.path for each in it.sim.requests()[before:]]
        assert sum(gone in path for path in asked) <= 26
        assert sum(kept in path for path in asked) >= 20
        assert f"{gone}: " in it.followed.line.progress.reason
        assert {each.category for each in it.integration.open} == {"rejected"}
