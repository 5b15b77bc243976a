"""A bank with years of history, its source followed in memory, and jobs on a real database.

The tables hold what a consumer would have brought only where a test puts it there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from cdc.integration import IntegrationErrors
from cdc.jobs import backfill, model
from cdc.jobs.runner import JobRunner
from cdc.jobs.tools import Tools
from cdc.operation.asked import WINDOW, Done, Taken
from cdc.operation.control import ControlTie
from cdc.operation.running import Control
from cdc.operation.windows import window_look_up
from cdc.runtime.log import make_log
from cdc.runtime.postgres import Connect, Connection, PostgresTarget
from cdc.wishes import Resync
from compose.simulators.clock import Clock
from compose.simulators.plaid import PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_sync import Switches
from consumers.migrate import migrate
from tests.plaid_world import World as Bank

SECONDS_MAX = 60.0
SOURCE, BOOK = "fake", "book"
LIVES_MAX = 100
GET = "/transactions/get"


class Owner:
    """The source's owner, as much of it as requests need."""

    source = SOURCE
    owned = True

    def __init__(self, bank: Bank) -> None:
        self.integration = IntegrationErrors()
        self._bank = bank

    def take(self, request: Taken, done: Done) -> None:
        line, said = self._bank.followed.line, request.parameters
        if request.kind == WINDOW:
            source: Any = self._bank.followed.source
            line.look_up(window_look_up(source, said, done))
        else:
            line.resync(Resync(str(request.id), said["collection"], done=done))

    def progress(self) -> dict[str, Any]:
        return {}

    def document(self) -> dict[str, Any]:
        return {}


class World:
    """One daemon after another over the same bank, topics and database."""

    def __init__(self, bank: Bank, connect: Connect, connection: Connection) -> None:
        self.bank = bank
        self.connect = connect
        self.connection = connection
        self.log = make_log(libraries=False, strict=True)

    async def begin(self) -> None:
        """The first read is published; its accounts stand in the tables."""
        await self.bank.settled()
        for table in ("budgets", "accounts"):
            await self.apply(table)

    async def apply(self, table: str) -> None:
        """What the topic holds, as rows: the columns that a backfill looks at."""
        names = {
            "budgets": ("kind", "name"),
            "accounts": ("budget_id", "name", "type"),
            "transactions": ("budget_id", "account_id", "date", "amount"),
        }[table]
        columns = ", ".join(("book", "source", "id", *names))
        places = ", ".join(f"${n + 1}" for n in range(3 + len(names)))
        rows = self.bank.followed.rows(f"budget.{table}")
        await self.connection.executemany(
            f"INSERT INTO budget.{table} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING",
            [
                (BOOK, SOURCE, key, *(_value(name, row[name]) for name in names))
                for key, row in rows.items()
            ],
        )

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        """Ended without a word, as by SIGKILL; nothing is left but topics and tables."""

        async def nothing(progress: Any, cursor: Any = None) -> None:
            """A job's own takes its place."""

        await self.bank.followed.restart()
        tools = Tools(self.connect, lambda _: self.connect, frozenset({SOURCE}), nothing, self.log)
        tie = ControlTie(
            self.connect,
            [Owner(self.bank)],
            control=Control(),
            instance="one",
            log=self.log,
            backoff=lambda _: 0.05,
        )
        runner = JobRunner(self.connect, tools, runner="one", log=self.log, backoff=lambda _: 0.05)
        stop = asyncio.Event()
        services = (self.bank.followed.line, tie, runner)
        tasks = [asyncio.create_task(service.run(stop)) for service in services]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await self.connection.execute(
                "UPDATE sync.jobs SET lease_until = now() WHERE lease_until IS NOT NULL"
            )
            self.bank.sim.clock.advance(60.0)

    async def ask(self, attempts_max: int = LIVES_MAX, **params: str) -> int:
        asked = {"source": SOURCE, **params}
        made = await model.enqueue(
            self.connection, "backfill", asked, by="test", attempts_max=attempts_max
        )
        return made.id

    async def job(self, job_id: int) -> dict[str, Any]:
        return (await model.find(self.connection, job_id))[0]

    async def until(self, job_id: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            return found if wanted(found := await self.job(job_id)) else None

        found: dict[str, Any] = await until(look)
        return found

    async def run(self, attempts_max: int = LIVES_MAX, **params: str) -> dict[str, Any]:
        """A whole job in one life; the job as it ended."""
        job_id = await self.ask(attempts_max, **params)
        async with self.daemon():
            return await self.until(job_id, lambda job: job["state"] in model.ENDED)

    async def finished(self) -> set[tuple[str, str]]:
        """Windows that are published: said by their requests, or known as covered."""
        rows = await self.connection.fetch(
            "SELECT parameters->>'first', parameters->>'last' FROM sync.requests"
            " WHERE state = 'done' UNION SELECT from_date::text, to_date::text"
            " FROM budget.coverage WHERE state = 'fetched'"
        )
        return {(row[0], row[1]) for row in rows}

    async def coverage(self, state: str) -> list[Mapping[str, Any]]:
        return list(
            await self.connection.fetch(
                "SELECT * FROM budget.coverage WHERE state = $1 ORDER BY account_id, from_date",
                state,
            )
        )

    def fetched(self, since: int = 0) -> list[tuple[str, str]]:
        """Windows that the bank was asked for, by its log."""
        return [
            (seen.body["start_date"], seen.body["end_date"])
            for seen in self.bank.sim.requests(GET)[since:]
            if seen.body["options"]["offset"] == 0
        ]

    def forget_transactions(self) -> None:
        """The topic as if these had never been told."""
        for (topic, _), records in self.bank.followed.broker.log.items():
            if topic.endswith(".budget.transactions"):
                records.clear()


def _value(name: str, value: Any) -> Any:
    kinds: dict[str, Callable[[str], Any]] = {"date": date.fromisoformat, "amount": Decimal}
    return kinds.get(name, str)(value)


async def until(wanted: Callable[[], Awaitable[Any]]) -> Any:
    """What is wanted, as soon as there is some of it."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            if found := await wanted():
                return found
            await asyncio.sleep(0.01)


class Today:
    """In place of `datetime`, and noon: no midnight comes between two jobs of a test."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(hour=12)

    def now(self, zone: Any) -> datetime:
        return self.moment.astimezone(zone)


@asynccontextmanager
async def world(dsn: str, *sizes: PlaidSize) -> AsyncIterator[World]:
    today = Today()
    target = PostgresTarget(dsn=dsn)
    connection = await target.connect()
    sim = PlaidSimulator(sizes, clock=Clock(today.moment), switches=Switches(limits="sandbox"))
    try:
        await migrate(connection)
        async with sim:
            found = World(Bank(sim), target.connect, connection)
            await found.begin()
            try:
                with patch.object(backfill, "datetime", today):
                    yield found
            finally:
                await found.bank.followed.source.close()
    finally:
        await connection.close()
