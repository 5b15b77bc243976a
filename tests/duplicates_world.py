"""Duplicates in a real database: a plan and a bank with one account that is the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import orjson

from cdc.jobs import deduplicate, validate
from cdc.jobs.model import Job
from cdc.jobs.tools import Tools
from cdc.runtime.log import make_log
from cdc.runtime.postgres import Connection, PostgresTarget
from consumers.migrate import migrate
from tests.budget_rows import Budget


class World:
    """A plan and a bank with one account that is the same: its mask is in the plan's name."""

    def __init__(self, target: PostgresTarget, connection: Connection) -> None:
        self.connection = connection
        self.budget = Budget(connection)
        self._target = target
        self.plan_account = self.bank_account = ""
        self._jobs = 0

    async def begin(self) -> None:
        for source, kind in (("ynab", "plan"), ("bank", "item")):
            await self.budget.feed(source, kind)
        self.plan_account = await self.budget.account("ynab", "0", name="Giro 4711")
        self.bank_account = await self.budget.account("bank", "0", name="Gold", mask="4711")

    async def plan(self, amount: str, day: str, payee: str, **columns: Any) -> str:
        return await self.budget.spend("ynab", self.plan_account, amount, day, payee, **columns)

    async def bank(self, amount: str, day: str, payee: str, **columns: Any) -> str:
        return await self.budget.spend("bank", self.bank_account, amount, day, payee, **columns)

    async def run(self, **params: str) -> dict[str, Any]:
        self._jobs += 1
        job = Job(self._jobs, "deduplicate", params, 1, 1, None, "anna")
        return (await deduplicate.run(job, self._tools())).document

    async def validate(self) -> dict[str, int]:
        """Open issues by check."""
        job = Job(1, "validate", {"level": "normal"}, 1, 1, None, None)
        found: dict[str, int] = (await validate.run(job, self._tools())).document["issues"]
        return found

    def _tools(self) -> Tools:
        async def nothing(progress: Any, cursor: Any = None) -> None:
            """Nobody watches."""

        connect = self._target.connect
        log = make_log(libraries=False, strict=True)
        return Tools(connect, lambda _: connect, frozenset(), nothing, log)

    async def delete(self, *ids: str, back: bool = False) -> None:
        await self.connection.execute(
            "UPDATE budget.transactions SET deleted = $2 WHERE id = ANY ($1)", ids, not back
        )

    async def change(self, row: str, amount: str) -> None:
        await self.connection.execute(
            "UPDATE budget.transactions SET amount = $2 WHERE id = $1", row, Decimal(amount)
        )

    async def once(self) -> set[str]:
        rows = await self.connection.fetch("SELECT id FROM budget.transactions_once")
        return {row["id"] for row in rows}

    async def matches(self) -> list[tuple[str, str, str]]:
        rows = await self.connection.fetch(
            "SELECT transaction_id, other_id, state FROM budget.matches ORDER BY id"
        )
        return [tuple(row) for row in rows]

    async def match(self, other_id: str) -> dict[str, Any]:
        """The match that leaves out, or would leave out, a row."""
        row = await self.connection.fetchrow(
            "SELECT id, state, decided_by, reason FROM budget.matches WHERE other_id = $1", other_id
        )
        assert row is not None
        return dict(row) | {"reason": orjson.loads(row["reason"])}


@asynccontextmanager
async def duplicates(database: str) -> AsyncIterator[World]:
    """A migrated database with both feeds."""
    target = PostgresTarget(dsn=database)
    connection = await target.connect()
    await migrate(connection)
    made = World(target, connection)
    await made.begin()
    try:
        yield made
    finally:
        await connection.close()
