"""Rows to records: the bytes of ``schemas.envelope``, without building the constant parts anew."""

from binascii import hexlify
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from zlib import crc32

import orjson

from cdc.mapping.compiled import Content
from cdc.mapping.refusal import Refusal
from cdc.mapping.values import Totals
from schemas.entities import Entity
from schemas.envelope import CONNECTOR_VERSION, EVENT_ID_BYTES, Event
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX

dumps = orjson.dumps
_new_event = tuple.__new__
"""A third faster than calling the type."""

_BEFORE, _AFTER, _NULL = b'{"before":', b',"after":', b"null"
_HEADERS_BYTES = 256
"""More than our headers ever take."""
_BYTES_MAX = EVENT_BYTES_MAX - _HEADERS_BYTES


@dataclass(frozen=True, slots=True)
class Origin:
    """What stands in every event of a source."""

    book: str
    source: str
    connector: str
    database: str


class Stamp:
    """What the events of one change have in common."""

    __slots__ = ("now_ms", "snapshot", "tail", "time_ms", "version_hex")

    def __init__(self, snapshot: str, now_ms: int) -> None:
        self.snapshot = snapshot
        self.now_ms = now_ms
        self.time_ms = -1
        self.version_hex = b""
        self.tail = b""

    def place(self, version: bytes, time_ms: int) -> None:
        """At the next change."""
        self.version_hex = hexlify(version)
        if time_ms != self.time_ms:
            self.time_ms = time_ms
            self.tail = b'","ts_ms":%d},"ts_ms":%d}' % (time_ms, self.now_ms)


class Writer:
    """Writes the records of one mapping."""

    def __init__(
        self,
        origin: Origin,
        entity: Entity,
        *,
        mapping: str,
        collection: str,
        topic: str,
        partitions: int,
        totals: Totals,
    ) -> None:
        self._hashed = entity.hashed
        self._hash_account, self._hash_texts = entity.hash_account, entity.hash_texts
        self._topic = topic
        self._partitions = partitions
        self._totals = totals
        self._key_head = b'{"book":' + dumps(origin.book) + b',"id":'
        self._key_tail = b',"source":' + dumps(origin.source) + b"}"
        id_head = dumps([origin.book, origin.source])[:-1] + b',"'
        self._id_state = blake2b(id_head, digest_size=EVENT_ID_BYTES)
        self._id_middle = b'",' + dumps(entity.name) + b","
        self._schema = ("schema", entity.schema_id.encode())
        self._middles = {
            (op, snapshot): _middle(op, snapshot, origin, mapping, collection)
            for op in "cudr"
            for snapshot in ("true", "last", "false")
        }

    def event(
        self, op: str, row_id: str, before: Content | None, after: Content | None, stamp: Stamp
    ) -> Event:
        """One record; raises ``Refusal`` where it cannot be written."""
        id_json = dumps(row_id)
        key = self._key_head + id_json + self._key_tail
        before_json = _NULL if before is None else _old_json(before)
        after_json = _NULL if after is None else row_json(after, self._totals)
        version_hex = stamp.version_hex
        middle = self._middles[op, stamp.snapshot]
        value = b"".join(
            (_BEFORE, before_json, _AFTER, after_json, middle, version_hex, stamp.tail)
        )
        if len(value) + len(key) > _BYTES_MAX:
            value = b"".join((_BEFORE, _NULL, _AFTER, after_json, middle, version_hex, stamp.tail))
            if len(value) + len(key) > _BYTES_MAX:
                raise Refusal(f"is larger as an event than {EVENT_BYTES_MAX} bytes", "")
        state = self._id_state.copy()
        state.update(b"".join((version_hex, self._id_middle, id_json, b"]")))
        event_id = ("event_id", state.hexdigest().encode())
        headers = [event_id, self._schema]
        if self._hashed and after is not None:
            headers = [event_id, ("transaction_hash", self._hash(after)), self._schema]
        partition = crc32(key) % self._partitions
        return _new_event(Event, (self._topic, partition, key, value, headers))

    def tombstone(self, row_id: str) -> Event:
        """What follows a delete, for compaction."""
        key = self._key_head + dumps(row_id) + self._key_tail
        return Event(self._topic, crc32(key) % self._partitions, key, None, [])

    def _hash(self, row: Content) -> bytes:
        text = None
        for name in self._hash_texts:
            text = row[name]
            if text is not None:
                break
        digest = transaction_hash(
            row["book"],
            row["source"],
            row[self._hash_account],
            row["id"],
            row["amount"],
            row["currency"],
            row["date"],
            text,
        )
        return hexlify(digest)


def row_json(row: Content, totals: Totals) -> bytes:
    """The row as JSON, NUL replaced in it; raises ``Refusal`` for what is no UTF-8."""
    try:
        encoded = dumps(row)
    except TypeError:
        raise _not_utf8(row) from None
    if b"\\" in encoded and b"\\u0000" in encoded:
        for name, value in row.items():
            if type(value) is str and "\0" in value:
                row[name] = value.replace("\0", "\ufffd")
                totals.nul_replaced += 1
        encoded = dumps(row)
    return encoded


def _old_json(row: Content) -> bytes:
    """An old state as JSON, counted when it was new; null where it cannot be written."""
    try:
        return row_json(row, Totals())
    except Refusal:
        return _NULL


def _middle(op: str, snapshot: str, origin: Origin, mapping: str, collection: str) -> bytes:
    """From ``op`` up to the value of ``change_version``."""
    source = {
        "version": CONNECTOR_VERSION,
        "connector": origin.connector,
        "name": origin.source,
        "db": origin.database,
        "collection": collection,
        "mapping": mapping,
        "snapshot": snapshot,
        "change_version": "",
    }
    text = dumps({"op": op, "source": source})
    return b"," + text.removeprefix(b"{").removesuffix(b'"}}')


def _not_utf8(row: Mapping[str, Any]) -> Refusal:
    for name, value in row.items():
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return Refusal("is no valid UTF-8", column=name)
    return Refusal("cannot be written as JSON")
