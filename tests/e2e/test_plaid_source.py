"""Plaid items followed to their topics: whole updates or nothing, balances kept, logins told.

The truth is read from the simulator's own rows, never through its endpoints.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from cdc.runtime.errors import SettingsError
from cdc.sources.plaid import Login, PlaidSource
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.plaid_tables import TABLES
from cdc.wishes import Resync
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_item import Item
from tests.fakes import random_faults
from tests.followed import Followed, differences

PAGES = PlaidSize(transactions=1_200)
"""Three pages of an update."""
SMALL = PlaidSize(transactions=60, days=90)
POLL_SECONDS = 60.0


class World:
    """A simulator and what follows its items."""

    def __init__(self, sim: PlaidSimulator, **options: Any) -> None:
        self.sim = sim
        self.secret = options.pop("secret", SECRET)
        fault = options.pop("fault", None)
        self.options = {"poll_seconds": POLL_SECONDS, "accounts_seconds": 300.0, **options}
        self.logins = [
            Login(f"bank {number}", edits.item.access_token)
            for number, edits in enumerate(sim.items.values())
        ]
        self.followed = Followed(self._source, TABLES, sim.clock, fault=fault)

    def _source(self) -> PlaidSource:
        def now() -> float:
            return self.sim.clock.now().timestamp()

        async def pause(seconds: float) -> None:
            await self.followed.pause(seconds)

        tokens = [login.access_token for login in self.logins]
        api = PlaidApi(CLIENT_ID, self.secret, tokens, now=now, base_url=self.sim.base_url)
        return PlaidSource("fake", api, self.logins, now=now, pause=pause, **self.options)

    @property
    def item(self) -> Item:
        return self.sim.item().item

    async def settled(self) -> None:
        """Until everything of now is published."""
        await self.followed.settled(len(self.logins))

    def requests(self, match: str) -> int:
        return len(self.sim.requests(match))

    def check(self, items: Sequence[Item] = ()) -> None:
        """Rows equal the truth of the items; along every topic the order is kept."""
        self.followed.check_order()
        found = items or [edits.item for edits in self.sim.items.values()]
        truth: dict[str, dict[str, Any]] = {}
        for item in found:
            for entity, rows in truth_of(item).items():
                truth.setdefault(entity, {}).update(rows)
        for entity, rows in truth.items():
            assert differences(self.followed.rows(entity), rows) == [], entity

    def balances(self, account_id: str) -> list[dict[str, Any]]:
        rows = self.followed.rows("budget.balances").values()
        mine = [row for row in rows if row["account_id"] == account_id]
        return sorted(mine, key=lambda row: str(row["as_of"]))


@asynccontextmanager
async def world(*sizes: PlaidSize, seed: int = 1, **options: Any) -> AsyncIterator[World]:
    async with PlaidSimulator(sizes or (SMALL,), seed=seed) as sim:
        found = World(sim, **options)
        try:
            yield found
        finally:
            await found.followed.source.close()


def decimal_text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value if value else abs(value):f}"


def truth_of(item: Item) -> dict[str, dict[str, Any]]:
    same = ("account_id", "date", "name", "merchant_name", "pending", "pending_transaction_id")
    owed = {key for key, row in item.cached.items() if row.type in ("credit", "loan")}
    transactions = {
        key: {name: getattr(row, name) for name in same}
        | {"amount": decimal_text(-row.amount), "currency": row.iso_currency_code}
        | {"budget_id": item.item_id}
        for key, row in item.rows.items()
    }
    accounts = {
        key: {
            "name": row.name,
            "type": row.type,
            "balance": decimal_text(-row.balances.current if key in owed else row.balances.current),
            "available": decimal_text(row.balances.available),
            "currency": row.balances.iso_currency_code,
            "unofficial_currency": row.balances.unofficial_currency_code,
        }
        for key, row in item.cached.items()
    }
    status = "good" if item.error is None else item.error.error_code
    budget = {"kind": "item", "institution_id": item.institution_id}
    budget["status"] = status.removeprefix("ITEM_").lower()
    return {
        "budget.budgets": {item.item_id: budget},
        "budget.accounts": accounts,
        "budget.transactions": transactions,
    }


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


@pytest.mark.parametrize("page", [1, 2])
async def test_a_change_between_pages_starts_the_update_again(page: int) -> None:
    """The page before the change was half of something that is no more."""
    async with world(PAGES) as it:
        it.sim.script(
            "add_transaction",
            args={"amount": "1.00", "name": "In between"},
            match="/transactions/sync",
            skip=page,
        )
        await it.settled()
        it.check()
        statuses = [each.status for each in it.sim.requests("/transactions/sync")]
        assert 400 in statuses


async def test_an_update_that_changes_all_the_time_is_given_up_for_a_while() -> None:
    async with world(PAGES) as it:
        it.sim.script(
            "add_transaction",
            args={"amount": "1.00", "name": "In between"},
            match="/transactions/sync",
            times=25,
        )
        await it.settled()
        it.check()


async def test_a_cursor_refused_for_ever_is_a_gap_mended_by_a_whole_read() -> None:
    """Seen live (monetr#3126): the error comes back even on a stored final cursor."""
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        gone = edits.transactions()[3].transaction_id
        edits.remove_transaction(gone)
        edits.refuse_cursors()
        await it.settled()
        it.check()
        assert gone not in it.followed.rows("budget.transactions")


async def test_a_cursor_of_another_item_is_a_gap() -> None:
    """The bank was linked anew under the same name: all ids are others."""
    async with world() as it:
        await it.settled()
        token = it.sim.relink_item()
        it.logins[0] = Login(it.logins[0].name, token)
        await it.followed.restart()
        await it.settled()
        it.check([it.sim.items[token].item])


async def test_history_that_is_not_ready_arrives_when_it_is() -> None:
    size = PlaidSize(transactions=300, initial_seconds=200, historical_seconds=900)
    async with world(size) as it:
        await it.settled()
        assert not it.followed.rows("budget.transactions")
        it.sim.clock.advance(300)
        await it.settled()
        some = len(it.followed.rows("budget.transactions"))
        assert 0 < some < 300
        it.sim.clock.advance(900)
        await it.settled()
        it.check()
        assert len(it.followed.rows("budget.transactions")) == 300


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


async def test_history_of_balances_outlives_a_whole_read() -> None:
    async with world() as it:
        account = next(iter(it.item.accounts.values()))
        await it.settled()
        it.sim.item().set_balance(account.name, current="1.00")
        it.sim.clock.advance(600)
        await it.settled()
        before = len(it.balances(account.account_id))
        done: list[bool] = []
        it.followed.line.resync(Resync("1", done=lambda: done.append(True)))
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


async def test_a_login_that_is_needed_is_shown_with_its_reason_and_ends_when_repaired() -> None:
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        edits.fail_item("ITEM_LOGIN_REQUIRED", "OAUTH_CONSENT_EXPIRED")

        def shown() -> bool:
            (budget,) = it.followed.rows("budget.budgets").values()
            return budget["status"] == "login_required"

        await it.followed.run_until(
            lambda: shown() and "ITEM_LOGIN_REQUIRED" in it.followed.line.progress.reason
        )
        (budget,) = it.followed.rows("budget.budgets").values()
        assert budget["status_reason"] == "OAUTH_CONSENT_EXPIRED"
        assert "update mode" in it.followed.line.progress.reason
        asked = it.requests("/transactions/sync")
        start = it.sim.clock.now()

        def minutes() -> float:
            return (it.sim.clock.now() - start).total_seconds() / 60

        await it.followed.run_until(lambda: minutes() > 30)
        assert it.requests("/transactions/sync") - asked <= minutes() / 5 + 1
        edits.repair_item()
        edits.add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


async def test_wrong_keys_are_told_and_never_shown() -> None:
    async with world(secret="not the secret") as it:
        await it.followed.run_until(lambda: it.followed.line.progress.reason != "")
        assert "INVALID_API_KEYS" in it.followed.line.progress.reason
        told = str(it.followed.heard.lines) + it.followed.line.progress.reason
        assert "not the secret" not in told
        assert it.logins[0].access_token not in told + repr(it.logins)


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "error": "TRANSACTIONS_SYNC_LIMIT"},
    {"kind": "status", "error": "INSTITUTION_DOWN"},
    {"kind": "status", "error": "INTERNAL_SERVER_ERROR"},
    {"kind": "status", "status": 502},
    {"kind": "html"},
    {"kind": "reset"},
    {"kind": "truncated", "keep_bytes": 200},
    {"kind": "patch", "changes": [["-next_cursor", None], ["has_more", True]]},
    {"kind": "patch", "changes": [["added", "many"]]},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:60])
