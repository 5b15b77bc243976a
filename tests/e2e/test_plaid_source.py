"""Plaid items followed to their topics: pending and posted, balances kept, accounts that go."""

from datetime import date
from decimal import Decimal

import pytest

from cdc.runtime.errors import SettingsError
from cdc.sources.plaid import Login, PlaidSource
from cdc.sources.plaid_api import PlaidApi
from cdc.wishes import Resync
from compose.simulators.plaid import CLIENT_ID, SECRET
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_item import INITIAL
from compose.simulators.plaid_rows import Entry
from tests.plaid_world import SMALL, world


@pytest.mark.parametrize("currency", ["USD", "JPY", None])
async def test_the_first_read_is_the_item(currency: str | None) -> None:
    points = None if currency else "PTS"
    size = PlaidSize(transactions=1_200, currency=currency, unofficial_currency=points)
    async with world(size) as it:
        await it.settled()
        it.check()
        assert len(it.followed.rows("budget.transactions")) == 1_200
        assert len(it.followed.rows("budget.balances")) == 3
        assert not it.followed.dead_letters()


async def test_two_years_are_asked_for_at_the_first_call() -> None:
    async with world() as it:
        await it.settled()
        assert it.item.days_requested == 730


async def test_whatever_asks_first_asks_for_two_years() -> None:
    """What the first call asks for is for good, and a window may be that call."""
    async with world() as it:
        token = it.logins[0].access_token
        now = it.followed.now
        api = PlaidApi(CLIENT_ID, SECRET, [token], now=now, base_url=it.sim.base_url)
        await api.transactions(token, date(2026, 10, 1), date(2026, 10, 30))
        await api.close()
        assert it.item.days_requested == 730


async def test_when_nothing_changes_a_poll_costs_one_request_and_publishes_nothing() -> None:
    async with world() as it:
        await it.settled()
        events, before = it.followed.events(), len(it.sim.requests())
        await it.settled()
        await it.settled()
        assert it.followed.events() == events
        assert len(it.sim.requests()) - before <= 4 * 2


async def test_added_modified_and_removed() -> None:
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        added = edits.add_transaction("12.34", "Corner Shop")
        other = edits.transactions()[5].transaction_id
        edits.modify_transaction(other, amount=Decimal("99.99"))
        gone = edits.transactions()[8].transaction_id
        edits.remove_transaction(gone)
        await it.settled()
        it.check()
        rows = it.followed.rows("budget.transactions")
        assert rows[added]["amount"] == "-12.34"
        assert gone not in rows


async def test_pending_becomes_posted_and_names_what_it_was() -> None:
    async with world() as it:
        edits = it.sim.item()
        pending = edits.add_transaction("20.00", "Restaurant", pending=True)
        await it.settled()
        assert it.followed.rows("budget.transactions")[pending]["pending"] is True
        posted = edits.post_pending(pending, amount="23.00")
        hold = edits.add_transaction("50.00", "Hotel hold", pending=True)
        await it.settled()
        edits.remove_transaction(hold)
        await it.settled()
        it.check()
        row = it.followed.rows("budget.transactions")[posted]
        assert (row["pending_transaction_id"], row["amount"]) == (pending, "-23.00")
        assert pending not in it.followed.rows("budget.transactions")


async def test_history_that_is_not_ready_arrives_as_it_comes_and_is_whole_in_the_end() -> None:
    size = PlaidSize(transactions=300, initial_seconds=200, historical_seconds=900)
    async with world(size) as it:

        def rows() -> int:
            return len(it.followed.rows("budget.transactions"))

        def reads_done() -> bool:
            (cursor,) = it.followed.cursors().values()
            return all(read.done for read in cursor.reads.values())

        await it.followed.run_until(lambda: bool(it.followed.rows("budget.budgets")))
        assert rows() == 0
        it.sim.clock.advance(300)
        await it.followed.run_until(lambda: 0 < rows() < 300)
        await it.followed.run_until(lambda: "bank's history" in it.followed.line.progress.reason)
        assert not reads_done(), "the last days alone are not all there is"
        await it.settled()
        it.check()
        assert rows() == 300


