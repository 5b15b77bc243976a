"""A world for consumer tests: topics, a database and events, on the real servers of the stack."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import orjson
import structlog
from aiokafka import AIOKafkaProducer

from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_admin import TopicWish, create_topics
from cdc.runtime.kafka_records import spans
from cdc.runtime.postgres import PostgresTarget
from cdc.runtime.retry import Backoff
from consumers.app import ConsumerService
from consumers.metrics import NoMetrics
from consumers.migrate import migrate
from consumers.settings import ConsumerLimits, ConsumerSettings
from schemas.entities import entity
from schemas.envelope import encode_key
from schemas.hashing import transaction_hash
from schemas.topics import (
    MESSAGE_BYTES_MAX,
    dead_letters_topic,
    entity_topic,
    entity_topic_name,
    partition_of,
)
from schemas.version import pack

BOOK, SOURCE = "acme", "property"
PROPERTIES, OWNERS = "accounting.properties", "accounting.owners"
TRANSACTIONS = "accounting.transactions"
PARTITIONS = 2
WAIT_SECONDS_MAX = 60.0
TRANSACTION: dict[str, Any] = {
    "property_id": "p1",
    "type": "income",
    "amount": "10.00",
    "currency": "EUR",
    "date": "2026-03-01",
    "description": "rent",
    "status": "completed",
    "settled": True,
    "payment_method": None,
    "reference": None,
}

LIMITS = ConsumerLimits(
    heartbeat_ms=500,
    poll_wait_ms=200,
    fetch_wait_ms=200,
    keep_seconds=0.2,
    check_seconds=0.5,
    metadata_age_ms=500,
)


QUICK = Backoff(first_seconds=0.05, seconds_max=0.3)


class Counts(NoMetrics):
    """Events by outcome, gaps and retries by reason."""

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


def version(position: int, ordinal: int = 0) -> bytes:
    return pack(0, position, ordinal)


@dataclass(frozen=True)
class Told:
    """An event as a source publishes it; `value` None is a tombstone."""

    entity: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def told(
    name: str,
    row_id: str,
    position: int,
    after: Mapping[str, Any] | None,
    *,
    op: str | None = None,
    before: Mapping[str, Any] | None = None,
    at_ms: int | None = None,
    source: str = SOURCE,
) -> Told:
    """An event of `name` at version `position`; `after` None deletes."""
    headers: list[tuple[str, bytes]] = [("event_id", b"0" * 32)]
    if name == TRANSACTIONS and after is not None:
        headers.append(("transaction_hash", hash_of(row_id, after, source).hex().encode()))
    headers.append(("schema", entity(name).schema_id.encode()))
    value = {
        "before": before,
        "after": after,
        "op": op or ("u" if after is not None else "d"),
        "source": {
            "version": "1",
            "connector": "mongodb",
            "name": source,
            "ts_ms": at_ms or time.time_ns() // 1_000_000,
            "snapshot": "false",
            "db": "property-management",
            "collection": "payments",
            "change_version": version(position).hex(),
            "mapping": "payments",
        },
        "ts_ms": time.time_ns() // 1_000_000,
    }
    key = encode_key(BOOK, source, row_id)
    return Told(name, key, orjson.dumps(value), tuple(headers))


def hash_of(row_id: str, after: Mapping[str, Any], source: str = SOURCE) -> bytes:
    columns = ("amount", "currency", "date", "description")
    amount, currency, date, description = (after.get(name) for name in columns)
    return transaction_hash(
        BOOK, source, after.get("property_id"), row_id, amount, currency, date, description
    )


def payment(row_id: str, position: int, **changes: Any) -> Told:
    return told(TRANSACTIONS, row_id, position, TRANSACTION | changes)


def deleted(name: str, row_id: str, position: int, **options: Any) -> Told:
    return told(name, row_id, position, None, **options)


def tombstone(name: str, row_id: str, source: str = SOURCE) -> Told:
    return Told(name, encode_key(BOOK, source, row_id), None)


@dataclass
class World:
    """Topics of one prefix and one migrated database; services are run with `consuming`."""

    settings: ConsumerSettings
    database: asyncpg.Connection
    _ids: Iterable[int] = field(default_factory=itertools.count)

    @property
    def group(self) -> str:
        return self.settings.group

    def topic(self, name: str) -> str:
        return entity_topic_name(self.settings.topic_prefix, name)

    def limited(self, **changes: Any) -> ConsumerSettings:
        return replace(self.settings, limits=replace(self.settings.limits, **changes))

    async def publish(self, *events: Told, abort: bool = False) -> None:
        """All of them in one Kafka transaction, in order."""
        producer = AIOKafkaProducer(
            **self.settings.kafka.client_options(),
            transactional_id=f"{self.settings.topic_prefix}.{next(iter(self._ids))}",
            compression_type="zstd",
            max_request_size=MESSAGE_BYTES_MAX,
        )
        await producer.start()
        try:
            await producer.begin_transaction()
            futures = [
                await producer.send(
                    self.topic(each.entity),
                    key=each.key,
                    value=each.value,
                    headers=list(each.headers),
                    partition=partition_of(each.key, PARTITIONS),
                )
                for each in events
            ]
            for sent in futures:
                await sent
            await (producer.abort_transaction() if abort else producer.commit_transaction())
        finally:
            await producer.stop()

    async def publish_letter(self, letter: Mapping[str, Any]) -> None:
        """A dead letter as a source tells it."""
        producer = AIOKafkaProducer(**self.settings.kafka.client_options())
        await producer.start()
        try:
            topic = self.settings.dead_letters_topic
            await producer.send_and_wait(topic, key=b"{}", value=orjson.dumps(letter), partition=0)
        finally:
            await producer.stop()

    async def rows(self, table: str, *columns: str) -> dict[str, tuple[Any, ...]]:
        """Row id to the values of `columns`."""
        names = ", ".join(columns)
        found = await self.database.fetch(f"SELECT id AS row_id, {names} FROM {table}")
        return {row["row_id"]: tuple(row[name.strip('"')] for name in columns) for row in found}

    async def amounts(self) -> dict[str, int]:
        """The live transactions."""
        rows = await self.rows("accounting.transactions_live", "amount")
        return {row_id: int(row[0]) for row_id, row in rows.items()}

    async def one(self, sql: str, *values: Any) -> Any:
        return await self.database.fetchval(sql, *values)

    async def stored(self) -> dict[tuple[str, int], int]:
        """Next offset by topic and partition."""
        rows = await self.database.fetch(
            "SELECT topic, partition, next_offset FROM sync.offsets WHERE group_name = $1",
            self.group,
        )
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def caught_up(self) -> bool:
        """Whether the stored offsets are at the ends of all topics."""
        stored = await self.stored()
        for topic in self.settings.topics:
            for partition, (_, end) in (await spans(self.settings.kafka, topic)).items():
                if stored.get((topic, partition)) != end:
                    return False
        return True

    async def differing_totals(self) -> list[asyncpg.Record]:
        """Totals that are not the sums over the rows; empty: all are."""
        return await self.database.fetch(DIFFERING_TOTALS)


DIFFERING_TOTALS = """
SELECT * FROM (
    SELECT book, source, property_id, upper(currency) AS currency,
        coalesce(sum(amount) FILTER (WHERE settled AND type = 'income'), 0) AS income,
        coalesce(sum(amount) FILTER (WHERE settled AND type <> 'income'), 0) AS expenses,
        count(*) AS transactions
    FROM accounting.transactions
    WHERE NOT deleted AND property_id IS NOT NULL
    GROUP BY 1, 2, 3, 4
) AS r
FULL JOIN accounting.account_totals AS t USING (book, source, property_id, currency)
WHERE coalesce(t.income, 0) <> coalesce(r.income, 0)
    OR coalesce(t.expenses, 0) <> coalesce(r.expenses, 0)
    OR coalesce(t.balance, 0) <> coalesce(r.income - r.expenses, 0)
    OR coalesce(t.transactions, 0) <> coalesce(r.transactions, 0)
