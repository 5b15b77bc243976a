"""What goes wrong around a consumer: offsets that cannot be trusted, doubtful commits, tables that
refuse all, servers that go away. Names in brackets are rows of the fault matrix.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cdc.runtime.errors import Unavailable
from cdc.runtime.kafka_admin import TopicWish, create_topics
from cdc.runtime.postgres import Connection
from cdc.runtime.retry import Backoff
from consumers.app import ConsumerService
from consumers.metrics import NoMetrics
from schemas.topics import entity_topic, partition_of
from tests.conftest import Addresses
from tests.consumer_world import (
    OWNERS,
    PARTITIONS,
    TRANSACTIONS,
    World,
    applied,
    consuming,
    deleted,
    make_world,
    payment,
    told,
    tombstone,
    until,
    version,
)

QUICK = Backoff(first_seconds=0.05, seconds_max=0.3)


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


class Counts(NoMetrics):
    def __init__(self) -> None:
        self.by_outcome: dict[str, int] = {}
        self.gaps: list[str] = []
        self.retries: list[str] = []

    def rows(self, entity: str, outcome: str, count: int) -> None:
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + count

    def gap(self, target: str, topic: str, reason: str) -> None:
        self.gaps.append(reason)

    def retried(self, target: str, reason: str) -> None:
        self.retries.append(reason)


async def amounts(world: World) -> dict[str, int]:
    rows = await world.rows("accounting.transactions_live", "amount")
    return {row_id: int(row[0]) for row_id, row in rows.items()}


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
    assert await amounts(world) == {f"t{i}": 5 for i in range(300)}
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
async def test_a_commit_whose_answer_is_lost(world: World, took_effect: bool) -> None:
    """(C1, P2) The offsets decide; nothing is lost, nothing counted twice."""
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
    assert len(await amounts(world)) == 5
    assert counts.by_outcome == {"applied": 5, "parked": 5}
    assert await world.one("SELECT max(attempts) FROM sync.dead_letters") == 1


async def test_offsets_moved_by_another_are_read_again(world: World) -> None:
    """(C2) A zombie's expectation is not met: nothing of its batch is written."""
    counts = Counts()
    settings = world.limited(touch_seconds=0.5)
    async with consuming(world, settings, backoff=QUICK, metrics=counts):
        await world.publish(payment("t1", 1))
        await until(world.caught_up)
        await world.database.execute("UPDATE sync.offsets SET next_offset = 0")
        await world.publish(payment("t2", 1))
        await until(world.caught_up)
    assert await amounts(world) == {"t1": 10, "t2": 10}
    assert "Fenced" in counts.retries
    assert counts.by_outcome == {"applied": 2, "duplicate": 1}


async def test_a_missing_row_starts_at_the_logs_start(world: World) -> None:
    """(C6) Never at the end: what was there before is applied."""
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.database.execute("DELETE FROM sync.offsets")
    await world.database.execute("DELETE FROM accounting.transactions")
    await applied(world)
    assert await amounts(world) == {"t1": 10}


async def recreate(world: World, name: str) -> None:
    topic = entity_topic(world.settings.topic_prefix, name, PARTITIONS)
    admin = AIOKafkaAdminClient(**world.settings.kafka.client_options())
    await admin.start()
    try:
        await admin.delete_topics([topic.name])
    finally:
        await admin.close()
    wish = TopicWish(topic.name, topic.partitions, 1, topic.config)

    async def created() -> bool:
        try:
            return bool(await create_topics(world.settings.kafka, [wish]))
        except Unavailable:
            return False

    await until(created)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("more", [False, True])
async def test_a_topic_made_anew(world: World, running: bool, more: bool) -> None:
    """(C8) Told, and read from its start, with fewer or more records than before."""
    counts = Counts()
    await world.publish(*(payment(f"old{i}", 1) for i in range(20)))
    await applied(world)
    count = 60 if more else 2
    if not running:
        await recreate(world, TRANSACTIONS)
        await world.publish(*(payment(f"new{i}", 1) for i in range(count)))
    async with consuming(world, backoff=QUICK, metrics=counts) as service:
        if running:
            await until(lambda: _settled(service))
            await recreate(world, TRANSACTIONS)
            await world.publish(*(payment(f"new{i}", 1) for i in range(count)))
        await until(lambda: _has(world, 20 + count))
        await until(world.caught_up)
        gaps = [gap["reason"] for gap in service.progress.gaps]
    assert set(gaps) == {"recreated"} == set(counts.gaps)
    assert await world.differing_totals() == []


async def _settled(service: ConsumerService) -> bool:
    return len(service.progress.offsets) == 3 * PARTITIONS + 1


async def _has(world: World, count: int) -> bool:
    return len(await amounts(world)) == count


async def test_a_log_whose_beginning_is_gone(
    stack: Addresses, database: str, topic_prefix: str
) -> None:
    """(C7) Told; what is left is applied."""
    kafka = stack.kafka_bootstrap_servers
    world = await make_world(kafka, database, topic_prefix, policy="compact,delete")
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.publish(*(payment(f"x{i}", 1) for i in range(20)))
    await world.publish(*(payment(f"y{i}", 1) for i in range(20)))
    admin = AIOKafkaAdminClient(**world.settings.kafka.client_options())
    await admin.start()
    stored = await world.stored()
    try:
        cut = {
            TopicPartition(*place): RecordsToDelete(offset + 5)
            for place, offset in stored.items()
            if place[0] == world.topic(TRANSACTIONS)
        }
        await admin.delete_records(cut)
    finally:
        await admin.close()
    counts = Counts()
    await applied(world, metrics=counts)
    assert set(counts.gaps) == {"expired"}
    assert {row_id for row_id in await amounts(world) if row_id[0] == "y"} == {
        f"y{i}" for i in range(20)
    }
    await world.database.close()


