"""Rows to records: the bytes of ``schemas.envelope``, without building the constant parts anew."""

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

_NUL = b"\\u0000"
_NULL = b"null"
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

    __slots__ = ("before", "now", "snapshot", "time_ms", "version_hex")

    def __init__(self, snapshot: str, now_ms: int) -> None:
        self.snapshot = snapshot
        self.now = b"%d}" % now_ms
        self.time_ms = 0
        self.version_hex = b""


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
        dumps = orjson.dumps
        self._origin = origin
        self._entity = entity
        self._topic = topic
        self._partitions = partitions
        self._totals = totals
        self._key_head = b'{"book":' + dumps(origin.book) + b',"id":'
        self._key_tail = b',"source":' + dumps(origin.source) + b"}"
        self._id_head = dumps([origin.book, origin.source])[:-1] + b',"'
        self._id_middle = b'",' + dumps(entity.name) + b","
        self._schema = ("schema", entity.schema_id.encode())
        self._middles = {
            (op, snapshot): self._middle(op, snapshot, mapping, collection)
            for op in "cudr"
            for snapshot in ("true", "last", "false")
        }

    def _middle(self, op: str, snapshot: str, mapping: str, collection: str) -> bytes:
        """From ``op`` up to the value of ``change_version``."""
        source = {
            "version": CONNECTOR_VERSION,
            "connector": self._origin.connector,
            "name": self._origin.source,
            "db": self._origin.database,
            "collection": collection,
            "mapping": mapping,
            "snapshot": snapshot,
            "change_version": "",
        }
        text = orjson.dumps({"op": op, "source": source})
        return b"," + text.removeprefix(b"{").removesuffix(b'"}}')

    def event(
        self, op: str, row_id: str, before: Content | None, after: Content | None, stamp: Stamp
    ) -> Event:
        """One record; raises ``Refusal`` where it cannot be written."""
        id_json = orjson.dumps(row_id)
        key = self._key_head + id_json + self._key_tail
        head = b'{"before":null,"after":'
        if before is not None:
            before_json = self._json(before)
            if before_json is not None:
                head = b'{"before":' + before_json + b',"after":'
        after_json = _NULL if after is None else self._checked(after)
        version_hex = stamp.version_hex
        tail = b'","ts_ms":%d},"ts_ms":' % stamp.time_ms + stamp.now
        value = head + after_json + self._middles[op, stamp.snapshot] + version_hex + tail
        if len(value) + len(key) > _BYTES_MAX:
            value = value.replace(head, b'{"before":null,"after":', 1)
            if len(value) + len(key) > _BYTES_MAX:
                raise Refusal(f"is larger as an event than {EVENT_BYTES_MAX} bytes")
        position = self._id_head + version_hex + self._id_middle + id_json + b"]"
        event_id = blake2b(position, digest_size=EVENT_ID_BYTES).hexdigest().encode()
        headers = [("event_id", event_id), self._schema]
        if after is not None and self._entity.hashed:
            headers.insert(1, ("transaction_hash", self._hash(after)))
        return Event(self._topic, crc32(key) % self._partitions, key, value, headers)

    def tombstone(self, row_id: str) -> Event:
        """What follows a delete, for compaction."""
        key = self._key_head + orjson.dumps(row_id) + self._key_tail
        return Event(self._topic, crc32(key) % self._partitions, key, None, [])

    def _hash(self, row: Content) -> bytes:
        get = row.get
        account = get("property_id") if "property_id" in row else get("account_id")
        payee = get("payee_name")
        digest = transaction_hash(
            row["book"],
            row["source"],
            account,
            row["id"],
            get("amount"),
            get("currency"),
            get("date"),
            payee if payee is not None else get("description"),
        )
        return digest.hex().encode()

    def _checked(self, row: Content) -> bytes:
        """The row as JSON, NUL replaced in it; raises ``Refusal`` for what is no UTF-8."""
        try:
            encoded = orjson.dumps(row)
        except TypeError:
            raise _not_utf8(row) from None
        if _NUL in encoded:
            for name, value in row.items():
                if type(value) is str and "\0" in value:
                    row[name] = value.replace("\0", "\ufffd")
                    self._totals.nul_replaced += 1
            encoded = orjson.dumps(row)
        return encoded

    def _json(self, row: Content) -> bytes | None:
        """An old state as JSON; None where it cannot be written."""
        try:
            return self._checked(row)
        except Refusal:
            return None


class NotUtf8(Refusal):
    """``column``: whose text holds bytes that are no UTF-8."""

    def __init__(self, column: str) -> None:
        super().__init__("is no valid UTF-8")
        self.column = column


def _not_utf8(row: Mapping[str, Any]) -> Refusal:
    for name, value in row.items():
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return NotUtf8(name)
    return Refusal("cannot be written as JSON")
