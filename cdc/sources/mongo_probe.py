"""What would keep a MongoDB database from being a source? Looked at, never changed.

The database handle is passed in (motor's).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pymongo.errors import PyMongoError

from cdc.runtime.errors import LedgerError
from cdc.sources.mongo_events import EventReader
from cdc.sources.mongo_faults import mapped
from cdc.sources.mongo_pages import RAW
from cdc.sources.mongo_server import collmod_line, images_of, oplog_span, verify
from cdc.sources.protocol import Document

WINDOW_SECONDS_MIN = 24 * 3600
"""Below, a weekend's standstill would cost a whole read."""

FILLED_RATIO_MIN = 0.8
"""An oplog that was never full does not tell its window yet."""


class Found(NamedTuple):
    """One thing that was looked at. ``outcome``: pass, warn or fail."""

    step: str
    subject: str
    outcome: str
    detail: str
    fix: str = ""


async def probe(
    database: Any,
    source: str,
    collections: Sequence[str],
    *,
    images: Sequence[str],
    allow_sharded: bool,
) -> list[Found]:
    """In order, up to the first step without which the later ones make no sense."""
    try:
        with mapped("connect", subject=source):
            identity = await verify(database, source, allow_sharded=allow_sharded)
    except LedgerError as error:
        return [Found("server", source, "fail", error.message, error.hint)]
    where = f"{identity['set']}, database {identity['database']}"
    found = [Found("server", source, "pass", where)]
    rights = await _rights(database, source, collections)
    found += rights
    if any(each.outcome == "fail" for each in rights):
        return found
    found += await _collections(database, source, collections, images)
    found.append(await _window(database, source))
    return found


async def _rights(database: Any, source: str, collections: Sequence[str]) -> list[Found]:
    """Tried, not asked: what a server says of rights differs from kind to kind."""
    try:
        with mapped("open change stream", subject=source):
            reply = await database.command(
                {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {"batchSize": 0}}
            )
            await database.command(
                {"killCursors": "$cmd.aggregate", "cursors": [reply["cursor"]["id"]]}
            )
        for name in collections:
            with mapped("read", subject=f"{source}.{name}"):
                await database.command({"find": name, "limit": 1, "singleBatch": True})
    except LedgerError as error:
        return [Found("rights", error.subject, "fail", error.message, error.hint)]
    return [Found("rights", source, "pass", "may read and open a change stream")]


async def _collections(
    database: Any, source: str, collections: Sequence[str], images: Sequence[str]
) -> list[Found]:
    with mapped("list collections", subject=source):
        existing = await images_of(database, collections)
    found = [
        Found("collections", f"{source}.{name}", "warn", "does not exist yet", "check its name")
        for name in collections
        if name not in existing
    ]
    for name in images:
        if name in existing:
            kept = existing[name]
            detail = "keeps pre- and post-images" if kept else "its mapping needs images"
            fix = "" if kept else collmod_line(name)
            outcome = "pass" if kept else "fail"
            found.append(Found("images", f"{source}.{name}", outcome, detail, fix))
    return found


async def _window(database: Any, source: str) -> Found:
    """How long the source could stand still until its position is lost."""
    try:
        oldest, newest = await oplog_span(database)
        filled = await _oplog_filled_ratio(database)
    except PyMongoError:
        fix = "to see it, allow find on local.oplog.rs"
        return Found("oplog window", source, "warn", "may not be looked at", fix)
    seconds = newest - oldest
    hours = f"{seconds / 3600:.1f} h"
    if filled < FILLED_RATIO_MIN:
        return Found("oplog window", source, "pass", "the oplog has never been full yet")
    if seconds < WINDOW_SECONDS_MIN:
        fix = "longer standstills cost a whole read; make the oplog larger (replSetResizeOplog)"
        return Found("oplog window", source, "warn", f"reaches back {hours}", fix)
    return Found("oplog window", source, "pass", f"reaches back {hours}")


async def _oplog_filled_ratio(database: Any) -> float:
    stats = await database.client["local"].command({"collStats": "oplog.rs"})
    return float(stats["size"] / max(stats["maxSize"], 1))


async def some_documents(database: Any, collection: str, count: int) -> list[Document]:
    """A random sample, decoded as changes are; what cannot be decoded is left out."""
    with mapped("sample documents", subject=collection):
        reply = await database.command(
            {
                "aggregate": collection,
                "pipeline": [{"$sample": {"size": count}}],
                "cursor": {"batchSize": count},
            },
            codec_options=RAW,
        )
        rows = [row.raw for row in reply["cursor"]["firstBatch"]]
        if reply["cursor"]["id"]:  # the reply was full before the sample was
            await database.command({"killCursors": collection, "cursors": [reply["cursor"]["id"]]})
    changes = EventReader([collection]).rows(collection, rows, 0)
    return [change.after for change in changes if change.after is not None]