"""


async def make_world(
    kafka: str, database: str, prefix: str, *, policy: str = "compact", **settings: Any
) -> World:
    connection = KafkaConnection(bootstrap_servers=kafka)
    names = (PROPERTIES, OWNERS, TRANSACTIONS)
    made = ConsumerSettings(
        target="main",
        database=PostgresTarget(dsn=database),
        kafka=connection,
        topic_prefix=prefix,
        entities=dict.fromkeys(names, PARTITIONS),
        limits=LIMITS,
        **settings,
    )
    topics = [entity_topic(prefix, name, PARTITIONS) for name in names]
    wishes = [
        TopicWish(each.name, each.partitions, 1, each.config | {"cleanup.policy": cleanup})
        for each, cleanup in (
            *((topic, policy) for topic in topics),
            (dead_letters_topic(prefix), "delete"),
        )
    ]
    await create_topics(connection, wishes)
    own = await made.database.connect()
    await migrate(own)
    return World(made, own)


@asynccontextmanager
async def consuming(
    world: World, settings: ConsumerSettings | None = None, **options: Any
) -> AsyncIterator[ConsumerService]:
    """A consumer that runs, and has ended without an error afterwards."""
    log = structlog.get_logger()
    service = ConsumerService(settings or world.settings, log=log, **options)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop), name="consumer under test")
    try:
        yield service
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=WAIT_SECONDS_MAX)
        assert task.done(), "the consumer did not stop"
        task.result()


async def until(
    condition: Callable[[], Awaitable[Any]], *, seconds: float = WAIT_SECONDS_MAX
) -> Any:
    """Waits for a condition with a limit; returns what it gave."""
    ends = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < ends, "this never came true"
        await asyncio.sleep(0.02)


async def holds(value: bool) -> bool:
    """A condition that needs no waiting, for ``until``."""
    return value


async def applied(world: World, **options: Any) -> None:
    """Runs a consumer until everything published so far is applied."""
    async with consuming(world, **options):
        await until(world.caught_up)
