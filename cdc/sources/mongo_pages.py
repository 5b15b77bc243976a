"""Reading documents: pages of a whole read, single ones for changes that carry none.

A page goes by ``hint``, ``min`` and ``limit`` on ``_id``, never by ``$gt``: comparison operators
are bracketed by type and would miss documents where ``_id``s are of several types. It is read with
read concern *snapshot*, so that its content and its time agree.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import bson
from bson import ObjectId, Timestamp, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions
from bson.raw_bson import RawBSONDocument

from cdc.mapping.ids import parse
from cdc.mapping.ids import text as id_text
from cdc.runtime.errors import Unfit
from cdc.sources.mongo_events import DECODE, DECODE_EVENTS, EventReader, readable
from cdc.sources.mongo_faults import mapped
from cdc.sources.mongo_reply import Reply, take_apart
from cdc.sources.protocol import Change

RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, uuid_representation=UuidRepresentation.STANDARD
)
_CANONICAL = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_ID_IS_OBJECT_ID, _ID_IS_TEXT = b"\x07_id\x00", b"\x02_id\x00"
"""Type and name of a document's first element, behind its length (bsonspec.org)."""
_SNAPSHOT = {"level": "snapshot"}

Rows = Iterator[Sequence[Change]]


class Pages:
    """Reads of one database. ``session``: not the stream's, both are used at the same time."""

    def __init__(self, database: Any, session: Any, reader: EventReader) -> None:
        self._database = database
        self._session = session
        self._reader = reader

    async def page(
        self, collection: str, start: str | None, rows_max: int
    ) -> tuple[Rows, int, str | None]:
        """The rows behind ``start``, the time they were read at, where the next page starts."""
        command: dict[str, Any] = {
            "find": collection,
            "hint": {"_id": 1},
            "sort": {"_id": 1},
            "limit": rows_max + 1,  # min is inclusive: the first is the last page's last
            "batchSize": rows_max + 1,
            "readConcern": _SNAPSHOT,
        }
        last: dict[str, Any] | None = None
        if start is not None:
            last = command["min"] = json_util.loads(start, json_options=_CANONICAL)
        with mapped("read page", subject=collection):
            before = await self._now()
            reply = await self._command(command)
            rows, cursor = reply.documents, reply.cursor  # not 0 where 16 MiB were reached first
            if rows and last is not None and _id_of(rows[0]) == last:
                rows = rows[1:]
            if cursor and not rows:
                more = {"getMore": cursor, "collection": collection, "batchSize": 1}
                rows, cursor, *_ = await self._command(more)
            if cursor:
                await self._end(collection, cursor)
        at = before if reply.at is None else reply.at  # an absent collection has no time
        more_may_follow = bool(rows) and (bool(cursor) or len(rows) >= rows_max)
        following = _place_in(rows, collection) if more_may_follow else None
        return self._rows(collection, rows, at), at, following

    async def look_up(
        self, collection: str, ids: Sequence[str]
    ) -> tuple[Rows, int, tuple[str, ...]]:
        """Documents by the text of their ids, the time they were read at, ids that are left.

        Some are left where they hold more than one reply (16 MiB) can: memory is bounded by that.
        """
        with mapped("look up documents", subject=collection):
            before = await self._now()
            wanted = filter(can_be_asked_for, map(parse, ids))
            command = {
                "find": collection,
                "filter": {"_id": {"$in": list(wanted)}},
                "batchSize": len(ids),
                "limit": len(ids),
                "readConcern": _SNAPSHOT,
            }
            reply = await self._command(command)
            left: tuple[str, ...] = ()
            if reply.cursor:
                await self._end(collection, reply.cursor)
                found = {id_text(_id_of(row)["_id"]) for row in reply.documents}
                left = tuple(each for each in ids if each not in found)
        at = before if reply.at is None else reply.at  # a lagging majority reads before ``before``
        return self._rows(collection, reply.documents, at), at, left

    async def newest(
        self, collection: str, ids: Sequence[Any], after: Timestamp
    ) -> dict[object, bytes] | None:
        """Documents as they are now, not before ``after``, as BSON by ``id_key``.

        None where they are more than one reply (16 MiB) holds; those of one id always fit.
        """
        with mapped("look up documents", subject=collection):
            command = {
                "find": collection,
                "filter": {"_id": {"$in": list(ids)}},
                "batchSize": len(ids),
                "limit": len(ids),  # without it the server keeps a cursor that has nothing left
                "readConcern": {"level": "majority", "afterClusterTime": after},
            }
            reply = await self._command(command)
            if reply.cursor:
                await self._end(collection, reply.cursor)
                return None
        return {_key_of(row): row for row in reply.documents}

    async def total(self, collection: str) -> int:
        """About how many documents there are."""
        with mapped("count documents", subject=collection):
            reply = await self._database.command({"count": collection}, session=self._session)
        return int(reply["n"])

    async def _command(self, command: dict[str, Any]) -> Reply:
        return take_apart(
            await self._database.command(command, codec_options=RAW, session=self._session)
        )

    async def _end(self, collection: str, cursor: int) -> None:
        """Lets a cursor go that holds more than is wanted now."""
        command = {"killCursors": collection, "cursors": [cursor]}
        await self._database.command(command, session=self._session)

    async def _now(self) -> int:
        """A time that has come: what is read after it is at least as new."""
        reply = await self._database.command("ping", session=self._session)
        return position_of(reply["operationTime"])

    def _rows(self, collection: str, rows: list[bytes], at: int) -> Rows:
        for start in range(0, len(rows), DECODE_EVENTS):
            yield self._reader.rows(collection, rows[start : start + DECODE_EVENTS], at)


