"""Whole reads of feeds: nothing older wins, nothing that is there is deleted, what has gone is."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cdc.runtime.http import HttpClient
from cdc.sources.plaid import PlaidSource
from cdc.sources.plaid_item import ItemDelta
from cdc.sources.protocol import Change
from cdc.wishes import Resync
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.ynab_household import YnabSize
from tests import plaid_world, ynab_world

TINY = YnabSize(transactions=60, years=1)


async def test_movements_that_went_while_nobody_looked_are_deleted() -> None:
    """They are told whole, without deltas: only what was published knows what there was."""
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        for _ in range(3):
            plan.move_money("Pets", "Groceries", 1_000)
        await it.settled()
        movements = plan.plan.money_movements
        kept, *_, gone = movements.rows
        assert gone in it.followed.rows("budget.money_movements")
        await it.followed.restart()
        movements.rows.pop(gone)
        await it.settled()
        await it.settled()
        it.check()
        assert kept in it.followed.rows("budget.money_movements")
        before = it.followed.events()
        await it.followed.restart()
        await it.settled()
        assert it.followed.events() == before, "what is as it was is not told again"


async def test_movements_that_go_before_our_eyes_are_deleted() -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        plan.move_money("Pets", "Groceries", 1_000)
        await it.settled()
        plan.plan.money_movements.rows.pop(list(plan.plan.money_movements.rows)[-1])
        plan.move_money("Groceries", "Pets", 500)
        await it.settled()
        it.check()


async def test_many_movements_gone_at_once_wait_for_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that has lost its list is no reason to delete all there was."""
    monkeypatch.setattr("cdc.sources.ynab_plan.GONE_MAX", 5)
    monkeypatch.setattr("cdc.missing.MASS_DELETE_ROWS", 5)
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        for _ in range(10):
            plan.move_money("Pets", "Groceries", 1_000)
        await it.settled()
        it.sim.fail_next(
            "patch", match="/money_movements", changes=[["data.money_movements", []]], times=9
        )
        plan.move_money("Pets", "Groceries", 1_000)
        await it.followed.run_until(lambda: "would delete" in it.followed.line.progress.reason)
        assert len(it.followed.rows("budget.money_movements")) >= 10


