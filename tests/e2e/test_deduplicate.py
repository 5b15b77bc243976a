"""One purchase of two feeds counts once, two equal ones twice; a person has the last word."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from cdc.jobs import deduplicate
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
        async def nothing(progress: Any, cursor: Any = None) -> None:
            """Nobody watches."""

        connect = self._target.connect
        log = make_log(libraries=False, strict=True)
        tools = Tools(connect, lambda _: connect, frozenset(), nothing, log)
        self._jobs += 1
        job = Job(self._jobs, "deduplicate", params, 1, 1, None, "anna")
        return (await deduplicate.run(job, tools)).document

    async def once(self) -> set[str]:
        rows = await self.connection.fetch("SELECT id FROM budget.transactions_once")
        return {row["id"] for row in rows}

    async def matches(self) -> list[tuple[str, str, str]]:
        rows = await self.connection.fetch(
            "SELECT transaction_id, other_id, state FROM budget.matches ORDER BY id"
        )
        return [tuple(row) for row in rows]


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    target = PostgresTarget(dsn=database)
    connection = await target.connect()
    await migrate(connection)
    made = World(target, connection)
    await made.begin()
    yield made
    await connection.close()


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
    for _ in range(2):
        await world.bank("-3.20", "2026-03-02", "KIOSK")
    third = await world.bank("-3.20", "2026-03-02", "KIOSK")
    await world.run()
    kept = await world.once()
    assert set(mine) < kept
    assert len(kept) == 3
    assert len({other for _, other, _ in await world.matches()}) == 2
    assert third not in {mine for mine, _, _ in await world.matches()}


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
    await world.connection.execute(
        "UPDATE budget.transactions SET amount = $1 WHERE id = $2", Decimal("-9.00"), mine
    )
    assert (await world.run())["withdrawn"] == 1
    assert await world.once() == {mine, theirs}
