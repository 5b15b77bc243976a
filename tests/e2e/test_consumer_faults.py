"""What goes wrong around a consumer: doubtful commits, tables that refuse all, servers that go.

Names in brackets are rows of the fault matrix.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from cdc.runtime.errors import Unavailable
from cdc.runtime.kafka_abandon import abandon
from cdc.runtime.postgres import Connection
from consumers.app import ConsumerService
from schemas.topics import partition_of
from tests.conftest import Addresses
from tests.consumer_world import (
    OWNERS,
    PARTITIONS,
    QUICK,
    TRANSACTIONS,
    WAIT_SECONDS_MAX,
    Counts,
    World,
    applied,
    consuming,
    holds,
    make_world,
    payment,
    told,
    until,
)

SESSION_SECONDS = 50


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def waits(service: ConsumerService, text: str) -> bool:
    return service.progress.state.value == "waiting" and text in service.progress.reason


async def test_ended_sessions_are_survived(world: World) -> None:
    """(P8) The backends of a running consumer are ended again and again."""
    counts = Counts()
    async with consuming(world, backoff=QUICK, metrics=counts) as service:
        for n in range(1, 6):
            await world.publish(*(payment(f"t{i}", n, amount=str(n)) for i in range(300)))
            await world.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await until(lambda n=n: reached(service, n))
        await until(world.caught_up)
    assert await world.amounts() == {f"t{i}": 5 for i in range(300)}
    assert counts.by_outcome == {"applied": 1500}
    assert await world.differing_totals() == []


async def reached(service: ConsumerService, turn: int) -> bool:
    return service.progress.events_total >= turn * 300


class Faulty:
    """A connection on which chosen COMMITs go wrong, before or after they took effect."""

    def __init__(self, connection: Connection, fault: Callable[[Connection], Awaitable[str]]):
        self._connection = connection
        self._fault = fault

    async def execute(self, sql: str, *values: Any, **options: Any) -> Any:
        if sql == "COMMIT":
            return await self._fault(self._connection)
        return await self._connection.execute(sql, *values, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("took_effect", [True, False])
async def test_c1_p2_a_commit_whose_answer_is_lost(world: World, took_effect: bool) -> None:
    """The offsets decide; nothing is lost, nothing counted twice."""
    lost = 0

    async def fault(connection: Connection) -> str:
        nonlocal lost
        applying = await connection.fetchval("SELECT count(*) FROM accounting.transactions") % 2
        if lost == 3 or not applying:
            return await connection.execute("COMMIT")
        lost += 1
        if took_effect:
            await connection.execute("COMMIT")
        connection.terminate()
        raise ConnectionResetError("the answer is lost")

    async def connect() -> Any:
        return Faulty(await world.settings.database.connect(), fault)

    counts = Counts()
    for n in range(1, 6):
        await world.publish(payment(f"t{n}", 1), payment(f"d{n}", 1, date="2026-02-31"))
    settings = world.limited(poll_events_max=2)
    service_options = {"connect": connect, "control": world.settings.database.connect}
    async with consuming(world, settings, backoff=QUICK, metrics=counts, **service_options):
        await until(world.caught_up)
    assert lost == 3
    assert len(await world.amounts()) == 5
    assert counts.by_outcome == {"applied": 5, "parked": 5}
    assert await world.one("SELECT max(attempts) FROM sync.dead_letters") == 1


async def test_c11_p15_a_table_that_refuses_all_parks_nothing(world: World) -> None:
    """A changed table stops the consumer, not the rows; mended, it goes on."""
    await world.database.execute(
        "ALTER TABLE accounting.transactions ADD CONSTRAINT narrow CHECK (amount < 0)"
    )
    await world.publish(*(payment(f"t{i}", 1) for i in range(400)))
    async with consuming(world, backoff=QUICK) as service:
        await until(lambda: waits(service, "narrow"))
        assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0
        assert await world.amounts() == {}
        await world.database.execute("ALTER TABLE accounting.transactions DROP CONSTRAINT narrow")
        await until(world.caught_up)
    assert len(await world.amounts()) == 400
    assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0


@pytest.mark.parametrize(
    ("breaks", "mends", "says"),
    [
        (
            "ALTER TABLE accounting.transactions RENAME COLUMN amount TO sum",
            "ALTER TABLE accounting.transactions RENAME COLUMN sum TO amount",
            "42703",
        ),
        (
            "ALTER DATABASE {database} SET default_transaction_read_only = on",
            "ALTER DATABASE {database} SET default_transaction_read_only = off",
            "read-write",
        ),
        ("LOCK TABLE accounting.transactions", "ROLLBACK", "55P03"),
    ],
)
async def test_server_errors_park_nothing(world: World, breaks: str, mends: str, says: str) -> None:
    """(P4, P11) They are waited for, visibly."""
    name = await world.one("SELECT current_database()")
    target = replace(world.settings.database, lock_seconds_max=0.3)
    settings = replace(world.settings, database=target)
    await world.publish(payment("t1", 1))
    if breaks.startswith("LOCK"):
        await world.database.execute("BEGIN")
    await world.database.execute(breaks.format(database=name))
    async with consuming(world, settings, backoff=QUICK) as service:
        await until(lambda: waits(service, says))
        await world.database.execute(mends.format(database=name))
        await until(lambda: holds(service.progress.state.value == "idle"))
        await until(world.caught_up)
    assert await world.amounts() == {"t1": 10}
    assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0


async def test_a_database_that_is_not_there_yet(world: World) -> None:
    tries = 0

    async def connect() -> Connection:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Unavailable("refused", operation="connect")
        return await world.settings.database.connect()

    await world.publish(payment("t1", 1))
    control = world.settings.database.connect
    async with consuming(world, backoff=QUICK, connect=connect, control=control) as service:
        await until(lambda: waits(service, "refused"))
        await until(world.caught_up)
    assert await world.amounts() == {"t1": 10}


async def test_c23_a_client_that_stopped_reading_is_replaced(world: World) -> None:
    """Assigned, records wait, and nothing comes: the group is joined anew."""
    made: list[AIOKafkaConsumer] = []

    def make_consumer(**options: Any) -> AIOKafkaConsumer:
        made.append(AIOKafkaConsumer(**options))
        return made[-1]

    async with consuming(world, backoff=QUICK, make_consumer=make_consumer) as service:
        await world.publish(payment("t1", 1))
        await until(world.caught_up)
        had = len(made)
        made[-1]._fetcher._fetch_task.cancel()
        for row_id in ("t2", "t3"):  # the first may still come with a request under way
            await world.publish(payment(row_id, 1))
            await until(world.caught_up)
        assert len(made) > had
        await until(lambda: holds(service.progress.events_total == 3))
    assert set(await world.amounts()) == {"t1", "t2", "t3"}


async def test_a_broker_that_is_silent_is_told(world: World) -> None:
    """The consumer goes on by itself; meanwhile it says what it waits for."""
    now = time.time()
    async with consuming(world, backoff=QUICK, clock=lambda: now) as service:
        await until(lambda: holds(service.progress.state.value == "idle"))
        now += 3600
        await until(lambda: waits(service, "Kafka does not answer"))
        now -= 3600
        await until(lambda: holds(service.progress.state.value == "idle"))


async def test_topics_that_are_not_as_declared(world: World) -> None:
    """Another count of partitions, or no topic at all: said, and waited for."""
    other = replace(world.settings, entities=dict(world.settings.entities) | {TRANSACTIONS: 5})
    async with consuming(world, other, backoff=QUICK) as service:
        await until(lambda: waits(service, "2 partitions, 5 are declared"))
    nowhere = replace(world.settings, topic_prefix="nowhere")
    async with consuming(world, nowhere, backoff=QUICK) as service:
        await until(lambda: waits(service, "topics are missing"))


async def test_the_same_instance_comes_back_at_once(world: World) -> None:
    """Static membership: a restart takes its place without waiting for the session to end."""
    limits = replace(world.settings.limits, session_timeout_ms=SESSION_SECONDS * 1000)
    settings = replace(world.settings, instance="one", limits=limits)
    made: list[AIOKafkaConsumer] = []

    def make_consumer(**options: Any) -> AIOKafkaConsumer:
        made.append(AIOKafkaConsumer(**options))
        return made[-1]

    for n in range(1, 4):
        await world.publish(payment("t1", n, amount=str(n)))
        service = ConsumerService(settings, log=Quiet(), make_consumer=make_consumer)
        started = asyncio.get_running_loop().time()
        task = asyncio.create_task(service.run(asyncio.Event()))
        await until(world.caught_up)
        assert asyncio.get_running_loop().time() - started < SESSION_SECONDS
        await abandon(made[-1])  # as a killed process would: the group is not told
        task.cancel()
        await asyncio.wait({task})
    assert await world.amounts() == {"t1": 3}


async def test_a_cancelled_consumer_leaves_nothing_half(world: World) -> None:
    """(P2) Cancelled at any moment: rows and offsets agree, the next one goes on."""
    loop = asyncio.get_running_loop()
    for turn in range(12):
        await world.publish(*(payment(f"t{turn}-{i}", 1) for i in range(200)))
        service = ConsumerService(world.limited(poll_events_max=150), log=Quiet())
        task = asyncio.create_task(service.run(asyncio.Event()))
        before = service.progress.events_total
        await until(lambda s=service, b=before: holds(s.progress.events_total > b))
        ends = loop.time() + 0.004 * turn
        await until(lambda ends=ends: holds(loop.time() > ends))
        task.cancel()
        await asyncio.wait({task}, timeout=WAIT_SECONDS_MAX)
        assert task.cancelled()
        assert await world.one(AHEAD) == 0
    counts = Counts()
    await applied(world, metrics=counts)
    assert len(await world.amounts()) == 2400
    assert set(counts.by_outcome) <= {"applied"}


AHEAD = """
SELECT count(*) FROM accounting.transactions AS t
LEFT JOIN sync.offsets AS o ON o.topic = t.topic AND o.partition = t.partition
WHERE o.next_offset IS NULL OR t."offset" >= o.next_offset
"""


class Quiet:
    def info(self, event: str, **keys: object) -> None: ...
    def warning(self, event: str, **keys: object) -> None: ...
    def error(self, event: str, **keys: object) -> None: ...


async def test_a_slow_table_is_given_fewer_rows(world: World) -> None:
    """(C20) A batch that takes longer than a statement may is tried with less."""
    await world.database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$"
    )
    await world.database.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON accounting.transactions"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    target = replace(world.settings.database, statement_seconds_max=0.5)
    settings = replace(world.settings, database=target)
    await world.publish(*(payment(f"t{i}", 1) for i in range(1000)))
    counts = Counts()
    async with consuming(world, settings, backoff=QUICK, metrics=counts):
        await until(world.caught_up)
    assert counts.by_outcome == {"applied": 1000}
    assert "Unavailable" in counts.retries


async def test_all_owners_are_told_apart_by_partition(world: World) -> None:
    """Every key's records lie in the one partition that its consumer has."""
    await world.publish(*(told(OWNERS, f"o{i}", 1, {"name": "x"}) for i in range(50)))
    await applied(world)
    rows = await world.database.fetch("SELECT id, partition FROM accounting.owners")
    keys = {row["id"]: told(OWNERS, row["id"], 1, {"name": "x"}).key for row in rows}
    assert len(rows) == 50
    assert all(row["partition"] == partition_of(keys[row["id"]], PARTITIONS) for row in rows)
