"""MongoDB as a source: one change stream for the whole database, and whole reads in key ranges.

The only file that imports motor (its successor is PyMongo's ``AsyncMongoClient``: a change here
alone). Replies are read by raw ``getMore`` commands, the next one sent before the last is decoded,
and decoded in small runs: measured in five ways, this is the cheapest (about 5 us an event).

Positions are cluster times, ``seconds << 32 | increment``. All writes of one MongoDB transaction
share theirs, so changes also carry an ordinal that counts inside such a run; it counts every event
of the database, mapped or not, so that a change of the mapping does not move it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import bson
from bson import Timestamp, json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError

from cdc.runtime.errors import Unavailable, Unfit
from cdc.sources.mongo_events import DECODE, EventReader, token_position
from cdc.sources.mongo_faults import EVENT_TOO_LARGE, is_code, mapped
from cdc.sources.protocol import Change, Checkpoint, Item, Page, Stream

REPLY_EVENTS_MAX = 2000
"""A getMore of 1,000 to 5,000 events costs the client the same; fewer cost more."""
DECODE_EVENTS = 100
"""Decoding more at once leaves the CPU's cache: 3.8 us an event at 100, 7.0 at 5,000."""
REPLY_BYTES_FULL = 12 * 1024 * 1024
"""A reply near the 16 MiB limit was cut by size: more is waiting."""
SEND_AHEAD_SECONDS = 0.0005
"""So long the loop rests after sending a getMore ahead, so that it really leaves."""
CONNECT_SECONDS = 8.0
COMMAND_SECONDS = 60.0
SERVER_MAJOR_MIN = 6

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_IMAGES = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
_BULKY = ["fullDocument", "fullDocumentBeforeChange", "updateDescription"]


def connect(uri: str) -> Any:
    """A motor client with every deadline set; connects lazily."""
    return AsyncIOMotorClient(
        uri,
        appname="ledger-cdc",
        tz_aware=False,
        serverSelectionTimeoutMS=int(CONNECT_SECONDS * 1000),
        connectTimeoutMS=int(CONNECT_SECONDS * 1000),
        socketTimeoutMS=int(COMMAND_SECONDS * 1000),
        readPreference="primary",
    )


