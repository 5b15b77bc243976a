"""Plaid simulated, followed by the real pipeline; and the truth that the rows must equal.

The truth is read from the simulator's own rows, never through its endpoints.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from cdc.sources.plaid import Login, PlaidSource
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.plaid_tables import TABLES
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_item import Item
from compose.simulators.plaid_sync import parsed
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

    def check_cursor(self) -> int:
        """No cursor is ahead of the rows: what it covers is on the topics. How many were held."""
        held = 0
        for cursor in self.followed.cursors().values():
            place = parsed((cursor.token or {}).get("cursor") or "")
            read = cursor.reads.get(f"{cursor.stream}/transactions")
            if place is None or read is None or not read.done:
                continue
            items = [edits.item for edits in self.sim.items.values()]
            (item,) = (each for each in items if each.item_id == place.item_id)
            later = {entry.row.transaction_id for entry in item.log[place.base :]}
            covered = {entry.row.transaction_id for entry in item.log[: place.base]} - later
            truth, found = truth_of(item)["budget.transactions"], "budget.transactions"
            rows = {key: row for key, row in self.followed.rows(found).items() if key in covered}
            assert differences(rows, {key: truth[key] for key in truth.keys() & covered}) == []
            held += 1
        return held

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
