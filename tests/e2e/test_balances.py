"""Balances equal the sums over the rows at every commit, whoever writes, in whatever order."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from cdc.runtime.errors import Conflict
from cdc.runtime.postgres import PostgresTarget, transaction
from consumers.migrate import migrate
from tests.consumer_world import DIFFERING_TOTALS, until

Connection = asyncpg.Connection

INSERT = """
INSERT INTO accounting.transactions
    (book, source, id, property_id, type, amount, currency, settled, deleted)
VALUES ('b', 's', $1, $2, $3, $4, $5, $6, $7)
"""
ACCOUNT = """
SELECT owner_name, currency, running_balance, total_income, total_expenses
FROM accounting.property_accounts_live WHERE id = 'p1'
"""


@pytest.fixture
async def sessions(database: str) -> AsyncIterator[list[Connection]]:
    """Three sessions on a migrated database."""
    target = PostgresTarget(dsn=database, lock_seconds_max=5.0)
    found = [await target.connect() for _ in range(3)]
    await migrate(found[0])
    yield found
    for each in found:
        await each.close()


async def add(
    session: Connection,
    row_id: str,
    amount: str,
    *,
    property_id: str | None = "p1",
    kind: str = "income",
    currency: str = "EUR",
    settled: bool = True,
    deleted: bool = False,
) -> None:
    values = (row_id, property_id, kind, Decimal(amount), currency, settled, deleted)
    await session.execute(INSERT, *values)


async def right(session: Connection) -> None:
    assert await session.fetch(DIFFERING_TOTALS) == []


async def totals(session: Connection) -> dict[tuple[str, str], tuple[Decimal, Decimal, int]]:
    rows = await session.fetch("SELECT * FROM accounting.account_totals")
    return {
        (row["property_id"], row["currency"]): (row["income"], row["expenses"], row["transactions"])
        for row in rows
    }


async def test_what_counts_and_how(sessions: list[Connection]) -> None:
    session = sessions[0]
    await add(session, "1", "100.10")
    await add(session, "2", "-0.10")  # a refund is negative
    for number, kind in enumerate(("expense", "owner_payout", "repair", "maintenance", "other")):
        await add(session, f"e{number}", "1", kind=kind)
    await add(session, "3", "999", settled=False)
    await add(session, "4", "999", deleted=True)
    await add(session, "5", "999", property_id=None)
    await add(session, "6", "7", currency="usd")
    assert await totals(session) == {
        ("p1", "EUR"): (Decimal("100.00"), Decimal(5), 8),
        ("p1", "USD"): (Decimal(7), Decimal(0), 1),
    }
    await right(session)


async def test_every_kind_of_write_keeps_the_sums(sessions: list[Connection]) -> None:
    """Random inserts, upserts, updates, moves, deletes and truncation by plain SQL."""
    session, seed = sessions[0], random.randrange(10**6)
    chance = random.Random(seed)
    statements = (
        "UPDATE accounting.transactions SET amount = amount + 1.01 WHERE id < $1",
        "UPDATE accounting.transactions SET property_id = 'p' || length(id) WHERE id > $1",
        "UPDATE accounting.transactions SET property_id = NULL WHERE id = $1",
        "UPDATE accounting.transactions SET settled = NOT settled WHERE id < $1",
        "UPDATE accounting.transactions SET deleted = NOT deleted WHERE id > $1",
        "UPDATE accounting.transactions SET type = 'repair', currency = 'gbp' WHERE id = $1",
        "DELETE FROM accounting.transactions WHERE id = $1",
        """INSERT INTO accounting.transactions
            (book, source, id, property_id, type, amount, currency, settled)
        SELECT 'b', 's', 'x' || i || $1, 'p' || i % 3, 'income', i, 'EUR', i % 2 = 0
        FROM generate_series(1, 20) AS i
        ON CONFLICT (book, source, id) DO UPDATE
        SET amount = excluded.amount + 1, property_id = excluded.property_id, settled = true""",
    )
    for step in range(120):
        await session.execute(chance.choice(statements), str(chance.randrange(30)))
        assert await session.fetch(DIFFERING_TOTALS) == [], f"seed {seed}, step {step}"
    await session.execute("TRUNCATE accounting.transactions")
    assert await totals(session) == {}


async def test_rolled_back_writes_leave_no_trace(sessions: list[Connection]) -> None:
    one, two, _ = sessions
    await add(one, "1", "5")
    await one.execute("BEGIN")
    await add(one, "2", "7")
    await right(one)
    assert await totals(two) == {("p1", "EUR"): (Decimal(5), Decimal(0), 1)}
    await one.execute("ROLLBACK")
    await right(two)


def payment(row_id: str, property_id: str, kind: str, amount: str, currency: str) -> str:
    return (
        "INSERT INTO accounting.transactions"
        " (book, source, id, property_id, type, amount, currency, settled) VALUES"
        f" ('b', 's', '{row_id}', '{property_id}', '{kind}', {amount}, '{currency}', true)"
    )


HISTORIES = {
    "property": (
        "INSERT INTO accounting.properties (book, source, id, name, owner_id, currency)"
        " VALUES ('b', 's', 'p1', 'House', 'o2', 'usd')",
        "UPDATE accounting.properties SET currency = 'eur', owner_id = 'o1' WHERE id = 'p1'",
    ),
    "owner": (
        "INSERT INTO accounting.owners (book, source, id, name) VALUES ('b', 's', 'o1', 'Ann')",
        "UPDATE accounting.owners SET name = 'Eve' WHERE id = 'o1'",
    ),
    "payment": (
        payment("t1", "p9", "income", "10", "EUR"),
        "UPDATE accounting.transactions SET property_id = 'p1', amount = 11 WHERE id = 't1'",
    ),
    "repair": (
        payment("t2", "p1", "repair", "4", "eur"),
        "UPDATE accounting.transactions SET deleted = true WHERE id = 't2'",
    ),
    "dollars": (payment("t3", "p1", "income", "3", "USD"),),
}
"""What happens to each thing, in order; things happen in any order among each other."""
ENDS = ("Eve", "EUR", Decimal(11), Decimal(11), Decimal(0))


async def forget(session: Connection) -> None:
    await session.execute(
        "TRUNCATE accounting.transactions, accounting.properties, accounting.owners"
    )


async def account(session: Connection) -> tuple[Any, ...]:
    return tuple(await session.fetchrow(ACCOUNT) or ())


async def test_order_of_arrival_does_not_matter(sessions: list[Connection]) -> None:
    """Late properties, renamed owners, changed currencies, moved payments, in every order."""
    session = sessions[0]
    order = [name for name, steps in HISTORIES.items() if name != "dollars" for _ in steps]
    orders = set(itertools.permutations(order))
    chance = random.Random(len(orders))
    for names in chance.sample(sorted(orders), 200):
        await forget(session)
        waiting = {name: list(steps) for name, steps in HISTORIES.items()}
        for name in ("dollars", *names):
            await session.execute(waiting[name].pop(0))
        await right(session)
        assert await account(session) == ENDS, names


@pytest.mark.parametrize(
    ("left", "other"),
    [
        (("property",), ("payment",)),
        (("property",), ("owner",)),
        (("payment",), ("repair",)),
        (("payment", "dollars"), ("repair",)),
    ],
)
async def test_interleaved_sessions_agree(
    sessions: list[Connection], left: Sequence[str], other: Sequence[str]
) -> None:
    """Two open transactions, every interleaving of their steps: right at every commit."""
    *both, watcher = sessions
    scripts = [[step for name in names for step in HISTORIES[name]] for names in (left, other)]
    before = [step for name in HISTORIES.keys() - {*left, *other} for step in HISTORIES[name]]
    scripts = [["BEGIN", *script, "COMMIT"] for script in scripts]
    count = len(scripts[0]) + len(scripts[1])
    for first in itertools.combinations(range(count), len(scripts[0])):
        await forget(watcher)
        for step in before:
            await watcher.execute(step)
        steps = [iter(script) for script in scripts]
        under_way: list[asyncio.Task[Any] | None] = [None, None]
        for position in range(count):
            who = 0 if position in first else 1
            earlier = under_way[who]
            if earlier is not None and not earlier.done():  # it waits for the other one
                await _finish(both[1 - who], steps[1 - who], under_way[1 - who])
                await earlier
            step = next(steps[who], None)
            if step is not None:
                under_way[who] = asyncio.create_task(both[who].execute(step))
                await _done_or_blocked(under_way[who], both[who], watcher)
            await right(watcher)
        for who in (0, 1):
            await _finish(both[who], steps[who], under_way[who])
        await right(watcher)
        assert await account(watcher) == ENDS, first


async def _done_or_blocked(
    task: "asyncio.Task[Any] | None", session: Connection, watcher: Connection
) -> None:
    """Until the step has ended or waits for a lock: one that is only slow is neither."""

    async def reached() -> bool:
        return task is None or task.done() or await _waits(watcher, session)

    await until(reached)


async def _finish(
    session: Connection, steps: Iterator[str], under_way: "asyncio.Task[Any] | None"
) -> None:
    if under_way is not None:
        await under_way
    for step in steps:
        await session.execute(step)


async def test_many_writers_of_the_same_accounts(sessions: list[Connection]) -> None:
    """Statements lock their totals in one order: they wait for each other, and never for ever."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)

    async def writer(session: Connection, name: str) -> int:
        lost = 0
        for turn in range(40):
            accounts = [f"p{chance.randrange(30)}" for _ in range(50)]
            try:
                async with transaction(session, "write"):
                    await session.execute(
                        "INSERT INTO accounting.transactions"
                        " (book, source, id, property_id, type, amount, currency, settled)"
                        " SELECT 'b', 's', $1 || i, p, 'income', 1, 'EUR', true"
                        " FROM unnest($2::text[]) WITH ORDINALITY AS a (p, i)",
                        f"{name}{turn}-",
                        accounts,
                    )
            except Conflict:
                lost += 1
        return lost

    lost = await asyncio.gather(*(writer(s, f"w{i}-") for i, s in enumerate(sessions)))
    assert sum(lost) == 0, f"deadlocks, seed {seed}"
    await right(sessions[0])
    assert await sessions[0].fetchval("SELECT sum(balance) FROM accounting.account_totals") == 6000


async def test_a_frozen_writer_blocks_only_its_accounts(sessions: list[Connection]) -> None:
    one, two, _ = sessions
    await one.execute("BEGIN")
    await add(one, "1", "5", property_id="p1")
    await add(two, "2", "5", property_id="p2")  # or its lock would time out
    blocked = asyncio.create_task(add(two, "3", "5", property_id="p1"))
    await until(lambda: _waits(sessions[2], two))
    await one.execute("COMMIT")
    await blocked
    await right(two)


async def _waits(watcher: Connection, session: Connection) -> bool:
    """Whether somebody keeps that session from a lock."""
    blocking = "SELECT cardinality(pg_blocking_pids($1)) > 0"
    return bool(await watcher.fetchval(blocking, session.get_server_pid()))
