"""A whole pass of one source, now: asked of the source's owner, who alone publishes.

Parameters: ``source``; ``collection`` (only this one); ``allow_deletes`` (also where very many rows
would go). Live polling and tailing go on beside it. The request it made is its cursor: a runner
that takes the job over waits for the same one.
"""

import asyncio
from typing import Any, NamedTuple

from cdc.jobs.model import Job, Params, Result
from cdc.jobs.tools import Said, Tools
from cdc.operation import requests
from cdc.operation.asked import RESYNC
from cdc.runtime.errors import Refused, SettingsError
from cdc.runtime.postgres import Connection, session

LOOK_SECONDS = 1.0


class Wish(NamedTuple):
    """What is to be read."""

    source: str
    parameters: dict[str, Any]


def check(params: Params) -> Wish:
    said = Said("sync", params)
    wish = Wish(
        said.needed("source"),
        {
            "collection": said.text("collection"),
            "accept": False,
            "allow_deletes": said.flag("allow_deletes"),
        },
    )
    said.nothing_else()
    return wish


async def run(job: Job, tools: Tools) -> Result:
    """Until the owner has published all of it."""
    wish = check(job.params)
    if wish.source not in tools.sources:
        raise SettingsError(f"no source {wish.source} is configured here")
    async with session(tools.control) as connection:
        found = None if job.cursor is None else await requests.read(connection, job.cursor)
        if found is None or found.state in (requests.FAILED, requests.CANCELLED):
            request_id = await _ask(connection, wish, job, tools)
        else:
            request_id = found.id
        ended = await _ended(connection, request_id, tools)
    if ended.state != requests.DONE:
        raise Refused(ended.error or f"the request is {ended.state}", subject=wish.source)
    rows = _progress(ended.progress)["done"]
    document = {
        "source": wish.source,
        "request": request_id,
        "rows": rows,
        "read": ended.progress,
    }
    tools.log.info("sync_completed", source=wish.source, request=request_id, rows=rows)
    return Result(document, "sync_completed")


async def _ask(connection: Connection, wish: Wish, job: Job, tools: Tools) -> int:
    request_id = await requests.enqueue(
        connection, wish.source, RESYNC, wish.parameters, f"job {job.id}"
    )
    await tools.note({}, cursor=request_id)
    return request_id


async def _ended(connection: Connection, request_id: int, tools: Tools) -> requests.Request:
    noted: dict[str, Any] = {}
    while True:
        found = await requests.read(connection, request_id)
        if found is None:
            raise Refused("the request is gone", subject=str(request_id))
        if found.ended:
            return found
        if found.progress != noted:
            noted = found.progress
            await tools.note(_progress(noted))
        await asyncio.sleep(LOOK_SECONDS)


def _progress(read: dict[str, Any]) -> dict[str, Any]:
    totals = [each.get("rows_total") for each in read.values()]
    known = [total for total in totals if total is not None]
    return {
        "done": sum(each.get("rows_done", 0) for each in read.values()),
        "total": sum(known) if len(known) == len(totals) else None,
    }
