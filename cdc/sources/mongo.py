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
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError

from cdc.runtime.errors import Gap, Unavailable
from cdc.sources.mongo_documents import lacks_document, with_documents
from cdc.sources.mongo_events import DECODE_EVENTS, EventReader, token_position
from cdc.sources.mongo_faults import EVENT_TOO_LARGE, is_code, mapped, readable
from cdc.sources.mongo_pace import Pace
from cdc.sources.mongo_pages import RAW, Pages, portable, token_of
from cdc.sources.mongo_reply import Reply, take_apart
from cdc.sources.mongo_server import ensure_images, oplog_span, verify
from cdc.sources.protocol import Change, Checkpoint, Item, Page, Stream

REPLY_EVENTS_MAX = 2000
"""A getMore of 1,000 to 5,000 events costs the client the same; fewer cost more."""
LOOK_UP_EVENTS = 1000
"""So many changes without their document share one look-up."""
REPLY_BYTES_FULL = 12 * 1024 * 1024
"""A reply near the 16 MiB limit was cut by size: more is waiting."""
SEND_AHEAD_SECONDS = 0.0005
"""So long the loop rests after sending a getMore ahead, so that it really leaves."""
CONNECT_SECONDS = 8.0
COMMAND_SECONDS = 60.0
CLOSE_SECONDS = 1.0
"""So long the server may take to hear that we leave. What it does not hear, it forgets in time."""
STREAM = "database"
"""Not the database's name: then another database's cursor would not be found, nor refused."""

_IMAGES = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
_BULKY = ["fullDocument", "fullDocumentBeforeChange", "updateDescription"]


def connect(uri: str) -> Any:
    """A motor client with every deadline set; connects lazily.

    Raises ``Unfit`` where the URI, or a file that it names, cannot be used.
    """
    with readable():
        return AsyncIOMotorClient(
            uri,
            appname="ledger-cdc",
            tz_aware=False,
            serverSelectionTimeoutMS=int(CONNECT_SECONDS * 1000),
            connectTimeoutMS=int(CONNECT_SECONDS * 1000),
            socketTimeoutMS=int(COMMAND_SECONDS * 1000),
            readPreference="primary",
        )


async def disconnect(client: Any) -> None:
    """Ends a client of ``connect``, with its connections, as a rule within ``CLOSE_SECONDS``.

    Returns within twice that in any case, and at once to a caller that is cancelled: the client
    ends by itself then. The driver tells the server which sessions end, and waits for a server that
    is gone: in a thread of its own, as the loop's shared ones may all be waiting for a name server.
    """
    closer = ThreadPoolExecutor(1, thread_name_prefix="mongo-close")
    closing = asyncio.get_running_loop().run_in_executor(closer, _close, client)
    closing.add_done_callback(_forget)
    closer.shutdown(wait=False)
    await asyncio.wait({closing}, timeout=2 * CLOSE_SECONDS)
    if closing.done():
        closing.result()


def _close(client: Any) -> None:
    with pymongo.timeout(CLOSE_SECONDS):
        client.close()


def _forget(ended: "asyncio.Future[Any]") -> None:
    """Its error is nobody's any more, whenever it comes: the loop would tell it as never met."""
    if not ended.cancelled():
        ended.exception()