async def test_a_log_that_ends_before_the_offset(world: World) -> None:
    """Believed only when seen several times; then read from its start."""
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.database.execute("UPDATE sync.offsets SET next_offset = next_offset + 1000")
    counts = Counts()
    async with consuming(world, backoff=QUICK, metrics=counts):
        await until(lambda: _true(bool(counts.gaps)))
        await world.publish(payment("t2", 1))
        await until(world.caught_up)
    assert set(counts.gaps) == {"truncated"}
    assert len(counts.retries) >= 3
    assert set(await amounts(world)) == {"t1", "t2"}


async def _true(value: bool) -> bool:
    return value


async def test_deletes_that_compaction_forgot_are_found(world: World) -> None:
    """Back after too long: what lives in the table and no more on the topic is marked deleted."""
    await world.publish(*(payment(f"t{i}", 5) for i in range(10)))
    await world.publish(payment("gone", 5), deleted(TRANSACTIONS, "t9", 6))
    await applied(world)
    places = {row["id"]: row for row in await world.database.fetch(LINEAGE)}
    # As if 'lost' had been applied once, deleted, and all its records compacted away; 'bare' left
    # only its tombstone; 'young' came from beyond the end of the scan.
    await world.database.execute(LIKE, "gone", "lost", 0)
    await world.database.execute(LIKE, "gone", "young", 10_000)
    await world.publish(tombstone(TRANSACTIONS, "gone"))
    await applied(world)
    assert "lost" in await amounts(world)
    await world.database.execute("UPDATE sync.offsets SET updated_at = now() - interval '8 days'")
    await world.publish(*(payment(f"new{i}", 1) for i in range(10)))
    counts = Counts()
    async with consuming(world, metrics=counts):
        await until(lambda: _open_gaps(world))
        await until(world.caught_up)
    assert set(counts.gaps) == {"silent"}
    kept = {f"t{i}" for i in range(9)} | {f"new{i}" for i in range(10)} | {"young"}
    assert set(await amounts(world)) == kept
    rows = await world.rows("accounting.transactions", "version", "amount", "deleted")
    assert rows["lost"] == (version(5), Decimal(10), True)
    assert await world.differing_totals() == []
    assert set(places) == {"gone", *(f"t{i}" for i in range(10))}


LINEAGE = 'SELECT id, topic, partition, "offset" FROM accounting.transactions'
LIKE = """
INSERT INTO accounting.transactions (book, source, id, property_id, type, amount, currency, settled,
    version, topic, partition, "offset")
SELECT book, source, $2, property_id, type, amount, currency, settled,
    version, topic, partition, "offset" + $3
FROM accounting.transactions WHERE id = $1
"""


async def _open_gaps(world: World) -> bool:
    """Whether gaps were noticed and all are mended."""
    return bool(
        await world.one(
            "SELECT bool_and(gap_end IS NULL) AND max(updated_at) > now() - interval '1 day'"
            " FROM sync.offsets"
        )
    )


async def test_idle_rows_show_signs_of_life(world: World) -> None:
    async with consuming(world, world.limited(touch_seconds=0.2)):
        await until(world.caught_up)
        seen = await world.one("SELECT min(updated_at) FROM sync.offsets")

        async def moved() -> Any:
            return await world.one("SELECT min(updated_at) > $1 FROM sync.offsets", seen)

        await until(moved)


async def test_a_table_that_refuses_all_parks_nothing(world: World) -> None:
    """(C11, P15) A changed table stops the consumer, not the rows; mended, it goes on."""
    await world.database.execute(
        "ALTER TABLE accounting.transactions ADD CONSTRAINT narrow CHECK (amount < 0)"
    )
    await world.publish(*(payment(f"t{i}", 1) for i in range(400)))
    async with consuming(world, backoff=QUICK) as service:
        await until(lambda: waits(service, "narrow"))
        assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0
        assert await amounts(world) == {}
        await world.database.execute("ALTER TABLE accounting.transactions DROP CONSTRAINT narrow")
        await until(world.caught_up)
    assert len(await amounts(world)) == 400
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
        await until(lambda: _true(service.progress.state.value == "idle"))
        await until(world.caught_up)
    assert await amounts(world) == {"t1": 10}
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
    assert await amounts(world) == {"t1": 10}


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
    settings = replace(world.settings, instance="one")
    for n in range(1, 4):
        await world.publish(payment("t1", n, amount=str(n)))
        async with consuming(world, settings):
            started = asyncio.get_running_loop().time()
            await until(world.caught_up)
            assert asyncio.get_running_loop().time() - started < 4
    assert await amounts(world) == {"t1": 3}


async def test_a_cancelled_consumer_leaves_nothing_half(world: World) -> None:
    """(P2) Cancelled at any moment: rows and offsets agree, the next one goes on."""
    loop = asyncio.get_running_loop()
    for turn in range(12):
        await world.publish(*(payment(f"t{turn}-{i}", 1) for i in range(200)))
        service = ConsumerService(world.limited(poll_events_max=150), log=Quiet())
        task = asyncio.create_task(service.run(asyncio.Event()))
        before = service.progress.events_total
        await until(lambda s=service, b=before: _true(s.progress.events_total > b))
        ends = loop.time() + 0.004 * turn
        await until(lambda ends=ends: _true(loop.time() > ends))
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled()
        assert await world.one(AHEAD) == 0
    counts = Counts()
    await applied(world, metrics=counts)
    assert len(await amounts(world)) == 2400
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
