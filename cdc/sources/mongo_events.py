"""Change events and documents, from raw BSON to ``Change``.

Decoding is lenient where strictness would stop the stream for ever: dates beyond year 9999 become
``DatetimeMS``, bytes that are no UTF-8 become lone surrogates. Only where such a value is mapped
does it become a dead letter; what cannot be decoded at all is a ``Change`` with a ``fault``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from cdc.sources.mongo_decimals import read_decimals_directly
from cdc.sources.mongo_inserts import InsertReader
from cdc.sources.protocol import Change, Notice
from schemas.version import ORDINAL_MAX

DECODE: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=False,  # MongoDB's dates are UTC; aware ones cost 2.3 us an event more
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
    uuid_representation=UuidRepresentation.STANDARD,
)
_RAW: CodecOptions[RawBSONDocument] = DECODE.with_options(document_class=RawBSONDocument)
DECODE_EVENTS = 100
"""Decoding more at once leaves the CPU's cache: 3.8 us an event at 100, 7.0 at 5,000."""
UNREADABLE = "the document cannot be decoded"

_OPS = {"insert": "c", "update": "u", "replace": "u", "delete": "d"}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as decoded
_TOKEN_TIME = slice(2, 18)
"""A resume token is hex of a key string: type 82 (timestamp), then its 8 bytes, big-endian."""


def token_position(token: Any) -> int:
    """The cluster time in a resume token."""
    data: str = token["_data"]
    if not data.startswith("82"):
        raise ValueError("resume token of an unknown form")
    return int(data[_TOKEN_TIME], 16)


class EventReader:
    """Turns events into changes, counting the ordinals of runs of equal cluster time."""

    def __init__(self, collections: Sequence[str]) -> None:
        read_decimals_directly()
        self._collections = frozenset(collections)
        self._inserts = InsertReader()
        self._position = -1
        self._ordinal = -1

    def place(self, position: int, ordinal: int) -> None:
        """Go on counting behind this change."""
        self._position, self._ordinal = position, ordinal

    def ordinal_at(self, position: int) -> int:
        """The last ordinal given out at ``position``; -1: none."""
        return self._ordinal if position == self._position else -1

    def read(self, events: Sequence[bytes]) -> tuple[list[Change], list[Notice]]:
        """The changes of watched collections in order, and what happened to collections."""
        inserted = self._read_inserts(events)
        if inserted is not None:
            return inserted, []
        changes: list[Change] = []
        notices: list[Notice] = []
        for event in self._decode(events):
            time = event["clusterTime"]
            position = (time.time << 32) | time.inc
            self._ordinal = self._ordinal + 1 if position == self._position else 0
            self._position = position
            op = _OPS.get(event["operationType"])
            if op is None:
                notices.extend(self._notice(event, position))
                continue
            collection = event["ns"]["coll"]
            if collection not in self._collections:
                continue
            key = event.get("documentKey")
            changes.append(
                Change(
                    collection,
                    op,
                    None if key is None else key["_id"],
                    event.get("fullDocumentBeforeChange"),
                    event.get("fullDocument"),
                    position,
                    self._ordinal,
                    _wall_ms(event.get("wallTime"), position),
                    event.get("fault"),
                )
            )
        return changes, notices

    def _read_inserts(self, events: Sequence[bytes]) -> list[Change] | None:
        """The changes of a run of nothing but inserts; None: it is none, or cannot be decoded."""
        inserts = self._inserts.read(events)
        if inserts is None:
            return None
        watched = self._collections
        wanted = [document for _, _, collection, document in inserts if collection in watched]
        try:
            documents = iter(bson.decode_all(b"".join(wanted), DECODE))
        except (BSONError, RecursionError):
            return None
        changes: list[Change] = []
        last, ordinal = self._position, self._ordinal
        new = tuple.__new__  # a third faster than calling the type
        for position, time_ms, collection, _ in inserts:
            ordinal = ordinal + 1 if position == last else 0
            last = position
            if collection in watched:
                document = next(documents)
                parts = (
                    *(collection, "c", document["_id"], None, document),
                    *(position, ordinal, time_ms, None),
                )
                changes.append(new(Change, parts))
        self._position, self._ordinal = last, ordinal
        return changes

    def _decode(self, events: Sequence[bytes]) -> list[dict[str, Any]]:
        try:
            return bson.decode_all(b"".join(events), DECODE)
        except (BSONError, RecursionError):
            return [_decode_one(event) for event in events]

    def _notice(self, event: dict[str, Any], position: int) -> list[Notice]:
        operation = event["operationType"]
        if operation in ("dropDatabase", "invalidate"):
            touched = self._collections
        elif operation in ("drop", "rename"):
            names = {event["ns"]["coll"], event.get("to", {}).get("coll")}
            touched = self._collections & names
        else:
            return []
        if not touched:
            return []
        return [Notice(f"{operation} seen in the stream", tuple(sorted(touched)), position)]

    def rows(self, collection: str, rows: Sequence[bytes], at: int) -> list[Change]:
        """Rows of a whole read at ``at``: they hold everything up to and including it."""
        time_ms = (at >> 32) * 1000
        return [
            Change(
                collection,
                "r",
                raw_id,
                None,
                document,
                at,
                ORDINAL_MAX,
                time_ms,
                UNREADABLE if document is None else None,
            )
            for raw_id, document in decoded(rows)
        ]


def decoded(rows: Sequence[bytes]) -> list[tuple[Any, dict[str, Any] | None]]:
    """Documents with their ``_id``; None for one that cannot be decoded."""
    try:
        return [(each["_id"], each) for each in bson.decode_all(b"".join(rows), DECODE)]
    except (BSONError, RecursionError):
        return [_decoded_one(row) for row in rows]


def _decoded_one(row: bytes) -> tuple[Any, dict[str, Any] | None]:
    try:
        document = bson.decode(row, DECODE)
    except (BSONError, RecursionError):
        return readable(row, "_id"), None
    return document["_id"], document


def _decode_one(event: bytes) -> dict[str, Any]:
    try:
        return bson.decode(event, DECODE)
    except (BSONError, RecursionError):
        raw = RawBSONDocument(event)
        shell = {name: raw[name] for name in ("operationType", "clusterTime")}
        shell["ns"] = {"coll": raw["ns"]["coll"]}
        shell["fault"] = UNREADABLE
        key = raw.get("documentKey")
        if key is not None:
            shell["documentKey"] = {"_id": readable(key.raw, "_id")}
        return shell


def readable(document: bytes, name: str) -> Any:
    """One value of a document that may be damaged elsewhere; None where it is damaged itself."""
    try:
        value = RawBSONDocument(document, _RAW)[name]
        return bson.decode(value.raw, DECODE) if isinstance(value, RawBSONDocument) else value
    except (BSONError, RecursionError, KeyError):
        return None


def _wall_ms(wall: datetime | None, position: int) -> int:
    if wall is None:  # before MongoDB 6.0
        return (position >> 32) * 1000
    since = wall - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
