"""What the documents of YNAB and Plaid leave open: whichever it is, the rows are the truth."""

from datetime import datetime
from typing import Any

import pytest

from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.ynab_household import YnabSize
from tests import plaid_world, ynab_world

TINY = YnabSize(transactions=60, years=1)
PAGES = PlaidSize(transactions=1_200)


@pytest.mark.parametrize(
    "switches",
    [
        {"rate_limit_header": True},
        {"budgets_alias": False},
        {"counts_429": True},
        {"month_delta": "all"},
        {"money_movement_delta": True},
        {"deleted_in_full": True},
        {"per_endpoint_counters": True, "plan_detail_rows_max": 10},
        {"deleted_in_full": True, "plan_detail_rows_max": 10, "list_rows_max": 30},
    ],
    ids=str,
)
async def test_whatever_ynab_does(switches: dict[str, Any]) -> None:
    async with ynab_world.world(TINY, poll_seconds=300.0) as it:
        it.sim.switch(**switches)
        plan = it.sim.plan()
        gone = plan.add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        plan.delete_transaction(gone)
        lines = [
            {"amount": -1_000, "category": "Pets"},
            {"amount": -2_000, "category": "Groceries"},
        ]
        split = plan.add_transaction("Visa", -3_000, lines=lines)
        plan.move_money("Pets", "Groceries", 1_000)
        await it.settled()
        plan.edit_transaction(split, lines=lines[1:], amount=-2_000)
        await it.followed.restart()
        await it.settled()
        it.check(lists="plan_detail_rows_max" in switches)
        assert not it.followed.dead_letters()


async def test_knowledge_may_move_where_nothing_has_changed() -> None:
    async with ynab_world.world(TINY) as it:
        await it.settled()
        plan = it.sim.plan().plan
        events = it.followed.events()
        plan.knowledge += 1_000
        await it.settled()
        assert it.followed.events() == events
        (cursor,) = it.followed.cursors().values()
        assert cursor.token is not None
        assert cursor.token["knowledge"]["plan"] == plan.knowledge


async def test_a_line_that_is_a_transfer_keeps_both_sides() -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        await it.settled()
        lines = [
            {"amount": -1_000, "category": "Pets"},
            {"amount": -2_000, "transfer_to": "Savings"},
        ]
        split = plan.add_transaction("Checking", -3_000, lines=lines)
        await it.settled()
        it.check()
        rows = it.followed.rows("budget.subtransactions").values()
        (line,) = (
            row for row in rows if row["transaction_id"] == split and row["transfer_account_id"]
        )
        other = it.followed.rows("budget.transactions")[line["transfer_transaction_id"]]
        assert (line["amount"], other["amount"]) == ("-2.00", "2.00")
        assert other["account_id"] == line["transfer_account_id"]
        assert other["transfer_account_id"]
        plan.edit_transaction(split, lines=[], category="Pets")
        await it.settled()
        it.check()
        assert line["transfer_transaction_id"] not in it.followed.rows("budget.transactions")


@pytest.mark.parametrize(("left", "seconds"), [(180, 30), (20, 45), (3, 300), (0, 900)])
async def test_the_less_of_the_quota_is_left_the_rarer_are_polls(left: int, seconds: int) -> None:
    async with ynab_world.world(TINY) as it:
        await it.settled()
        it.quota.left = left
        start = it.polls()
        await it.followed.run_until(lambda: it.polls() >= start + 4)
        polls = [each for each in it.sim.requests() if "last_knowledge_of_server" in each.query]
        third, fourth = (datetime.fromisoformat(each.at) for each in polls[-2:])
        assert seconds <= (fourth - third).total_seconds() <= seconds * 1.2 + 5


@pytest.mark.parametrize(
    "switches",
    [
        {"not_ready_cursor": "null"},
        {"not_ready_cursor": ""},
        {"collapse_log": False},
        {"mutation_raises": False},
    ],
    ids=str,
)
async def test_whatever_plaid_does(switches: dict[str, Any]) -> None:
    size = PlaidSize(transactions=1_200, initial_seconds=100, historical_seconds=300)
    async with plaid_world.world(size) as it:
        it.sim.switch(**switches)
        edits = it.sim.item()
        await it.followed.run_until(lambda: bool(it.followed.rows("budget.budgets")))
        it.sim.clock.advance(600)
        await it.settled()
        it.check()
        changed = edits.add_transaction("12.34", "Corner Shop")
        for amount in ("13.00", "14.00"):
            edits.modify_transaction(changed, amount=amount)
        gone = edits.add_transaction("1.00", "Kiosk")
        edits.remove_transaction(gone)
        await it.settled()
        it.check()
        assert "unexpected shape" not in str(it.followed.heard.lines)


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("added_first", [True, False])
async def test_the_halves_of_posting_lie_on_two_pages(added_first: bool, link: bool) -> None:
    async with plaid_world.world(PAGES) as it:
        edits = it.sim.item()
        pending = edits.add_transaction("20.00", "Restaurant", pending=True)
        await it.settled()
        before = it.requests("/transactions/sync")
        posted = edits.post_pending(
            pending, added_first=added_first, link=link, between=600, amount="23.00"
        )
        await it.settled()
        it.check()
        assert it.requests("/transactions/sync") - before >= 2
        rows = it.followed.rows("budget.transactions")
        assert pending not in rows
        assert rows[posted]["pending_transaction_id"] == (pending if link else None)