def position_of(time: Timestamp) -> int:
    """A cluster time as a position."""
    return (time.time << 32) | time.inc


def id_key(raw_id: Any) -> object:
    """An ``_id`` as a dictionary's key: 1 and true are two, a document can be one."""
    if type(raw_id) is ObjectId:
        return raw_id.binary
    if type(raw_id) is str:
        return raw_id
    return (bson.encode({"": raw_id}, codec_options=DECODE),)


def can_be_asked_for(raw_id: Any) -> bool:
    """Text that is no UTF-8 can be read, and not be sent again."""
    if type(raw_id) is ObjectId or (type(raw_id) is str and raw_id.isascii()):
        return True
    try:
        bson.encode({"": raw_id}, codec_options=DECODE)
    except (BSONError, UnicodeEncodeError):
        return False
    return True


def _key_of(row: bytes) -> object:
    """``id_key`` of a document, without decoding it where the id is of the usual kinds."""
    first = row[4:9]
    if first == _ID_IS_OBJECT_ID:
        return row[9:21]
    if first == _ID_IS_TEXT:
        size = int.from_bytes(row[9:13], "little")  # with a zero at its end
        return row[13 : 12 + size].decode()
    return id_key(readable(row, "_id"))


def portable(token: Any) -> Any:
    """A resume token as plain JSON; binary parts as extended JSON."""
    return json.loads(json_util.dumps(token))


def token_of(stored: Any) -> Any:
    """The resume token as the driver sends it."""
    return json_util.loads(json.dumps(stored))


def _id_of(row: bytes) -> dict[str, Any]:
    return {"_id": readable(row, "_id")}


def _place_in(rows: Sequence[bytes], collection: str) -> str:
    """Where the next page starts: at the last row whose id can be asked for."""
    for row in reversed(rows):
        found = _id_of(row)
        if can_be_asked_for(found["_id"]):
            return json_util.dumps(found, json_options=_CANONICAL)
    raise Unfit(
        f"no _id of {len(rows)} documents in a row is UTF-8",
        operation="read page",
        subject=collection,
        hint="mend these documents",
    )
