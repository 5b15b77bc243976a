"""Reading documents: pages of a whole read, single ones for changes that carry none.

A page goes by ``hint``, ``min`` and ``limit`` on ``_id``, never by ``$gt``: comparison operators
are bracketed by type and would miss documents where ``_id``s are of several types. It is read with
read concern *snapshot*, so that its content and its time agree.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import bson
from bson import Timestamp, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions
from bson.raw_bson import RawBSONDocument

from cdc.mapping.ids import parse
from cdc.sources.mongo_events import DECODE, DECODE_EVENTS, EventReader
from cdc.sources.mongo_faults import mapped
from cdc.sources.protocol import Change

RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, uuid_representation=UuidRepresentation.STANDARD
)
_CANONICAL = JSONOptions(
    json_mode=JSONMode.CANONICAL, uuid_representation=UuidRepresentation.STANDARD
)
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
            rows: list[RawBSONDocument] = reply["cursor"]["firstBatch"]
            if (
                rows
                and last is not None
                and _id_bytes(rows[0]) == bson.encode(last, codec_options=DECODE)
            ):
                rows = rows[1:]
            cursor_id = reply["cursor"]["id"]  # not 0 where 16 MiB were reached first
            if cursor_id and not rows:
                more = {"getMore": cursor_id, "collection": collection, "batchSize": 1}
                reply_more = await self._command(more)
                rows, cursor_id = reply_more["cursor"]["nextBatch"], reply_more["cursor"]["id"]
            if cursor_id:
                await self._command({"killCursors": collection, "cursors": [cursor_id]})
        at = _read_at(reply, before)
        more_may_follow = bool(rows) and (bool(cursor_id) or len(rows) >= rows_max)
        following = _id_json(rows[-1]) if more_may_follow else None
        return self._rows(collection, rows, at), at, following

    async def look_up(self, collection: str, ids: Sequence[str]) -> tuple[Rows, int]:
        """Documents by the text of their ids, and the time they were read at."""
        with mapped("look up documents", subject=collection):
            before = await self._now()
            command = {
                "find": collection,
                "filter": {"_id": {"$in": [parse(text) for text in ids]}},
                "batchSize": len(ids),
                "readConcern": _SNAPSHOT,
            }
            rows = [row async for row in self._all(command)]
        at = before
        return self._rows(collection, rows, at), at

    async def newest(
        self, collection: str, ids: Sequence[Any], after: Timestamp
    ) -> dict[bytes, dict[str, Any] | None]:
        """Documents as they are now, not before ``after``, by ``id_bytes``; None: unreadable."""
        with mapped("look up documents", subject=collection):
            command = {
                "find": collection,
                "filter": {"_id": {"$in": list(ids)}},
                "batchSize": len(ids),
                "readConcern": {"level": "majority", "afterClusterTime": after},
            }
            return {_id_part(row): _document(row) async for row in self._all(command)}

    async def total(self, collection: str) -> int:
        """About how many documents there are."""
        with mapped("count documents", subject=collection):
            reply = await self._command({"count": collection})
        return int(reply["n"])

    async def _all(self, command: dict[str, Any]) -> Any:
        reply, batch = await self._command(command), "firstBatch"
        while True:
            for row in reply["cursor"][batch]:
                yield row
            if not reply["cursor"]["id"]:
                return
            more = {"getMore": reply["cursor"]["id"], "collection": command["find"]}
            reply, batch = await self._command(more), "nextBatch"

    async def _command(self, command: dict[str, Any]) -> RawBSONDocument:
        reply: RawBSONDocument = await self._database.command(
            command, codec_options=RAW, session=self._session
        )
        return reply

    async def _now(self) -> int:
        """A time that has come: what is read after it is at least as new."""
        return position_of((await self._command({"ping": 1}))["operationTime"])

    def _rows(self, collection: str, rows: list[RawBSONDocument], at: int) -> Rows:
        for start in range(0, len(rows), DECODE_EVENTS):
            yield self._reader.rows(collection, rows[start : start + DECODE_EVENTS], at)


def position_of(time: Timestamp) -> int:
    """A cluster time as a position."""
    return (time.time << 32) | time.inc


def _id_part(row: RawBSONDocument) -> bytes:
    """``id_bytes`` of a document that may be unreadable elsewhere."""
    raw_id = row["_id"]
    if isinstance(raw_id, RawBSONDocument):
        raw_id = bson.decode(raw_id.raw, DECODE)
    return id_bytes(raw_id)


def _document(row: RawBSONDocument) -> dict[str, Any] | None:
    try:
        return bson.decode(row.raw, DECODE)
    except (BSONError, RecursionError):
        return None


def id_bytes(raw_id: Any) -> bytes:
    """An ``_id`` as something that can be a dictionary's key."""
    return bson.encode({"": raw_id}, codec_options=DECODE)


def portable(token: Any) -> Any:
    """A resume token as plain JSON; binary parts as extended JSON."""
    return json.loads(json_util.dumps(token))


def token_of(stored: Any) -> Any:
    """The resume token as the driver sends it."""
    return json_util.loads(json.dumps(stored))


def _read_at(reply: RawBSONDocument, before: int) -> int:
    """The time of a snapshot read. An absent collection has none: the time before it was asked."""
    time = reply["cursor"].get("atClusterTime")
    return before if time is None else position_of(time)


def _id_bytes(row: RawBSONDocument) -> bytes:
    return bson.encode({"_id": bson.decode(row.raw, DECODE)["_id"]}, codec_options=DECODE)


def _id_json(row: RawBSONDocument) -> str:
    key = {"_id": bson.decode(row.raw, DECODE)["_id"]}
    return json_util.dumps(key, json_options=_CANONICAL)
