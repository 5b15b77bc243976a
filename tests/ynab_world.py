"""YNAB simulated, followed by the real pipeline; and the truth that the rows must equal.

The truth is read from the simulator's own rows, never through its endpoints.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from msgspec.structs import asdict

from cdc.app.feeds import YnabTold
from cdc.integration import IntegrationErrors
from cdc.sources.ynab import YnabSource
from cdc.sources.ynab_api import YnabApi
from cdc.sources.ynab_tables import TABLES
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize
from compose.simulators.ynab_plan import Plan
from tests.followed import Followed, FreeQuota, differences

SMALL = YnabSize(transactions=300, years=2)
POLL_SECONDS = 30.0
UNLIKE = ("id", "deleted")


class World:
    """A simulator and what follows it."""

    def __init__(self, sim: YnabSimulator, **options: Any) -> None:
        self.sim = sim
        self.quota = FreeQuota()
        self.token = options.pop("token", TOKEN)
        fault = options.pop("fault", None)
        self.options = {"poll_seconds": POLL_SECONDS, **options}
        self.integration = IntegrationErrors()
        self.followed = Followed(
            self._source, TABLES, sim.clock, fault=fault, integration=self.integration
        )

    def _source(self) -> YnabSource:
        def now() -> float:
            return self.sim.clock.now().timestamp()

        async def pause(seconds: float) -> None:
            await self.followed.pause(seconds)

        return YnabSource(
            "fake",
            YnabApi(self.token, self.quota, now=now, base_url=self.sim.base_url),
            now=now,
            pause=pause,
            told=YnabTold(self.integration),
            **self.options,
        )

    def polls(self) -> int:
        """Deltas asked for so far."""
        seen = self.sim.requests()
        return sum(1 for each in seen if "last_knowledge_of_server" in each.query)

    async def settled(self) -> None:
        """Until everything of now is published: cursors from after now, no whole read left."""
        await self.followed.settled(len(self.sim.books))

    def check(self, *, lists: bool = False) -> None:
        """Rows equal the truth of all plans; along every topic the order is kept."""
        self.followed.check_order()
        truth: dict[str, dict[str, Any]] = {}
        for book in self.sim.books.values():
            for entity, rows in truth_of(book.plan).items():
                truth.setdefault(entity, {}).update(rows)
        for entity, rows in truth.items():
            found = self.followed.rows(entity)
            if lists and entity == "budget.month_categories":
                found = {key: row for key, row in found.items() if key in rows}
            assert differences(found, rows) == [], entity

    def check_cursor(self, since_ms: int = 0) -> int:
        """No cursor is ahead of the rows: what it covers is on the topics. How many were held.

        Cursors from before ``since_ms``, and of whole reads that have not ended, are left out.
        """
        held = 0
        for cursor in self.followed.cursors().values():
            knowledge = (cursor.token or {}).get("knowledge", {}).get("plan")
            read = cursor.reads.get(f"{cursor.stream}/transactions")
            if knowledge is None or read is None or not read.done or cursor.position < since_ms:
                continue
            plan = self.sim.books[cursor.stream].plan
            stamps = plan.transactions.stamps
            truth, found = truth_of(plan)["budget.transactions"], "budget.transactions"
            covered = {key for key, stamp in stamps.items() if stamp <= knowledge}
            rows = {key: row for key, row in self.followed.rows(found).items() if key in covered}
            assert differences(rows, {key: truth[key] for key in truth.keys() & covered}) == []
            held += 1
        return held


@asynccontextmanager
async def world(*sizes: YnabSize, seed: int = 1, **options: Any) -> AsyncIterator[World]:
    async with YnabSimulator(sizes or (SMALL,), seed=seed) as sim:
        found = World(sim, **options)
        try:
            yield found
        finally:
            await found.followed.source.close()


def truth_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Every entity's live rows, with the columns that are the same under another name."""

    def money(row: Any) -> dict[str, Any]:
        written = {name: each for name, each in asdict(row).items() if name not in UNLIKE}
        for name in getattr(row, "money", ()):
            if written[name] is not None:
                written[name] = decimals(plan, written[name])
        return {"budget_id": plan.id, **written}

    def table(rows: Any) -> dict[str, Any]:
        return {row.id: money(row) for row in rows.live()}

    def amounts(month: str, category: str) -> dict[str, Any]:
        row = plan.month_category(month, category)
        names = ("budgeted", "activity", "balance")
        return {"month": month} | {name: decimals(plan, getattr(row, name)) for name in names}

    return {
        "budget.budgets": {plan.id: {"name": plan.name, "currency": plan.currency.iso_code}},
        "budget.accounts": {
            key: {name: value for name, value in row.items() if not name.startswith("debt_")}
            for key, row in table(plan.accounts).items()
        },
        "budget.payees": table(plan.payees),
        "budget.payee_locations": table(plan.payee_locations),
        "budget.category_groups": table(plan.category_groups),
        "budget.categories": {
            row.id: {"name": row.name, **amounts(plan.current_month(), row.id)}
            for row in plan.categories.live()
        },
        "budget.months": {
            f"{plan.id}/{row.month}": {
                name: decimals(plan, getattr(row, name))
                for name in ("income", "budgeted", "activity", "to_be_budgeted")
            }
            for row in plan.months.rows.values()
        },
        "budget.month_categories": {
            f"{plan.id}/{row.month}/{row.category_id}": amounts(row.month, row.category_id)
            for row in plan.month_categories.rows.values()
            if not plan.categories[row.category_id].deleted
        },
        "budget.transactions": {
            key: {name: value or None for name, value in row.items() if name != "approved"}
            for key, row in table(plan.transactions).items()
        },
        "budget.subtransactions": table(plan.subtransactions),
        "budget.scheduled_transactions": table(plan.scheduled),
        "budget.scheduled_subtransactions": table(plan.scheduled_subs),
        "budget.money_movements": table(plan.money_movements),
        "budget.money_movement_groups": {key: {} for key in table(plan.money_movement_groups)},
    }


def decimals(plan: Plan, milliunits: int) -> str:
    return f"{Decimal(milliunits) / 1000:.{plan.currency.decimal_digits}f}"