class MongoSource:
    """See ``protocol.Source``. One stream; the database is in its identity."""

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
        self._pace = Pace()
        self._reader = EventReader(self._collections)
        self._pages: Pages | None = None
        self._place: Checkpoint | None = None

    async def open(self) -> tuple[Stream, ...]:
        self._client = connect(self._uri)
        self._database = self._client.get_default_database()
        with mapped("connect", subject=self.name):
            identity = await verify(self._database, self.name, allow_sharded=self._allow_sharded)
            await ensure_images(self._database, self.name, self._images)
            self._session = await self._client.start_session(causal_consistency=False)
            reading = await self._client.start_session(causal_consistency=False)
        self._pages = Pages(self._database, reading, self._reader)
        return (Stream(STREAM, self._collections, identity),)

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        await self._drop_cursor()
        self._lean = False  # an event too large may have ended the session before
        token = None if after is None else token_of(after.token)
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
            self._place = Checkpoint(portable(opened_at), position, -1, False, self._asked)

    async def _drop_cursor(self) -> None:
        """Ends the server's cursor, and with it a getMore that is still waiting."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.add_done_callback(_forget)  # before all waiting: we may be cancelled there
        cursor_id, self._cursor_id = self._cursor_id, 0
        if cursor_id and self._client is not None:
            with contextlib.suppress(PyMongoError):
                await self._database.command(
                    {"killCursors": "$cmd.aggregate", "cursors": [cursor_id]}
                )
        if ahead is not None:
            await asyncio.wait([ahead], timeout=CLOSE_SECONDS)

    async def _reply(self, wait_seconds: float) -> tuple[Reply, int]:
        """The next reply, and the count of its request. The one sent ahead, if there is one."""
        if self._ahead is None:
            self._send_ahead(wait_seconds)
        assert self._ahead is not None  # just sent
        task, asked = self._ahead, self._asked
        reply = await asyncio.shield(task)
        self._ahead = None
        return take_apart(reply), asked

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
        now = asyncio.get_running_loop().time
        if (rest_seconds := self._pace.rest_seconds(now())) > 0:
            await asyncio.sleep(rest_seconds)
        with mapped("read change stream", subject=self.name):
            try:
                reply, asked = await self._reply(wait_seconds)
            except PyMongoError as error:
                if self._lean or not is_code(error, EVENT_TOO_LARGE):
                    raise
                reply, asked = await self._lean_reply(wait_seconds)
        events, token = reply.documents, reply.token
        assert token is not None, "a change stream's reply has a token"
        full = len(events) >= REPLY_EVENTS_MAX or reply.size > REPLY_BYTES_FULL or self._lean
        if self._lean and events:
            self._forgo_images(events)
            await self._leave_lean(token)
        elif reply.cursor and full:
            self._send_ahead(wait_seconds)
            await asyncio.sleep(SEND_AHEAD_SECONDS)
        self._pace.replied(now(), handful=bool(events) and not full)
        held: list[Change] = []
        for start in range(0, len(events), DECODE_EVENTS):
            changes, notices = self._reader.read(events[start : start + DECODE_EVENTS])
            held += changes
            last = start + DECODE_EVENTS >= len(events)
            lacking = any(lacks_document(change) for change in held)
            if lacking and not (last or notices or len(held) >= LOOK_UP_EVENTS):
                continue  # one look-up for many
            if lacking:
                async for run in with_documents(self._opened_pages, held):
                    yield run
            else:
                yield held
            held = []
            for notice in notices:
                yield notice
        position = token_position(token)
        ordinal = self._reader.ordinal_at(position)
        self._place = Checkpoint(portable(token), position, ordinal, full, asked, not events)
        yield self._place
        if not reply.cursor:  # an invalidate ends the cursor; startAfter goes on behind it
            with mapped("reopen change stream", subject=self.name):
                await self._aggregate(token)

    async def _lean_reply(self, wait_seconds: float) -> tuple[Reply, int]:
        """The event above 16 MiB by itself, without images: its document is looked up."""
        self._ahead = None
        self._lean = True
        await self._drop_cursor()
        await self._aggregate(token_of(self._standing.token))
        return await self._reply(wait_seconds)

    def _forgo_images(self, events: list[bytes]) -> None:
        """Where documents are compared before and after, only a whole read can replace these."""
        collections = {RawBSONDocument(event)["ns"].get("coll") for event in events}
        without = sorted(collections & set(self._images))
        if without:
            raise Gap(
                "an event above 16 MiB came without the document before and after it",
                operation="read change stream",
                subject=without[0],
            )

    async def _leave_lean(self, token: Any) -> None:
        self._lean = False
        await self._drop_cursor()
        with mapped("reopen change stream", subject=self.name):
            await self._aggregate(token)

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        rows, at, following = await self._opened_pages.page(collection, start, rows_max)
        return Page(rows, at, self._asked, following)

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        rows, at, left = await self._opened_pages.look_up(collection, ids)
        return Page(rows, at, self._asked, left or None)

    async def total(self, stream: Stream, collection: str) -> int | None:
        return await self._opened_pages.total(collection)

    async def history_seconds(self) -> tuple[float, float] | None:
        """How far the oplog reaches back, and how much of that lies behind where we stand.

        None where it is not known: not open, or no right to look.
        """
        database, place = self._database, self._place
        if database is None or place is None:
            return None
        try:
            oldest, newest = await oplog_span(database)
        except PyMongoError:
            return None
        return float(newest - oldest), float((place.position >> 32) - oldest)

    @property
    def _opened_pages(self) -> Pages:
        if self._pages is None:
            raise Unavailable("the source is not open", subject=self.name)
        return self._pages

    def mended(self) -> None:
        """Every session connects anew: nothing is remembered of what failed."""

    async def close(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            with pymongo.timeout(CLOSE_SECONDS):
                await self._drop_cursor()
        finally:
            self._client = None
            await disconnect(client)