async def test_what_was_read_by_lists_before_a_failure_does_not_win_over_what_came_since() -> None:
    """The lists of a try that failed are gone on with; what deltas told since is newer."""
    async with ynab_world.world(TINY) as it:
        it.sim.switch(plan_detail_rows_max=10)
        plan = it.sim.plan()
        edited = plan.add_transaction("Wallet", -1_000, category="Pets", memo="first")
        await it.settled()
        match = f"/plans/{plan.plan.id}/months/"
        it.sim.fail_next("status", match=match, status=500, times=3)
        it.sim.script("edit_transaction", args={"id": edited, "memo": "then"}, match=match)
        done: list[bool] = []
        it.followed.line.resync(Resync("1", done=lambda *_: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        await it.settled()
        it.check(lists=True)
        assert it.followed.rows("budget.transactions")[edited]["memo"] == "then"


async def test_a_plan_that_was_chosen_and_is_gone_does_not_stop_another() -> None:
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with ynab_world.world(*sizes, plans=("One", "Two")) as it:
        await it.settled()
        gone, kept = it.sim.books
        it.sim.drop_plan(gone)
        for life in range(2):  # the plan was known; a daemon that never knew it
            it.sim.clock.advance(7_200)
            added = it.sim.plan("Two").add_transaction("Wallet", -1_000, category="Pets")
            await it.followed.run_until(
                lambda added=added: added in it.followed.rows("budget.transactions")
            )
            name = gone if life == 0 else "One"
            await it.followed.run_until(
                lambda name=name: f"{name}: " in it.followed.line.progress.reason
            )
            await it.followed.restart()
        assert gone in it.followed.rows("budget.budgets")
        assert kept in it.followed.rows("budget.budgets")


async def test_whole_reads_of_many_banks_are_held_a_few_at_a_time() -> None:
    sizes = [PlaidSize(name=f"Bank {number}", transactions=30) for number in range(12)]
    async with plaid_world.world(*sizes) as it:
        held: list[int] = []
        places = it.followed.source._places  # type: ignore[attr-defined]

        def watch() -> bool:
            held.append(sum(place.held is not None for place in places.values()))
            return False

        it.sim.clock.advance(1.0)
        await it.followed.run_until(
            lambda: watch() or len(it.followed.rows("budget.transactions")) == 360
        )
        assert 1 < max(held) <= 4
        await it.settled()
        it.check()


async def test_histories_of_years_that_come_as_changes_are_taken_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plaid has read twelve banks for the first time: each tells two years in one update."""
    sizes = [
        PlaidSize(
            name=f"Bank {number}", transactions=30, initial_seconds=100, historical_seconds=200
        )
        for number in range(12)
    ]
    most: list[int] = []
    began: set[str] = set()
    tell = PlaidSource._changes_of

    def told(self: PlaidSource, name: str, delta: ItemDelta, position: int) -> Iterator[Change]:
        if len(delta.changes) > 15:
            began.add(self._items[name].context.id)
            rows = it.followed.rows("budget.transactions").values()
            arrived = Counter(row["budget_id"] for row in rows)
            most.append(sum(arrived[each] < 30 for each in began))
        return tell(self, name, delta, position)

    monkeypatch.setattr(PlaidSource, "_changes_of", told)
    monkeypatch.setattr("cdc.sources.plaid.READS_AT_ONCE", 1)
    async with plaid_world.world(*sizes) as it:
        await it.followed.run_until(lambda: len(it.followed.rows("budget.budgets")) == 12)
        it.sim.clock.advance(600)
        await it.settled()
        it.check()
        assert max(most) == 1


async def test_a_bank_that_needs_a_login_in_the_middle_does_not_keep_others_from_being_read() -> (
    None
):
    sizes = [PlaidSize(name=f"Bank {number}", transactions=30) for number in range(8)]
    async with plaid_world.world(*sizes) as it:
        for number in range(5):
            it.sim.item(f"Bank {number}").fail_item()
        rest = [it.sim.item(f"Bank {number}").item for number in range(5, 8)]
        await it.followed.run_until(
            lambda: len(it.followed.rows("budget.transactions")) == 30 * len(rest)
        )


async def test_a_bank_whose_place_is_lost_while_there_is_no_room_shows_nothing_old() -> None:
    """What it held from before its place was lost is not served any more."""
    sizes = [PlaidSize(name=f"Bank {number}", transactions=30) for number in range(6)]
    async with plaid_world.world(*sizes) as it:
        await it.settled()
        for number in range(6):
            edits = it.sim.item(f"Bank {number}")
            edits.remove_transaction(edits.transactions()[3].transaction_id)
            edits.add_transaction("3.00", "Kiosk")
            edits.refuse_cursors()
        await it.settled()
        it.check()


@pytest.mark.parametrize("feed", [ynab_world.world, plaid_world.world])
async def test_a_slow_run_the_next_tick_and_a_person_do_not_run_over_one_another(
    feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers slower than the interval, and two resyncs asked for meanwhile: one at a time."""
    under_way: list[int] = [0]
    most: list[int] = []
    exchange = HttpClient._exchange

    async def counted(self: HttpClient, *args: Any) -> Any:
        under_way[0] += 1
        most.append(under_way[0])
        try:
            return await exchange(self, *args)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(HttpClient, "_exchange", counted)
    async with feed(poll_seconds=0.001) as it:
        await it.settled()
        it.sim.fail_next("delay", seconds=0.05, times=6)
        done: list[str] = []
        for request in "12":
            it.followed.line.resync(
                Resync(request, done=lambda *_, request=request: done.append(request))
            )
        await it.followed.run_until(lambda: sorted(done) == ["1", "2"])
        await it.settled()
        it.check()
        assert max(most) == 1