async def test_a_whole_read_of_the_last_days_alone_deletes_nothing() -> None:
    """Plaid reads the bank anew and tells 30 days of two years: the others have not gone."""
    async with world(PlaidSize(transactions=300)) as it:
        await it.settled()
        it.item.historical_seconds = 900
        item = it.item
        older = sorted(item.rows.values(), key=lambda row: row.date)
        item.vault, recent = older[:-20], older[-20:]
        item.rows = {row.transaction_id: row for row in recent}
        item.log = [Entry("added", row) for row in recent]
        item.status, item.initialised_at = INITIAL, it.sim.clock.now()
        it.followed.line.resync(Resync("1"))
        await it.followed.run_until(lambda: "bank's history" in it.followed.line.progress.reason)
        assert len(it.followed.rows("budget.transactions")) == 300
        it.sim.clock.advance(900)
        await it.settled()
        it.check()


async def test_each_change_of_a_balance_is_a_row_of_history() -> None:
    async with world() as it:
        edits = it.sim.item()
        card = next(row for row in it.item.accounts.values() if row.type == "credit")
        await it.settled()
        edits.set_balance(card.name, current="1000.10", available="4999.90")
        await it.settled()
        it.sim.clock.advance(600)
        await it.settled()
        edits.set_balance(card.name, current="0.00", available="6000.00")
        it.sim.clock.advance(600)
        await it.settled()
        await it.followed.restart()
        it.sim.clock.advance(600)
        await it.settled()
        it.check()
        history = it.balances(card.account_id)
        assert [row["current"] for row in history] == ["-310.50", "-1000.10", "0.00"]
        assert history[-1]["available"] == "6000.00"
        assert history[-1]["credit_limit"] == "6000.00"


async def test_balances_that_the_bank_gives_one_time_are_each_a_row() -> None:
    async with world() as it:
        edits = it.sim.item()
        account = next(iter(it.item.accounts.values()))
        await it.settled()
        stamp = "2026-11-15T09:00:00Z"
        for current in ("1.00", "2.00", "3.00"):
            edits.set_balance(account.name, current=current, last_updated_datetime=stamp)
            it.sim.clock.advance(600)
            await it.settled()
            it.sim.clock.advance(600)
            await it.settled()
        history = it.balances(account.account_id)
        assert {row["current"] for row in history} >= {"1.00", "2.00", "3.00"}
        assert len(history) == 4
        assert sum(row["as_of"].startswith("2026-11-15T09:00:00") for row in history) == 1


async def test_history_of_balances_outlives_a_whole_read() -> None:
    async with world() as it:
        account = next(iter(it.item.accounts.values()))
        await it.settled()
        it.sim.item().set_balance(account.name, current="1.00")
        it.sim.clock.advance(600)
        await it.settled()
        before = len(it.balances(account.account_id))
        done: list[bool] = []
        it.followed.line.resync(Resync("1", done=lambda *_: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        it.sim.clock.advance(600)
        await it.settled()
        it.check()
        assert len(it.balances(account.account_id)) == before == 2


async def test_accounts_come_and_go() -> None:
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        edits.add_account("Holiday Pot", subtype="savings", current="5.00")
        edits.drop_account("Rewards Card")
        it.sim.clock.advance(600)
        await it.settled()
        it.check()


async def test_several_items_side_by_side() -> None:
    sizes = (SMALL, PlaidSize(name="Second Bank", transactions=40, currency="EUR"))
    async with world(*sizes) as it:
        await it.settled()
        it.sim.item("Second Bank").add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


async def test_a_bank_that_is_added_is_read_and_the_others_go_on() -> None:
    """Its topics hold rows of the other banks: none of them is deleted or told again."""
    async with world(SMALL, PlaidSize(name="Second Bank", transactions=40)) as it:
        late = it.logins.pop()
        await it.followed.restart()
        await it.settled()
        before = len(it.followed.heard.lines)
        it.logins.append(late)
        await it.followed.restart()
        await it.settled()
        it.check()
        told = [keys for event, keys in it.followed.heard.lines[before:] if "read whole" in event]
        assert {keys["collection"].split("/")[0] for keys in told} == {late.name}
        assert {keys["reason"] for keys in told} == {"no cursor of it is known"}


def test_names_of_items_are_told_apart() -> None:
    for names in (["a", "a"], ["a/b"], ["a:b"], [""]):
        api = PlaidApi("c", "s", [], now=lambda: 0.0, base_url="http://127.0.0.1:1")
        with pytest.raises(SettingsError):
            PlaidSource("x", api, [Login(name, "t") for name in names], now=lambda: 0.0)
