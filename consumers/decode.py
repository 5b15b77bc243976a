"""Records of an entity topic to rows: strings stay strings, Postgres parses them.

One decoder an entity, built from its columns once. What does not decode is told with its reason,
never raised: one bad record must not hold up its neighbours.
"""

from typing import Any

import msgspec

from consumers.batch import Key, Record, Row
from consumers.parked import Parked, parked_record, text
from schemas.entities import Entity, Kind
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX
from schemas.version import VERSION_BYTES

BACKSLASH = ord("\\")
HASH_HEADER = "transaction_hash"
SCHEMA_HEADER = "schema"
HASH_DIGITS = 64
VERSION_DIGITS = 2 * VERSION_BYTES

_WIRE_TYPES: dict[Kind, Any] = {Kind.BOOL: bool, Kind.INT: int, Kind.JSON: msgspec.Raw}


class _Key(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    book: str
    id: str
    source: str


class _Source(msgspec.Struct, gc=False):
    change_version: str
    ts_ms: int


class Unreadable(Exception):
    """A record that is not what its topic promises; ``reason`` is one of a short list."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class _Op(msgspec.Struct, gc=False):
    op: str


class _Versioned(msgspec.Struct, gc=False):
    source: _Source


_decode_key = msgspec.json.Decoder(_Key).decode
_decode_op = msgspec.json.Decoder(_Op).decode
_decode_versioned = msgspec.json.Decoder(_Versioned).decode


def content_type(entity: Entity) -> type[msgspec.Struct]:
    """``after`` of an entity's events; columns it does not know are passed over."""
    fields: list[Any] = []
    for column in entity.columns:
        wire = _WIRE_TYPES.get(column.kind, str)
        if column.required:
            fields.append((column.name, wire))
        else:  # undecoded JSON takes a null as it is, and must not be in a union
            kind = wire if wire is msgspec.Raw else wire | None
            fields.append((column.name, kind, None))
    return msgspec.defstruct(f"{entity.model.__name__}Content", fields, kw_only=True, gc=False)


class Decoder:
    """Decodes the records of one entity's topic."""

    def __init__(self, entity: Entity) -> None:
        content = content_type(entity)
        event = msgspec.defstruct(
            "Event", [("op", str), ("source", _Source), ("after", content | None, None)], gc=False
        )
        self.replaced_texts = 0
        """Rows in which a character that Postgres cannot hold was replaced, so far."""
        self._entity = entity
        self._decode = msgspec.json.Decoder(event).decode
        self._decode_before = msgspec.json.Decoder(
            msgspec.defstruct("Deleted", [("before", content | None, None)], gc=False)
        ).decode
        self._schema = entity.schema_id.encode()
        self._hashed = entity.hashed
        self._convert = [
            (index, _text_of(column.kind))
            for index, column in enumerate(entity.columns)
            if column.kind in _WIRE_TYPES
        ]
        self._unknown = (None,) * (len(entity.columns) + entity.hashed)

    def row(self, record: Record) -> Row | Parked:
        """The row of a record that is not a tombstone."""
        value = record.value or b""
        try:
            key = read_key(record.key)
        except Unreadable as fault:
            return parked_record(record, self._entity.name, fault.reason, fault.detail)
        try:
            return self._row(record, value, key)
        except Unreadable as fault:
            return parked_record(record, self._entity.name, fault.reason, fault.detail, key=key)

    def _row(self, record: Record, value: bytes, key: Key) -> Row:
        if len(value) > EVENT_BYTES_MAX:
            raise Unreadable("too large", f"{len(value)} bytes, allowed are {EVENT_BYTES_MAX}")
        hashed = self._read_headers(record)
        try:
            event: Any = self._decode(value)
            version = bytes.fromhex(event.source.change_version)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unreadable("not an event", str(error)) from None
        if len(version) != VERSION_BYTES or len(event.source.change_version) != VERSION_DIGITS:
            raise Unreadable("version", f"not {VERSION_DIGITS} hex digits")
        op, after = event.op, event.after
        deleted = op == "d"
        if deleted == (after is not None) or op not in "curd":
            raise Unreadable("not an event", f"op {op!r} with {'an' if after else 'no'} after")
        if deleted:
            after = self._before(value)
        known = after is not None
        content = self._content(after, key, hashed) if known else self._unknown
        plain = BACKSLASH not in value and BACKSLASH not in (record.key or b"")
        if not plain and any(part is not None and "\0" in part for part in (*key, *content)):
            self.replaced_texts += 1
            book, source, row_id = map(text, key)
            key = (book, source, row_id)
            content = tuple(part if part is None else text(part) for part in content)
        return Row(key, version, content, deleted, known, plain, event.source.ts_ms, record)

    def _content(self, after: msgspec.Struct, key: Key, hashed: str | None) -> tuple[Any, ...]:
        texts: Any = msgspec.structs.astuple(after)
        if self._convert:
            changed = list(texts)
            for index, convert in self._convert:
                if changed[index] is not None:
                    changed[index] = convert(changed[index])
            texts = tuple(changed)
        if not self._hashed:
            return texts  # type: ignore[no-any-return]
        return (*texts, hashed or self._hash(after, key))

    def _before(self, value: bytes) -> msgspec.Struct | None:
        """The last content a delete tells, where it tells one."""
        try:
            event: Any = self._decode_before(value)
        except msgspec.MsgspecError:
            return None
        return event.before  # type: ignore[no-any-return]

    def _read_headers(self, record: Record) -> str | None:
        """The hash of a hashed entity, where the record carries one; refuses other schemas."""
        found = None
        for name, value in record.headers:
            if name == HASH_HEADER and self._hashed:
                found = value.decode("ascii", "replace")
                if len(found) != HASH_DIGITS:
                    raise Unreadable("hash", f"{HASH_HEADER} is not {HASH_DIGITS} hex digits")
            elif name == SCHEMA_HEADER and value != self._schema:
                detail = f"{value.decode('utf-8', 'replace')} instead of {self._entity.schema_id}"
                raise Unreadable("schema", detail)
        return found

    def _hash(self, after: Any, key: Key) -> str:
        """For a record without the header, and for the last content of a deleted row."""
        book, source, row_id = key
        entity = self._entity
        texts = (getattr(after, name) for name in entity.hash_texts)
        return transaction_hash(
            book,
            source,
            getattr(after, entity.hash_account),
            row_id,
            after.amount,
            after.currency,
            after.date,
            next((each for each in texts if each is not None), None),
        ).hex()


def read_key(key: bytes | None) -> Key:
    """(book, source, id) of a record's key; raises ``Unreadable``."""
    try:
        found = _decode_key(key or b"")
    except msgspec.MsgspecError as error:
        raise Unreadable("key", str(error)) from None
    return (found.book, found.source, found.id)


def read_op(value: bytes) -> str | None:
    """The op of an event; None where it is not one."""
    try:
        return _decode_op(value).op
    except msgspec.MsgspecError:
        return None


def read_version(value: bytes) -> bytes | None:
    """The version of an event; None where it has none."""
    try:
        return bytes.fromhex(_decode_versioned(value).source.change_version)
    except (msgspec.MsgspecError, ValueError):
        return None


def _text_of(kind: Kind) -> Any:
    """How a value that is not text on the wire is written for Postgres."""
    if kind is Kind.BOOL:
        return {True: "t", False: "f"}.__getitem__
    if kind is Kind.JSON:
        return _json_text
    return str


def _json_text(raw: msgspec.Raw) -> str | None:
    """JSON as it stands in the event; its null is the database's."""
    value = bytes(raw).decode()
    return None if value == "null" else value