class MongoSource:
    """See ``protocol.Source``. The stream's name is the database's."""

    connector = "mongodb"

    def __init__(
        self,
        name: str,
        uri: str,
        collections: Sequence[str],
        *,
        images: Sequence[str] = (),
        allow_sharded: bool = False,
    ) -> None:
        """``images``: collections whose mappings need pre- and post-images."""
        self.name = name
        self._collections = tuple(dict.fromkeys(collections))
        self._uri = uri
        self._images = tuple(dict.fromkeys(images))
        self._allow_sharded = allow_sharded
        self._client: Any = None
        self._database: Any = None
        self._session: Any = None
        self._cursor_id = 0
        self._lean = False
        self._ahead: asyncio.Task[RawBSONDocument] | None = None
        self._asked = 0
        self._reader = EventReader(self._collections)
        self._place: Checkpoint | None = None

    async def open(self) -> tuple[Stream, ...]:
        self._client = connect(self._uri)
        self._database = self._client.get_default_database()
        with mapped("connect"):
            hello = await self._client.admin.command("hello")
            build = await self._client.admin.command("buildInfo")
            if hello.get("msg") == "isdbgrid" and not self._allow_sharded:
                raise Unfit(
                    "this is a mongos: sharded clusters are not tested",
                    subject=self.name,
                    hint="set allow_sharded = true to use it all the same",
                )
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise Unfit(
                    "the server is no member of a replica set, so it has no change streams",
                    subject=self.name,
                    hint="start mongod with --replSet and run rs.initiate()",
                )
            if int(build["versionArray"][0]) < SERVER_MAJOR_MIN:
                raise Unfit(
                    f"MongoDB {build['version']} is too old",
                    subject=self.name,
                    hint=f"{SERVER_MAJOR_MIN}.0 or newer is needed (pre- and post-images)",
                )
            self._session = await self._client.start_session(causal_consistency=False)
            await self._ensure_images()
        identity = {"database": self._database.name, "set": hello.get("setName", "mongos")}
        replica_set_id = await self._replica_set_id()
        if replica_set_id:
            identity["replica_set_id"] = replica_set_id
        return (Stream(self._database.name, self._collections, identity),)

    async def _ensure_images(self) -> None:
        """Collections that need images have them, or are made with them; else raises ``Unfit``."""
        if not self._images:
            return
        reply = await self._database.command(
            {"listCollections": 1, "filter": {"name": {"$in": self._images}}}
        )
        known = {each["name"]: each["options"] for each in reply["cursor"]["firstBatch"]}
        without = [
            name
            for name, options in known.items()
            if not options.get("changeStreamPreAndPostImages", {}).get("enabled")
        ]
        if without:
            raise Unfit(
                f"no pre- and post-images on {', '.join(sorted(without))}",
                subject=self.name,
                hint="; ".join(collmod_line(name) for name in sorted(without)),
            )
        for name in self._images:
            if name not in known:
                with contextlib.suppress(PyMongoError):  # no rights: it may come to be without us
                    await self._database.create_collection(
                        name, changeStreamPreAndPostImages={"enabled": True}
                    )

    async def _replica_set_id(self) -> str | None:
        """The id no two replica sets share, where our rights let us read it."""
        with contextlib.suppress(PyMongoError):
            config = await self._client.admin.command("replSetGetConfig")
            return str(config["config"]["settings"]["replicaSetId"])
        return None

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        await self._drop_cursor()
        token = None if after is None else _token(after.token)
        with mapped("open change stream", subject=self.name, at_open=token is not None):
            await self._aggregate(token)
        if after is not None:
            self._place = after._replace(asked=self._asked)
        self._reader.place(self._standing.position, self._standing.ordinal)
        return self._standing

    @property
    def _standing(self) -> Checkpoint:
        if self._place is None:
            raise Unavailable("the stream is not open", subject=self.name)
        return self._place

    async def _aggregate(self, token: Any) -> None:
        """Opens the server's cursor. Lean: without anything that can make an event too large."""
        options: dict[str, Any] = {} if self._lean else dict(_IMAGES)
        if token is not None:
            options["startAfter"] = token
        pipeline: list[dict[str, Any]] = [{"$changeStream": options}]
        if self._lean:
            pipeline.append({"$unset": _BULKY})
        reply = await self._database.command(
            {
                "aggregate": 1,
                "pipeline": pipeline,
                "cursor": {"batchSize": 0},
                "readConcern": {"level": "majority"},
            },
            session=self._session,
        )
        self._cursor_id = reply["cursor"]["id"]
        opened_at = reply["cursor"]["postBatchResumeToken"]
        if token is None:
            position = token_position(opened_at)
            self._place = Checkpoint(_portable(opened_at), position, -1, False, self._asked)

    async def _drop_cursor(self) -> None:
        """Ends the server's cursor, and with it a getMore that is still waiting."""
        ahead, self._ahead = self._ahead, None
        cursor_id, self._cursor_id = self._cursor_id, 0
        if cursor_id and self._client is not None:
            with contextlib.suppress(PyMongoError):
                await self._database.command(
                    {"killCursors": "$cmd.aggregate", "cursors": [cursor_id]}
                )
        if ahead is not None:
            await asyncio.wait([ahead], timeout=1.0)
            if ahead.done() and not ahead.cancelled():
                ahead.exception()

    async def _reply(self, wait_seconds: float) -> tuple[RawBSONDocument, int]:
        """The next reply, and the count of its request. The one sent ahead, if there is one."""
        if self._ahead is None:
            self._send_ahead(wait_seconds)
        assert self._ahead is not None  # just sent
        task, asked = self._ahead, self._asked
        reply = await asyncio.shield(task)
        self._ahead = None
        return reply, asked

    def _send_ahead(self, wait_seconds: float) -> None:
        self._asked += 1
        command = {
            "getMore": self._cursor_id,
            "collection": "$cmd.aggregate",
            "batchSize": 1 if self._lean else REPLY_EVENTS_MAX,
            "maxTimeMS": max(1, int(wait_seconds * 1000)),
        }
        future = self._database.command(command, session=self._session, codec_options=RAW)
        self._ahead = asyncio.ensure_future(future)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        with mapped("read change stream", subject=self.name):
            try:
                reply, asked = await self._reply(wait_seconds)
            except PyMongoError as error:
                if self._lean or not is_code(error, EVENT_TOO_LARGE):
                    raise
                reply, asked = await self._lean_reply(wait_seconds)
        cursor = reply["cursor"]
        events: list[RawBSONDocument] = cursor["nextBatch"]
        token = bson.decode(cursor["postBatchResumeToken"].raw)
        full = len(events) >= REPLY_EVENTS_MAX or len(reply.raw) > REPLY_BYTES_FULL or self._lean
        if self._lean and events:
            await self._leave_lean(token)
        elif cursor["id"]:
            self._send_ahead(wait_seconds)
            if full:
                await asyncio.sleep(SEND_AHEAD_SECONDS)
        for start in range(0, len(events), DECODE_EVENTS):
            changes, notices = self._reader.read(events[start : start + DECODE_EVENTS])
            yield await self._with_documents(changes)
            for notice in notices:
                yield notice
        position = token_position(token)
        ordinal = self._reader.ordinal_at(position)
        self._place = Checkpoint(_portable(token), position, ordinal, full, asked)
        yield self._place
        if not cursor["id"]:  # an invalidate ends the cursor; startAfter goes on behind it
            with mapped("reopen change stream", subject=self.name):
                await self._aggregate(token)

    async def _lean_reply(self, wait_seconds: float) -> tuple[RawBSONDocument, int]:
        """The event above 16 MiB by itself, without images: its document is looked up."""
        self._ahead = None
        self._lean = True
        await self._drop_cursor()
        await self._aggregate(_token(self._standing.token))
        return await self._reply(wait_seconds)

    async def _leave_lean(self, token: Any) -> None:
        self._lean = False
        await self._drop_cursor()
        with mapped("reopen change stream", subject=self.name):
            await self._aggregate(token)

    async def _with_documents(self, changes: list[Change]) -> list[Change]:
        """Fills in the documents of changes whose event had none, as they are now.

        Read with majority, not before the newest event; null means deleted since: the delete
        follows in the stream, so such a change is left out.
        """
        missing: dict[str, list[int]] = {}
        for index, change in enumerate(changes):
            if change.after is None and change.op != "d" and change.fault is None:
                missing.setdefault(change.collection, []).append(index)
        if not missing:
            return changes
        newest = Timestamp(changes[-1].position >> 32, changes[-1].position & 0xFFFFFFFF)
        for collection, indexes in missing.items():
            wanted = [changes[index].id for index in indexes]
            found = await self._look_up(collection, wanted, newest)
            for index in indexes:
                document = found.get(bson.encode({"": changes[index].id}))
                changes[index] = changes[index]._replace(after=document)
        return [
            change
            for change in changes
            if change.after is not None or change.op == "d" or change.fault is not None
        ]

    async def _look_up(
        self, collection: str, ids: list[Any], after: Timestamp
    ) -> dict[bytes, dict[str, Any]]:
        found: dict[bytes, dict[str, Any]] = {}
        with mapped("look up documents", subject=collection):
            reply = await self._database.command(
                {
                    "find": collection,
                    "filter": {"_id": {"$in": ids}},
                    "batchSize": len(ids),
                    "readConcern": {"level": "majority", "afterClusterTime": after},
                },
                codec_options=RAW,
                session=self._session,
            )
            batch = "firstBatch"
            while True:
                for raw in reply["cursor"][batch]:
                    document = self._reader.document(raw)
                    found[bson.encode({"": document.get("_id")})] = document
                if not reply["cursor"]["id"]:
                    return found
                batch = "nextBatch"
                reply = await self._database.command(
                    {"getMore": reply["cursor"]["id"], "collection": collection},
                    codec_options=RAW,
                    session=self._session,
                )

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        command: dict[str, Any] = {
            "find": collection,
            "hint": {"_id": 1},
            "sort": {"_id": 1},
            "limit": rows_max + 1,
            "batchSize": rows_max + 1,
            "readConcern": {"level": "snapshot"},
        }
        last: Any = None
        if start is not None:
            last = bson.decode(bson.encode(json_util.loads(start)), DECODE)
            command["min"] = last
        with mapped("read page", subject=collection):
            before = await self._now()
            reply = await self._database.command(command, codec_options=RAW, session=self._session)
            rows: list[RawBSONDocument] = reply["cursor"]["firstBatch"]
            if rows and last is not None and _same_id(rows[0], last):
                rows = rows[1:]
            cursor_id = reply["cursor"]["id"]
            if not rows and cursor_id:
                more = {"getMore": cursor_id, "collection": collection, "batchSize": 1}
                reply_more = await self._database.command(
                    more, codec_options=RAW, session=self._session
                )
                rows, cursor_id = reply_more["cursor"]["nextBatch"], reply_more["cursor"]["id"]
            if cursor_id:
                await self._database.command({"killCursors": collection, "cursors": [cursor_id]})
        at = _read_at(reply, before)
        whole = not cursor_id and len(rows) < rows_max
        following = None if whole or not rows else _id_json(rows[-1])
        return Page(self._rows(collection, rows, at), at, self._asked, following)

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        with mapped("look up documents", subject=collection):
            before = await self._now()
            reply = await self._database.command(
                {
                    "find": collection,
                    "filter": {"_id": {"$in": [text for text in ids]}},
                    "batchSize": len(ids),
                    "readConcern": {"level": "snapshot"},
                },
                codec_options=RAW,
                session=self._session,
            )
        cursor = reply["cursor"]
        at = _read_at(reply, before)
        return Page(self._rows(collection, cursor["firstBatch"], at), at, self._asked, None)

    async def _now(self) -> int:
        """A time that has come: what is read after it is at least as new."""
        return _position((await self._database.command("ping"))["operationTime"])

    def _rows(
        self, collection: str, rows: list[RawBSONDocument], at: int
    ) -> Iterator[Sequence[Change]]:
        for start in range(0, len(rows), DECODE_EVENTS):
            yield self._reader.rows(collection, rows[start : start + DECODE_EVENTS], at)

    async def total(self, stream: Stream, collection: str) -> int | None:
        with mapped("count documents", subject=collection):
            reply = await self._database.command({"count": collection})
        return int(reply["n"])

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._client = client
        await self._drop_cursor()
        self._client = None
        client.close()


def collmod_line(collection: str) -> str:
    """What to run in mongosh so that a collection's changes carry its documents."""
    images = "changeStreamPreAndPostImages: {enabled: true}"
    return f'db.runCommand({{collMod: "{collection}", {images}}})'


def _position(time: Timestamp) -> int:
    return (time.time << 32) | time.inc


def _read_at(reply: RawBSONDocument, before: int) -> int:
    """The time of a snapshot read. An absent collection has none: the time before it was asked."""
    time = reply["cursor"].get("atClusterTime")
    return before if time is None else _position(time)


def _portable(token: Any) -> Any:
    """A resume token as plain JSON; binary parts as extended JSON."""
    return json.loads(json_util.dumps(token))


def _token(portable: Any) -> Any:
    """The resume token as the driver sends it."""
    return json_util.loads(json.dumps(portable))


def _id_json(row: RawBSONDocument) -> str:
    return json_util.dumps(
        {"_id": bson.decode(row.raw, DECODE)["_id"]}, json_options=json_util.CANONICAL_JSON_OPTIONS
    )


def _same_id(row: RawBSONDocument, last: dict[str, Any]) -> bool:
    return bson.encode({"_id": bson.decode(row.raw, DECODE)["_id"]}) == bson.encode(last)
