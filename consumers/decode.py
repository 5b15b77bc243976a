"""Records of an entity topic to rows: strings stay strings, Postgres parses them.

One decoder an entity, built from its columns once. What does not decode is told with its reason,
never raised: one bad record must not hold up its neighbours.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import astuple

from cdc.runtime.kafka_records import Record
from consumers.parked import Parked, parked_record, text
from consumers.rows import NULL, Key, Place, Row, escaped
from schemas.entities import Entity, Kind
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX
from schemas.version import VERSION_BYTES

BACKSLASH = ord("\\")
HASH_HEADER = "transaction_hash"
SCHEMA_HEADER = "schema"
HASH_DIGITS = 64
KEY_PARTS = 3
VERSION_DIGITS = 2 * VERSION_BYTES
Op = Literal["c", "u", "r", "d"]

_WIRE_TYPES: dict[Kind, Any] = {Kind.BOOL: bool, Kind.INT: int, Kind.JSON: msgspec.Raw}


class _Key(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    book: str
    id: str
    source: str


class _Source(msgspec.Struct, gc=False):
    change_version: Annotated[
        str, msgspec.Meta(min_length=VERSION_DIGITS, max_length=VERSION_DIGITS)
    ]
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
            optional = wire if wire is msgspec.Raw else wire | None
            fields.append((column.name, optional, None))
    return msgspec.defstruct(f"{entity.model.__name__}Content", fields, kw_only=True, gc=False)


class Decoder:
    """Decodes the records of one entity's topic."""

    def __init__(self, entity: Entity) -> None:
        content = content_type(entity)
        event = msgspec.defstruct(
            "Event", [("op", Op), ("source", _Source), ("after", content | None, None)], gc=False
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
        self._converts = tuple(
            (index, _text_of(column.kind))
            for index, column in enumerate(entity.columns, KEY_PARTS)
            if column.kind in _WIRE_TYPES
        )
        self._unknown = (None,) * (len(entity.columns) + entity.hashed)

    def row(self, record: Record, place: Place, *, keep: bool) -> Row | Parked:
        """The row of a record that is not a tombstone; ``keep``: with the record."""
        try:
            return self._row(record, place, keep)
        except Unreadable as fault:
            try:
                key = read_key(record.key)
            except Unreadable:
                key = None
            return parked_record(
                record, place, self._entity.name, fault.reason, fault.detail, key=key
            )

    def _row(self, record: Record, place: Place, keep: bool) -> Row:
        """The hot path: a third of what an event costs, so it is one piece."""
        key, value = read_key(record.key), record.value or b""
        hashed = None
        for name, header in record.headers:
            if name == SCHEMA_HEADER:
                if header != self._schema:
                    raise Unreadable("schema", f"{header!r} instead of {self._schema!r}")
            elif name == HASH_HEADER:
                hashed = header
        try:
            event: Any = self._decode(value)
            source, after = event.source, event.after
            digits = source.change_version
            version = bytes.fromhex(digits)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unreadable("not an event", str(error)) from None
        deleted = after is None
        if len(version) != VERSION_BYTES or deleted is not (event.op == "d"):
            raise Unreadable("not an event", "its version, op and after do not go together")
        if len(value) > EVENT_BYTES_MAX:
            raise Unreadable("too large", f"{len(value)} bytes, allowed are {EVENT_BYTES_MAX}")
        if deleted:
            after = self._before(value)
        known = after is not None
        parts = [*key, *(astuple(after) if known else self._unknown)]
        if known:
            for index, convert in self._converts:
                if parts[index] is not None:
                    parts[index] = convert(parts[index])
            if self._hashed:
                parts.append(self._hash(hashed, after, key))
        if BACKSLASH in value or BACKSLASH in (record.key or b""):
            parts = self._held(parts)
            key = (parts[0], parts[1], parts[2])
            text = "\t".join(map(escaped, parts))
        else:
            try:
                text = "\t".join(parts)
            except TypeError:  # a null among them
                text = "\t".join([NULL if part is None else part for part in parts])
        return Row(
            key,
            version,
            f"{text}\t{'t' if deleted else 'f'}\t{digits}\t{source.ts_ms}"
            f"\t{place[1]}\t{record.offset}",
            known,
            source.ts_ms,
            place,
            record if keep else None,
        )

    def _held(self, parts: list[Any]) -> list[Any]:
        """With what Postgres cannot hold replaced."""
        if not any(part is not None and "\0" in part for part in parts):
            return parts
        self.replaced_texts += 1
        return [part if part is None else text(part) for part in parts]

    def _before(self, value: bytes) -> msgspec.Struct | None:
        """The last content a delete tells, where it tells one."""
        try:
            event: Any = self._decode_before(value)
        except msgspec.MsgspecError:
            return None
        return event.before  # type: ignore[no-any-return]

    def _hash(self, told: bytes | None, after: Any, key: Key) -> str:
        """In hex: as the header has it, else made from the content."""
        if told is not None:
            if len(told) != HASH_DIGITS:
                raise Unreadable("hash", f"{HASH_HEADER} is not {HASH_DIGITS} hex digits")
            return told.decode("ascii", "replace")
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