@pytest.mark.parametrize("skip", [0, 2])
async def test_a_failing_page_moves_nothing(fault: dict[str, Any], skip: int) -> None:
    """On each page of the first update, and on the next one."""
    async with world(PAGES) as it:
        it.sim.fail_next(match="/transactions/sync", skip=skip, times=2, **fault)
        await it.settled()
        it.sim.item().add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


async def test_a_broken_object_is_a_dead_letter_and_its_neighbours_arrive() -> None:
    async with world() as it:
        broken = [
            ["added.0.amount", "ten"],
            ["-added.1.transaction_id", None],
            ["added.2.payment_channel", "telepathy"],
            ["added.2.aura", {"colour": "blue"}],
        ]
        it.sim.fail_next("patch", match="/transactions/sync", changes=broken)
        await it.settled()
        paths = {each["path"] for each in it.followed.dead_letters()}
        assert paths == {"amount", "id"}
        rows = it.followed.rows("budget.transactions")
        assert len(rows) == 58
        (odd,) = (row for row in rows.values() if row["payment_channel"] == "telepathy")
        assert odd["details"]["aura"] == {"colour": "blue"}


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_of_an_update(seed: int) -> None:
    chance = random.Random(seed)
    async with world(SMALL, seed=seed) as it:
        edits = it.sim.item()
        for _ in range(15):
            edits.add_transaction("1.00", "Kiosk", pending=chance.random() < 0.5)
            if chance.random() < 0.5 and edits.transactions():
                row = chance.choice(edits.transactions())
                if row.pending:
                    edits.post_pending(row.transaction_id)
                else:
                    edits.remove_transaction(row.transaction_id)
            if chance.random() < 0.1:
                edits.refuse_cursors()
            await it.followed.killed_after(chance.randrange(10, 400))
            it.sim.clock.advance(chance.choice([0.0, 5.0, 90.0]))
            await it.followed.restart()
        await it.settled()
        it.check()


@pytest.mark.parametrize("seed", range(3))
async def test_commits_that_fail_or_stay_in_doubt(seed: int) -> None:
    async with world(SMALL, seed=seed, fault=random_faults(seed, 0.3)) as it:
        for _ in range(6):
            it.sim.item().refresh()
            await it.settled()
            it.check()


async def test_several_items_side_by_side() -> None:
    sizes = (SMALL, PlaidSize(name="Second Bank", transactions=40, currency="EUR"))
    async with world(*sizes) as it:
        await it.settled()
        it.sim.item("Second Bank").add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


def test_names_of_items_are_told_apart() -> None:
    for names in (["a", "a"], ["a/b"], ["a:b"], [""]):
        api = PlaidApi("c", "s", [], now=lambda: 0.0, base_url="http://127.0.0.1:1")
        with pytest.raises(SettingsError):
            PlaidSource("x", api, [Login(name, "t") for name in names], now=lambda: 0.0)
