"""Records of an entity topic to rows: strings stay strings, Postgres parses them.

One decoder an entity, built from its columns once. What does not decode is told with its reason,
never raised: one bad record must not hold up its neighbours.
"""

from typing import Annotated, Any, Literal

import msgspec

from cdc.runtime.kafka_records import Record
from consumers.parked import Parked, parked_record, text
from consumers.rows import Key, Place, Row
from schemas.entities import Entity, Kind
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX
from schemas.version import VERSION_BYTES

BACKSLASH = ord("\\")
HASH_HEADER = "transaction_hash"
SCHEMA_HEADER = "schema"
HASH_FIELD = "hashed"
HASH_DIGITS = 64
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
    """``after`` of an entity's events; columns it does not know are passed over.

    A hashed entity's hash is put behind them: it comes in a header, under no name of JSON.
    """
    fields: list[Any] = []
    for column in entity.columns:
        wire = _WIRE_TYPES.get(column.kind, str)
        if column.required:
            fields.append((column.name, wire))
        else:  # undecoded JSON takes a null as it is, and must not be in a union
            optional = wire if wire is msgspec.Raw else wire | None
            fields.append((column.name, optional, None))
    if entity.hashed:
        fields.append((HASH_FIELD, str | None, msgspec.field(default=None, name="(header)")))
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
            (column.name, _text_of(column.kind))
            for column in entity.columns
            if column.kind in _WIRE_TYPES
        )
        self._unknown = (None,) * (len(entity.columns) + entity.hashed)

    def row(self, record: Record, place: Place) -> Row | Parked:
        """The row of a record that is not a tombstone."""
        key = None
        try:
            key = read_key(record.key)
            return self._row(record, place, record.value or b"", key)
        except Unreadable as fault:
            return parked_record(
                record, place, self._entity.name, fault.reason, fault.detail, key=key
            )

    def _row(self, record: Record, place: Place, value: bytes, key: Key) -> Row:
        """The hot path: a fifth of what an event costs, so it is one piece."""
        hashed = None
        for name, header in record.headers:
            if name == SCHEMA_HEADER:
                if header != self._schema:
                    raise Unreadable("schema", f"{header!r} instead of {self._schema!r}")
            elif name == HASH_HEADER:
                hashed = header.decode("ascii", "replace")
        try:
            event: Any = self._decode(value)
            source, after = event.source, event.after
            version = bytes.fromhex(source.change_version)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unreadable("not an event", str(error)) from None
        deleted = after is None
        if len(version) != VERSION_BYTES or deleted is not (event.op == "d"):
            raise Unreadable("not an event", "its version, op and after do not go together")
        if len(value) > EVENT_BYTES_MAX:
            raise Unreadable("too large", f"{len(value)} bytes, allowed are {EVENT_BYTES_MAX}")
        if deleted:
            after = self._before(value)
        if after is None:
            content = self._unknown
        else:
            for name, convert in self._converts:
                told = getattr(after, name)
                if told is not None:
                    setattr(after, name, convert(told))
            if self._hashed:
                if hashed is None:  # of a deleted row's last content, or not of ours
                    hashed = self._hash(after, key)
                elif len(hashed) != HASH_DIGITS:
                    raise Unreadable("hash", f"{HASH_HEADER} is not {HASH_DIGITS} hex digits")
                after.hashed = hashed
            content = msgspec.structs.astuple(after)
        plain = BACKSLASH not in value and BACKSLASH not in (record.key or b"")
        known = after is not None
        row = Row(key, version, content, deleted, known, plain, source.ts_ms, place, record)
        return row if plain else self._held(row)

    def _held(self, row: Row) -> Row:
        """With what Postgres cannot hold replaced."""
        if any(part is not None and "\0" in part for part in (*row.key, *row.content)):
            self.replaced_texts += 1
            book, source, row_id = map(text, row.key)
            row.key = (book, source, row_id)
            row.content = tuple(part if part is None else text(part) for part in row.content)
        return row

    def _before(self, value: bytes) -> msgspec.Struct | None:
        """The last content a delete tells, where it tells one."""
        try:
            event: Any = self._decode_before(value)
        except msgspec.MsgspecError:
            return None
        return event.before  # type: ignore[no-any-return]

    def _hash(self, after: Any, key: Key) -> str:
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
