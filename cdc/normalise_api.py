"""From an API's changes to events: each object a row, each row an event. Declared by tables.

Collections are named ``<stream>/<resource>``, mappings ``<collection>:<entity>``: what is read
whole, and searched for deletes, is one plan's or one item's, never another's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from cdc.api_tables import Misfit, Reader, Table
from cdc.sources.polled import CONTEXT
from cdc.sources.protocol import Change
from schemas.entities import Entity
from schemas.envelope import CONNECTOR_VERSION, Event, encode_key, event_id
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX, partition_of
from schemas.version import pack

UNKNOWN_MAX = 500
"""So many different words are told apart; what comes after is one."""

Destination = tuple[str, int]
"""A topic and how many partitions it has."""
News = Callable[[str, str, str], None]
"""Told once of what no table knows: (entity, column, word or key)."""


class ApiFault(NamedTuple):
    """An object that does not map."""

    mapping: str
    entity: str
    document_id: str | None
    row_id: str | None
    path: str
    reason: str


@dataclass(slots=True)
class ApiEvents:
    """What a run of changes became: events with dead letters among them, counted."""

    events: list[Event] = field(default_factory=list)
    faults: list[ApiFault] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Way(NamedTuple):
    """From one collection to one entity."""

    mapping: str
    stream: str
    reader: Reader
    entity: Entity
    topic: str
    partitions: int


class ApiNormaliser:
    """See ``stream_reader.Normaliser``. ``streams``: their names, known once the source is open.

    ``destinations``: topics by entity. ``news``: see ``News``. ``now``: seconds since 1970.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        *,
        book: str,
        source: str,
        connector: str,
        streams: Callable[[], Iterable[str]],
        destinations: Mapping[str, Destination],
        dead_letters: Destination,
        now: Callable[[], float],
        news: News = lambda entity, column, word: None,
    ) -> None:
        self.entities = tuple(table.entity.name for table in tables)
        self.topics = tuple(destinations[name][0] for name in self.entities)
        self.unknown: Counter[tuple[str, str, str]] = Counter()
        """What no table knows, by (entity, column, word or key)."""
        self._readers = {table.resource: Reader(table) for table in tables}
        self._book = book
        self._source = source
        self._connector = connector
        self._streams = streams
        self._destinations = destinations
        self._dead_letters = dead_letters
        self._now = now
        self._news = news
        self._ways: dict[str, _Way] = {}
        self._owners: dict[str, str] = {}
        """By stream: the id of the plan or item, as the last of its objects told."""

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(f"{stream}/{name}" for stream in self._streams() for name in self._readers)

    @property
    def mappings(self) -> dict[str, str]:
        """Fingerprints of the tables by the mapping's name."""
        ways = (self._way(collection) for collection in self.collections)
        return {way.mapping: way.reader.fingerprint for way in ways}

    @property
    def names_by_collection(self) -> dict[str, tuple[str, ...]]:
        return {name: (self._way(name).mapping,) for name in self.collections}

    def of(self, stream: str) -> "ApiNormaliser":
        """The same for one stream alone."""
        return ApiNormaliser(
            [reader.table for reader in self._readers.values()],
            book=self._book,
            source=self._source,
            connector=self._connector,
            streams=lambda: (stream,),
            destinations=self._destinations,
            dead_letters=self._dead_letters,
            now=self._now,
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
    ) -> ApiEvents:
        """Events of a run of changes, in their order."""
        found = ApiEvents()
        for change in changes:
            way = self._way(change.collection)
            version = pack(epoch, change.position, change.ordinal)
            try:
                events = self._events(way, change, version, snapshot)
            except Misfit as misfit:
                row_id = self.document_id(change.id) or None
                letter = ApiFault(
                    way.mapping, way.entity.name, row_id, row_id, misfit.path, misfit.reason
                )
                found.faults.append(letter)
                found.events.append(self._letter(way, letter, version))
                continue
            found.events += events
            found.counts[way.entity.name, change.op] += 1
        return found

    def _events(self, way: _Way, change: Change, version: bytes, snapshot: str) -> list[Event]:
        self._note_owner(way, change)
        if change.fault is not None:
            path, _, reason = change.fault.partition(": ")
            raise Misfit(path, reason or path)
        if change.op == "d":
            return self._deleted(way, change.id, version, change.time_ms)
        if change.after is None:
            raise Misfit("", "empty")
        row = way.reader.row(change.after)
        for column, word in row.news:
            self._tell_news(way.entity.name, column, word)
        event = self._event(way, change, row.columns, version, snapshot)
        if len(event.value or b"") > EVENT_BYTES_MAX:
            raise Misfit("", f"larger than {EVENT_BYTES_MAX} bytes")
        return [event]

    def _note_owner(self, way: _Way, change: Change) -> None:
        document = change.after or change.before
        context = None if document is None else document.get(CONTEXT)
        if context is not None:
            self._owners[way.stream] = context.id

    def _event(
        self,
        way: _Way,
        change: Change,
        columns: dict[str, Any],
        version: bytes,
        snapshot: str,
    ) -> Event:
        after = {"book": self._book, "source": self._source, "id": change.id, **columns}
        key = encode_key(self._book, self._source, change.id)
        value = orjson.dumps(
            {
                "before": None,
                "after": after,
                "op": change.op,
                "source": self._origin(way, version, change.time_ms, snapshot),
                "ts_ms": int(self._now() * 1000),
            }
        )
        headers = self._headers(way, version, change.id)
        if way.entity.hashed:
            headers.append(("transaction_hash", self._hash(way.entity, after)))
        return Event(way.topic, partition_of(key, way.partitions), key, value, headers)

    def _origin(self, way: _Way, version: bytes, time_ms: int, snapshot: str) -> dict[str, Any]:
        return {
            "version": CONNECTOR_VERSION,
            "connector": self._connector,
            "name": self._source,
            "ts_ms": time_ms,
            "snapshot": snapshot,
            "db": self._owners.get(way.stream, way.stream),
            "collection": way.reader.table.resource,
            "change_version": version.hex(),
            "mapping": way.mapping,
        }

    def _headers(self, way: _Way, version: bytes, row_id: str) -> list[tuple[str, bytes]]:
        own_id = event_id(self._book, self._source, version, way.entity.name, row_id)
        return [("event_id", own_id.encode()), ("schema", way.entity.schema_id.encode())]

    def _hash(self, entity: Entity, after: Mapping[str, Any]) -> bytes:
        texts = (after[name] for name in entity.hash_texts)
        digest = transaction_hash(
            self._book,
            self._source,
            after[entity.hash_account],
            after["id"],
            after["amount"],
            after["currency"],
            after["date"],
            next((each for each in texts if each is not None), None),
        )
        return digest.hex().encode()

    def _deleted(self, way: _Way, row_id: str, version: bytes, time_ms: int) -> list[Event]:
        """A delete, and the tombstone that lets compaction forget the key."""
        key = encode_key(self._book, self._source, row_id)
        value = orjson.dumps(
            {
                "before": None,
                "after": None,
                "op": "d",
                "source": self._origin(way, version, time_ms, "false"),
                "ts_ms": int(self._now() * 1000),
            }
        )
        partition = partition_of(key, way.partitions)
        return [
            Event(way.topic, partition, key, value, self._headers(way, version, row_id)),
            Event(way.topic, partition, key, None, []),
        ]

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]:
        """The delete of a row that a whole read did not meet."""
        way = self._way(mapping.partition(":")[0])
        return self._deleted(way, row_id, version, time_ms)

    def refused(self, event: Event, reason: str) -> list[Event]:
        """The dead letter of an event that the broker refuses for its content."""
        if event.value is None:
            return []
        origin = orjson.loads(event.value)["source"]
        way = self._way(origin["mapping"].partition(":")[0])
        row_id = orjson.loads(event.key)["id"]
        letter = ApiFault(way.mapping, way.entity.name, row_id, row_id, "", reason)
        return [self._letter(way, letter, bytes.fromhex(origin["change_version"]))]

    def _letter(self, way: _Way, fault: ApiFault, version: bytes) -> Event:
        """Nothing of the object's content goes into it."""
        topic, partitions = self._dead_letters
        key = orjson.dumps([self._book, self._source, way.mapping, fault.document_id])
        value = orjson.dumps(
            {
                "book": self._book,
                "source": self._source,
                "entity": fault.entity,
                "mapping": fault.mapping,
                "collection": fault.mapping.partition(":")[0],
                "document_id": fault.document_id,
                "row_id": fault.row_id,
                "path": fault.path,
                "reason": fault.reason,
                "version": version.hex(),
            }
        )
        return Event(topic, partition_of(key, partitions), key, value, [])

    def _tell_news(self, entity: str, column: str, word: str) -> None:
        """Counted always, told once."""
        if len(self.unknown) >= UNKNOWN_MAX and (entity, column, word) not in self.unknown:
            word = "…"
        self.unknown[entity, column, word] += 1
        if self.unknown[entity, column, word] == 1:
            self._news(entity, column, word)

    def _way(self, collection: str) -> _Way:
        """Raises ``KeyError`` for a resource without a table."""
        way = self._ways.get(collection)
        if way is None:
            stream, _, resource = collection.rpartition("/")
            reader = self._readers[resource]
            entity = reader.table.entity
            topic, partitions = self._destinations[entity.name]
            mapping = f"{collection}:{entity.name}"
            way = _Way(mapping, stream, reader, entity, topic, partitions)
            self._ways[collection] = way
        return way
