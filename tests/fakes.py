"""Doubles of what the loops are given: a source, a broker and a normaliser, all in memory.

They keep the contracts of the real ones (``cdc/sources/protocol.py``, ``cdc/kafka/broker.py``) and
add what no server offers: a seeded schedule of writes and faults between any two steps.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cdc.kafka.broker import Broker, TransactionalPublisher
from cdc.missing import collection_of
from cdc.runtime.errors import Doubt, Fenced, Gap, Unavailable
from cdc.sources.protocol import Change, Checkpoint, Item, Page, Source, Stream
from cdc.stream_reader import Normaliser
from schemas.envelope import Event, decode_key, encode_key, event_id
from schemas.topics import partition_of
from schemas.version import ORDINAL_MAX, pack

PARTITIONS = 2
CUT_CHANCE = 0.2
"""So often a reply is cut by its size: the next event did not fit, however few there are."""


class Entry(NamedTuple):
    """One operation in the fake source's history."""

    position: int
    collection: str
    op: str
    id: str
    document: dict[str, Any] | None


class FakeDatabase:
    """A source's truth: its history, and the state at any time of it. Outlives processes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cuts = random.Random(seed)
        """Where replies end, and when the clock moves by itself."""
        self.history: list[Entry] = []
        self.now = 100
        self.forgotten = 0
        """Entries up to this position are out of the history: a cursor before it is lost."""
        self.writes_left = 0

    def write(
        self, collection: str, row_id: str, document: dict[str, Any] | None, *, tied: bool = False
    ) -> None:
        """One write; ``tied``: at the time of the one before, as in one transaction."""
        if not tied or not self.history:
            self.now += 1
        exists = row_id in self.state(collection)
        if document is None and not exists:
            return
        op = "d" if document is None else "u" if exists else "c"
        self.history.append(Entry(self.now, collection, op, row_id, document))

    def state(self, collection: str) -> dict[str, dict[str, Any]]:
        """The documents as they stand now."""
        found: dict[str, dict[str, Any]] = {}
        for entry in self.history:
            if entry.collection == collection:
                if entry.document is None:
                    found.pop(entry.id, None)
                else:
                    found[entry.id] = entry.document
        return found

    def forget(self) -> None:
        """The history so far rolls over: only the state is left."""
        self.forgotten = self.now

    def tick(self) -> None:
        """Something may happen: called at every step of the source."""
        together = False
        while self.writes_left and self.random.random() < 0.5:
            self.writes_left -= 1
            collection = self.random.choice(["a", "b"])
            row_id = f"{self.random.randrange(12)}"
            document = {"n": self.random.randrange(1000)}
            if self.random.random() < 0.1:
                document["bad"] = 1
            gone = self.random.random() < 0.25
            tied = together and self.random.random() < 0.5
            self.write(collection, row_id, None if gone else document, tied=tied)
            together = True


class FakeSource:
    """See ``protocol.Source``; replies of ``reply_events`` at the most."""

    name = "fake"
    connector = "fake"

    def __init__(
        self, database: FakeDatabase, collections: Sequence[str], reply_events: int = 3
    ) -> None:
        self.database = database
        self.collections = tuple(collections)
        self.reply_events = reply_events
        self.identity = {"cluster": "one"}
        self.asked = 0
        self.mended_times = 0
        self._index = 0
        self._place = Checkpoint(None, 0, -1, False, 0)

    async def open(self) -> tuple[Stream, ...]:
        await self._step()
        return (Stream("db", self.collections, self.identity),)

    async def _step(self) -> None:
        await asyncio.sleep(0)
        self.database.tick()

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        await self._step()
        if after is None:
            self._index = len(self.database.history)
            self._place = Checkpoint(self._index, self.database.now + 1, -1, False, self.asked)
            return self._place
        if after.position <= self.database.forgotten:
            raise Gap("the history is gone", operation="open", subject=self.name)
        self._index, self._place = after.token, after
        return after

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        self.asked += 1
        asked = self.asked
        await self._step()
        waiting = self.database.history[self._index :]
        if not waiting and self.database.cuts.random() < CUT_CHANCE:
            self.database.now += 1  # as an idle replica set's clock does every 10 s
        entries = waiting[: self._reply_length()]
        full = len(entries) >= self.reply_events
        cut = len(entries) < len(waiting)
        position, ordinal = self._place.position, self._place.ordinal
        changes = []
        for entry in entries:
            ordinal = ordinal + 1 if entry.position == position else 0
            position = entry.position
            if entry.collection in self.collections:
                changes.append(
                    Change(
                        entry.collection,
                        entry.op,
                        entry.id,
                        None,
                        entry.document,
                        position,
                        ordinal,
                        position,
                    )
                )
        if changes:
            yield changes
        self._index += len(entries)
        if not (full or cut) and position < self.database.now:
            position, ordinal = self.database.now, -1
        self._place = Checkpoint(self._index, position, ordinal, full, asked, not entries)
        yield self._place

    def _reply_length(self) -> int:
        cuts = self.database.cuts
        is_cut = cuts.random() < CUT_CHANCE
        return cuts.randint(1, self.reply_events) if is_cut else self.reply_events

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        await self._step()
        ids = sorted(self.database.state(collection))
        ids = [each for each in ids if start is None or each > start]
        chosen, at = ids[: self.reply_events], self.database.now
        page = self._page(collection, chosen, at)
        following = chosen[-1] if len(ids) > len(chosen) else None
        await self._step()
        return page._replace(next=following)

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        known = self.database.state(collection)
        now, left = ids[: self.reply_events], tuple(ids[self.reply_events :])
        page = self._page(collection, [each for each in now if each in known], self.database.now)
        await self._step()
        return page._replace(next=left or None)

    def _page(self, collection: str, ids: Sequence[str], at: int) -> Page:
        state = self.database.state(collection)
        rows = [
            Change(collection, "r", each, None, state[each], at, ORDINAL_MAX, at) for each in ids
        ]
        return Page([rows] if rows else [], at, self.asked, None)

    async def total(self, stream: Stream, collection: str) -> int | None:
        return len(self.database.state(collection))

    async def history_seconds(self) -> tuple[float, float] | None:
        return None

    def mended(self) -> None:
        self.mended_times += 1

    async def close(self) -> None:
        await asyncio.sleep(0)


class FakeFault(NamedTuple):
    """See ``stream_reader.Fault``."""

    mapping: str
    entity: str
    document_id: str | None
    row_id: str | None
    path: str
    reason: str


@dataclass
class FakeNormalised:
    """See ``stream_reader.Normalised``."""

    events: list[Event] = field(default_factory=list)
    faults: list[FakeFault] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


class FakeNormaliser:
    """Every collection is an entity of its own; documents with ``bad`` do not map."""

    def __init__(self, collections: Sequence[str], prints: str = "1") -> None:
        self.collections = tuple(collections)
        self.mappings = {f"{name}:d.{name}": prints for name in collections}
        self.entities = tuple(f"d.{name}" for name in collections)
        self.topics = tuple(f"p.d.{name}" for name in collections)

    def document_id(self, raw_id: Any) -> str:
        return str(raw_id)

    def of(self, stream: str) -> "FakeNormaliser":
        return self

    def normalise(
        self, changes: Sequence[Change], *, epoch: int, snapshot: str = "false"
    ) -> FakeNormalised:
        made = FakeNormalised()
        for change in changes:
            mapping = f"{change.collection}:d.{change.collection}"
            entity = f"d.{change.collection}"
            if change.after is not None and "bad" in change.after:
                made.faults.append(
                    FakeFault(mapping, entity, change.id, change.id, "bad", "is bad")
                )
                continue
            version = pack(epoch, change.position, change.ordinal)
            made.events += row_events(mapping, entity, change.id, version, change.op, change.after)
            made.counts[(entity, change.op)] += 1
        return made

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]:
        return row_events(mapping, entity, row_id, version, "d", None)

    def refused(self, event: Event, reason: str) -> list[Event]:
        return []


def row_events(
    mapping: str, entity: str, row_id: str, version: bytes, op: str, after: Any
) -> list[Event]:
    """One record, and after a delete its tombstone."""
    key = encode_key("book", "fake", row_id)
    topic = f"p.{entity}"
    partition = partition_of(key, PARTITIONS)
    origin = {"change_version": version.hex(), "mapping": mapping}
    value = json.dumps({"op": op, "after": after, "source": origin}).encode()
    headers = [("event_id", event_id("book", "fake", version, entity, row_id).encode())]
    events = [Event(topic, partition, key, value, headers)]
    if op == "d":
        events.append(Event(topic, partition, key, None, []))
    return events


class FakeBroker:
    """Topics in memory, one transaction at a time; ``fault`` may raise before or after a commit."""

    def __init__(self, topics: Sequence[str], fault: Any = None) -> None:
        self.log: dict[tuple[str, int], list[Event]] = {
            (topic, partition): [] for topic in topics for partition in range(PARTITIONS)
        }
        self.stored: dict[bytes, bytes | None] = {}
        self.ids = {topic: f"id of {topic}" for topic in topics}
        self.epoch = 0
        self.fault = fault or (lambda moment: None)
        self.transactions = 0

    def publisher(self) -> "FakePublisher":
        return FakePublisher(self)

    async def cursors(self) -> dict[bytes, bytes | None]:
        await asyncio.sleep(0)
        return dict(self.stored)

    async def topic_ids(self, names: Sequence[str]) -> dict[str, str]:
        return {name: self.ids[name] for name in names}

    async def spans(self, topic: str) -> list[tuple[int, int]]:
        await asyncio.sleep(0)
        return [(0, len(self.log[topic, partition])) for partition in range(PARTITIONS)]

    async def records(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Event]]:
        for offset in range(start, end, 2):
            await asyncio.sleep(0)
            yield self.log[topic, partition][offset : min(offset + 2, end)]

    def rows(self, topic: str) -> dict[str, dict[str, Any]]:
        """The live rows that a reader of the whole topic ends with."""
        found: dict[str, dict[str, Any]] = {}
        for partition in range(PARTITIONS):
            for event in self.log[topic, partition]:
                row_id = decode_key(event.key)[2]
                if event.value is None:
                    continue
                value = json.loads(event.value)
                if value["op"] == "d":
                    found.pop(row_id, None)
                else:
                    found[row_id] = value["after"]
        return found


class FakePublisher:
    """See ``cdc.publisher.Publisher``."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._epoch = -1

    async def start(self) -> None:
        await asyncio.sleep(0)
        self._broker.epoch += 1
        self._epoch = self._broker.epoch

    async def publish(
        self, events: Sequence[Event], cursors: Sequence[Event], *, isolate: bool = False
    ) -> None:
        broker = self._broker
        await asyncio.sleep(0)
        if self._epoch != broker.epoch:
            raise Fenced("another one has started")
        broker.fault("before")
        for event in events:
            broker.log[event.topic, event.partition].append(event)
        for cursor in cursors:
            broker.stored[cursor.key] = cursor.value
        broker.transactions += 1
        broker.fault("after")
        await asyncio.sleep(0)

    async def close(self) -> None:
        self._epoch = -1


KEPT: tuple[type[Source], type[Broker], type[TransactionalPublisher], type[Normaliser]] = (
    FakeSource,
    FakeBroker,
    FakePublisher,
    FakeNormaliser,
)
"""The contracts that the doubles keep: held by the type checker."""


def random_faults(seed: int, ratio: float) -> Any:
    """A fault that strikes at random, before the commit or (in doubt) after it."""
    chance = random.Random(seed)

    def strike(moment: str) -> None:
        if chance.random() < ratio:
            raise Doubt("the answer was lost") if moment == "after" else Unavailable("gone")

    return strike


def collection_topic(mapping: str) -> str:
    """The topic that the fake normaliser writes a mapping's rows to."""
    return f"p.d.{collection_of(mapping)}"
