"""From an API's changes to events: each object a row, each row an event. Declared by tables.

Collections are named ``<stream>/<resource>``, mappings ``<collection>:<entity>``: what is read
whole, and searched for deletes, is one plan's or one item's, never another's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from cdc.mapping.api_tables import Misfit, Reader, Table
from cdc.mapping.dead_letters import DeadLetters, Fault
from cdc.mapping.normaliser import Normalised
from cdc.mapping.refusal import Refusal
from cdc.mapping.values import Totals
from cdc.mapping.writer import Origin, Stamp, Writer
from cdc.sources.polled_objects import CONTEXT
from cdc.sources.protocol import Change
from schemas.entities import ENTITIES
from schemas.envelope import Event, decode_key
from schemas.topics import entity_topic_name
from schemas.version import pack

UNKNOWN_MAX = 500
"""So many different words are told apart; what comes after is one."""

News = Callable[[str, str, str], None]
"""Told once of what no table knows: (entity, column, word or key)."""


class _Source(msgspec.Struct):
    mapping: str
    change_version: str


class _Value(msgspec.Struct):
    source: _Source


class _Way(NamedTuple):
    """From one collection to one entity; ``owner``: the plan or item its events name."""

    mapping: str
    owner: str
    reader: Reader
    writer: Writer


class ApiNormaliser:
    """See ``stream_reader.Normaliser``.

    ``streams``: their names, known once the source is open. ``partitions``: of an entity's topic.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        *,
        prefix: str,
        book: str,
        source: str,
        connector: str,
        streams: Callable[[], Iterable[str]],
        partitions: Callable[[str], int],
        clock_ms: Callable[[], int],
        news: News = lambda entity, column, word: None,
    ) -> None:
        self.totals = Totals()
        self.entities = tuple(table.entity.name for table in tables)
        self.topics = tuple(entity_topic_name(prefix, name) for name in self.entities)
        self.unknown: Counter[tuple[str, str, str]] = Counter()
        """What no table knows, by (entity, column, word or key)."""
        self._readers = {table.resource: Reader(table) for table in tables}
        self._prefix = prefix
        self._origin = Origin(book, source, connector, "")
        self._streams = streams
        self._partitions = partitions
        self._clock_ms = clock_ms
        self._letters = DeadLetters(prefix, self._origin, clock_ms)
        self._news = news
        self._ways: dict[str, _Way] = {}

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(f"{stream}/{name}" for stream in self._streams() for name in self._readers)

    @property
    def mappings(self) -> dict[str, str]:
        """Fingerprints of the tables by the mapping's name."""
        return {
            _mapping(f"{stream}/{resource}", reader): reader.fingerprint
            for stream in self._streams()
            for resource, reader in self._readers.items()
        }

    @property
    def names_by_collection(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = {}
        for mapping in self.mappings:
            names[mapping.partition(":")[0]] = (mapping,)
        return names

    def of(self, stream: str) -> "ApiNormaliser":
        """The same for one stream alone."""
        return ApiNormaliser(
            [reader.table for reader in self._readers.values()],
            prefix=self._prefix,
            book=self._origin.book,
            source=self._origin.source,
            connector=self._origin.connector,
            streams=lambda: (stream,),
            partitions=self._partitions,
            clock_ms=self._clock_ms,
            news=self._news,
        )

    def needs_images(self, collection: str) -> bool:
        """Never: an API's object is whole, and its id its own."""
        return False

    def document_id(self, raw_id: Any) -> str:
        """APIs' ids are texts."""
        return raw_id if isinstance(raw_id, str) else ""

    def normalise(
        self, changes: Sequence[Change], *, epoch: int, snapshot: str = "false"
    ) -> Normalised:
        """Events of a run of changes, in their order."""
        stamp = Stamp(snapshot, self._clock_ms())
        events: list[Event] = []
        faults: list[Fault] = []
        counted: list[tuple[str, str]] = []
        for change in changes:
            stamp.place(pack(epoch, change.position, change.ordinal), change.time_ms)
            way = self._way(change)
            entity = way.reader.table.entity.name
            try:
                events += self._events(way, change, stamp)
                counted.append((entity, change.op))
            except (Misfit, Refusal) as error:
                row_id = self.document_id(change.id) or None
                fault = Fault(way.mapping, entity, row_id, row_id, error.path or "", error.reason)
                faults.append(fault)
                events.append(self._letters.event(fault, stamp.version_hex, 0))
        return Normalised(events, faults, Counter(counted))

    def _events(self, way: _Way, change: Change, stamp: Stamp) -> list[Event]:
        if change.fault is not None:
            path, _, reason = change.fault.partition(": ")
            raise Misfit(path, reason)
        if change.op == "d":
            return _deletion(way.writer, change.id, stamp)
        if change.after is None:
            raise Misfit("", "empty")
        row = way.reader.row(change.after)
        for column, word in row.news:
            self._tell_news(way.reader.table.entity.name, column, word)
        after = {"book": self._origin.book, "source": self._origin.source, "id": change.id}
        after |= row.columns
        return [way.writer.event(change.op, change.id, None, after, stamp)]

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]:
        """The delete of a row that a whole read did not meet; its mapping may be no more."""
        collection = mapping.partition(":")[0]
        way = self._ways.get(collection)
        owner = collection.rpartition("/")[0] if way is None else way.owner
        stamp = Stamp("false", self._clock_ms())
        stamp.place(version, time_ms)
        return _deletion(self._writer(mapping, entity, owner), row_id, stamp)

    def refused(self, event: Event, reason: str) -> list[Event]:
        """The dead letter of an event that the broker would not take; none of a tombstone."""
        if event.value is None or event.topic not in self.topics:
            return []
        source = msgspec.json.decode(event.value, type=_Value).source
        entity = self.entities[self.topics.index(event.topic)]
        row_id = decode_key(event.key)[2]
        fault = Fault(
            source.mapping, entity, row_id, row_id, "", f"the broker refused it: {reason}"
        )
        return [self._letters.event(fault, source.change_version.encode(), 0)]

    def _way(self, change: Change) -> _Way:
        """Raises ``KeyError`` for a resource without a table."""
        document = change.after or change.before
        context = None if document is None else document.get(CONTEXT)
        way = self._ways.get(change.collection)
        if way is not None and (context is None or context.id == way.owner):
            return way
        stream, _, resource = change.collection.rpartition("/")
        reader = self._readers[resource]
        mapping = _mapping(change.collection, reader)
        owner = stream if context is None else context.id
        way = _Way(mapping, owner, reader, self._writer(mapping, reader.table.entity.name, owner))
        self._ways[change.collection] = way
        return way

    def _writer(self, mapping: str, entity: str, owner: str) -> Writer:
        return Writer(
            replace(self._origin, database=owner),
            ENTITIES[entity],
            mapping=mapping,
            collection=mapping.partition(":")[0].rpartition("/")[2],
            topic=entity_topic_name(self._prefix, entity),
            partitions=self._partitions(entity),
            totals=self.totals,
        )

    def _tell_news(self, entity: str, column: str, word: str) -> None:
        """Counted always, told once."""
        if len(self.unknown) >= UNKNOWN_MAX and (entity, column, word) not in self.unknown:
            word = "…"
        self.unknown[entity, column, word] += 1
        if self.unknown[entity, column, word] == 1:
            self._news(entity, column, word)


def _mapping(collection: str, reader: Reader) -> str:
    return f"{collection}:{reader.table.entity.name}"


def _deletion(writer: Writer, row_id: str, stamp: Stamp) -> list[Event]:
    """A delete, and the tombstone that lets compaction forget the key."""
    return [writer.event("d", row_id, None, None, stamp), writer.tombstone(row_id)]
