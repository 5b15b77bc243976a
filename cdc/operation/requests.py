"""What a person wants done once by a source's owner: rows of ``sync.requests``, and their way.

    cdc resync, dead-letters retry ──▶ enqueue ──▶ waiting ──owner takes──▶ running ──▶ done
                                                     (NOTIFY, and a slow look)     └──▶ failed

A row that was taken and not finished is taken again by the next owner: what it asks for goes on
where it stood, by its name. Only the control database knows requests; no source waits for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from cdc.operation.asked import Done, Taken
from cdc.runtime.postgres import Connection, translated
from schemas.sql import query

CHANNEL = "sync_requests"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
ENDED = frozenset({DONE, FAILED, CANCELLED})


class Request(NamedTuple):
    """A request as its asker sees it. ``progress``: as the owner last noted it."""

    id: int
    source: str
    kind: str
    state: str
    progress: dict[str, Any]
    error: str | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Owner(Protocol):
    """Who does what is asked of one source."""

    source: str

    def take(self, request: Taken, done: Done) -> None:
        """Begins; raises ``LedgerError`` for what cannot be done at all."""

    def progress(self) -> dict[str, Any]:
        """How far its whole reads are; plain JSON."""


async def enqueue(
    connection: Connection, source: str, kind: str, parameters: dict[str, Any], by: str
) -> int:
    """Asks; returns the request's id."""
    text = orjson.dumps(parameters).decode()
    with translated("enqueue request", source):
        return int(await connection.fetchval(query("enqueue_request"), source, kind, text, by))


async def read(connection: Connection, request_id: int) -> Request | None:
    """The request, or None where there is none."""
    with translated("read request"):
        row = await connection.fetchrow(query("read_request"), request_id)
    if row is None:
        return None
    progress = orjson.loads(row["result"]) if row["result"] else {}
    return Request(row["id"], row["source"], row["kind"], row["state"], progress, row["error"])


async def of(connection: Connection, asker: str) -> dict[int, Request]:
    """An asker's newest requests by the ``number`` in their parameters, without kind and source."""
    with translated("read requests", asker):
        rows = await connection.fetch(query("requests_of"), asker)
    return {
        row["number"]: Request(
            *(row["id"], "", "", row["state"]),
            orjson.loads(row["result"]) if row["result"] else {},
            row["error"],
        )
        for row in rows
    }


async def take(connection: Connection, sources: Sequence[str]) -> list[Taken]:
    """Everything asked of these sources and not finished, oldest first."""
    with translated("take requests"):
        rows = await connection.fetch(query("take_requests"), list(sources))
    taken = [
        Taken(row["id"], row["source"], row["kind"], orjson.loads(row["parameters"]))
        for row in rows
    ]
    return sorted(taken)


async def note(connection: Connection, request_id: int, progress: dict[str, Any]) -> None:
    """How far it is."""
    with translated("note request"):
        await connection.execute(query("note_request"), request_id, orjson.dumps(progress).decode())


async def finish(
    connection: Connection,
    request_id: int,
    state: str,
    error: str | None = None,
    result: dict[str, Any] | None = None,
) -> None:
    """Its end; an ended request is left as it is. ``result`` None: what was noted last."""
    text = None if result is None else orjson.dumps(result).decode()
    with translated("finish request"):
        await connection.execute(query("finish_request"), request_id, state, error, text)


async def listen(connection: Connection, heard: asyncio.Event) -> None:
    """Sets ``heard`` whenever something is asked, as long as the connection lives."""
    with translated("listen for requests"):
        await connection.add_listener(CHANNEL, lambda *_: heard.set())
