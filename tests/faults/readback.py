"""Reading back what happened, by clients of our own: MongoDB's history, topics, tables.

Nothing of the product is used, so that it cannot hide its own faults.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from bson import Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream

from compose.demo.compare import id_text
from tests.invariants import Happened, Place, Record

MARKERS = "markers_of_a_test"
TABLES = ("properties", "owners", "transactions")
READ_SECONDS_MAX = 60.0


class Topics:
    """Committed records, read once and kept; `catch_up` reads on to the stable end.

    A transaction that is open holds it up, as it does every reader.
    """

    def __init__(self, bootstrap: str, names: Sequence[str]) -> None:
        self.records: list[Record] = []
        self.ends: dict[Place, int] = {}
        self.stable_ends: dict[Place, int] = {}
        self._bootstrap = bootstrap
        self._names = names
        self._committed: AIOKafkaConsumer | None = None
        self._raw: AIOKafkaConsumer | None = None

    @property
    def settled(self) -> bool:
        """Whether no transaction was open, or still without its markers, at the last `catch_up`.

        The broker answers a commit before it has written the markers that show its records.
        """
        return self.stable_ends == self.ends

    async def catch_up(self) -> None:
        committed = await self._opened()
        places = sorted(committed.assignment())
        self.stable_ends = await _ends(committed, places)
        assert self._raw is not None
        self.ends = await _ends(self._raw, places)  # later: what is shown there was not open
        async with asyncio.timeout(READ_SECONDS_MAX):
            while True:
                behind = [
                    place
                    for place in places
                    if await committed.position(place)
                    < self.stable_ends[place.topic, place.partition]
                ]
                if not behind:
                    return
                found = await committed.getmany(*behind, timeout_ms=200, max_records=5000)
                for batch in found.values():
                    self.records += [_record(each) for each in batch]

    async def reopen(self) -> None:
        """By a client that has seen no broker die; what was read is kept."""
        places = (
            {}
            if self._committed is None
            else {
                each: await self._committed.position(each) for each in self._committed.assignment()
            }
        )
        await self.close()
        fresh = await self._opened()
        for place, position in places.items():
            fresh.seek(place, position)

    async def start_over(self) -> None:
        """Some of them are new."""
        await self.close()
        self.records.clear()

    async def _opened(self) -> AIOKafkaConsumer:
        if self._committed is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            self._raw = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap, enable_auto_commit=False
            )
            await asyncio.gather(consumer.start(), self._raw.start())
            consumer.assign(await self._places(consumer))
            await self._places(self._raw)
            self._committed = consumer
        return self._committed

    async def _places(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        await consumer._client.set_topics(self._names)  # learns their partitions
        return [
            TopicPartition(name, partition)
            for name in self._names
            for partition in sorted(consumer.partitions_for_topic(name) or ())
        ]

    def of(self, *names: str) -> list[Record]:
        """In the order of each partition."""
        return [record for record in self.records if record.topic in names]

    def cursor(self, topic: str, source: str) -> dict[str, Any] | None:
        """The source's last committed cursor."""
        for record in reversed(self.of(topic)):
            if json.loads(record.key or b"{}").get("source") == source:
                return dict(json.loads(record.value)["cursor"]) if record.value else None
        return None

    async def close(self) -> None:
        consumers = [self._committed, self._raw]
        self._committed = self._raw = None
        for consumer in filter(None, consumers):
            with contextlib.suppress(asyncio.CancelledError):  # of a task of its own
                await consumer.stop()


async def _ends(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[Place, int]:
    """As the consumer's isolation level shows them."""
    return {tuple(place): end for place, end in (await consumer.end_offsets(places)).items()}


def _record(raw: Any) -> Record:
    headers = dict(raw.headers)
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, headers)


class History:
    """MongoDB's own account of what was written since `open`."""

    def __init__(self, client: "AsyncMongoClient[dict[str, Any]]", database: str) -> None:
        self.changes: list[Happened] = []
        self.newest = -1
        """The position of the last thing that happened, drops and renames included."""
        self._database = client[database]
        self._admin = client.admin
        self._stream: AsyncChangeStream[dict[str, Any]] | None = None

    async def open(self) -> None:
        now: Timestamp = (await self._admin.command("ping"))["operationTime"]
        await self._watch(start_at_operation_time=now)

    async def _watch(self, **start: Any) -> None:
        self._stream = await self._database.watch(
            [{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "documentKey": 1}}],
            max_await_time_ms=100,
            **start,
        )

    async def reopen(self) -> None:
        """From now on: what was not read is not known any more."""
        await self.close()
        await self.open()

    async def nudge(self) -> None:
        """The cluster's time moves on, as it does where somebody writes something."""
        await self._database[MARKERS].insert_one({})

    async def catch_up(self) -> None:
        """Up to now: as far as a marker that is written now."""
        marker = await self._database[MARKERS].insert_one({})
        async with asyncio.timeout(READ_SECONDS_MAX):
            while True:
                assert self._stream is not None, "open it first"
                event = await self._stream.try_next()
                if event is None:
                    continue
                if event["operationType"] == "invalidate":  # the database was dropped
                    await self.close()
                    await self._watch(start_after=event["_id"])
                elif event["ns"].get("coll") != MARKERS:
                    self._note(event)
                elif event.get("documentKey", {}).get("_id") == marker.inserted_id:
                    return

    def _note(self, event: dict[str, Any]) -> None:
        time = event["clusterTime"]
        self.newest = (time.time << 32) | time.inc
        if "documentKey" not in event:  # a drop, a rename
            return
        row_id = _id_text(event["documentKey"]["_id"])
        collection, op = event["ns"]["coll"], event["operationType"]
        self.changes.append(Happened(collection, op, row_id, self.newest))

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()


def _id_text(value: Any) -> str:
    try:
        return id_text(value)
    except ValueError:
        return f"({value!r})"  # of a type that only tests of identities write


async def tables(
    postgres: "asyncpg.Connection[asyncpg.Record]", book: str, source: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every row of a source, by table and id."""
    found = {}
    for table in TABLES:
        query = f"SELECT * FROM accounting.{table} WHERE book = $1 AND source = $2"
        rows = await postgres.fetch(query, book, source)
        found[table] = {row["id"]: dict(row) for row in rows}
    return found


async def totals(
    postgres: "asyncpg.Connection[asyncpg.Record]", book: str, source: str
) -> list[dict[str, Any]]:
    query = "SELECT * FROM accounting.account_totals WHERE book = $1 AND source = $2"
    return [dict(row) for row in await postgres.fetch(query, book, source)]


async def letters(
    postgres: "asyncpg.Connection[asyncpg.Record]", book: str, source: str
) -> frozenset[tuple[str, str]]:
    """(table, id) of what could not be mapped or applied, open or not."""
    query = (
        "SELECT entity, coalesce(row_id, document_id) AS id FROM sync.dead_letters"
        " WHERE book = $1 AND source = $2"
    )
    rows = await postgres.fetch(query, book, source)
    return frozenset((row["entity"].rpartition(".")[2], row["id"]) for row in rows)


async def offsets(postgres: "asyncpg.Connection[asyncpg.Record]", group: str) -> dict[Place, int]:
    query = "SELECT topic, partition, next_offset FROM sync.offsets WHERE group_name = $1"
    rows = await postgres.fetch(query, group)
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
