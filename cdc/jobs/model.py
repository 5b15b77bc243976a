"""A job's row and every step it can take: the one place that writes ``sync.jobs``.

    enqueue ──▶ waiting ──take──▶ running ──▶ done
                   ▲  ▲              ├──▶ failed      (attempts used up, or no use in trying)
                   │  └──released────┤
                   │                 ├──▶ cancelled   (as soon as its runner hears of it)
                   └──run_at due── retrying

Who runs a job holds a lease on it and must keep it; a lease that ran out is anyone's. Each step of
a runner names the runner and the attempt, so one that lost its lease changes nothing any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from cdc.runtime.postgres import Connection, translated
from schemas.sql import query

CHANNEL = "sync_jobs"
LEASE_SECONDS = 30.0
ATTEMPTS_MAX = 3
WAITING, RUNNING, RETRYING = "waiting", "running", "retrying"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
STATES = (WAITING, RUNNING, RETRYING, DONE, FAILED, CANCELLED)
ENDED = frozenset({DONE, FAILED, CANCELLED})

Params = Mapping[str, str]
_JSON = ("params", "cursor", "progress", "result", "errors")


class Job(NamedTuple):
    """A job as its runner gets it. ``attempt`` counts from 1; ``cursor``: where it stood."""

    id: int
    kind: str
    params: Params
    attempt: int
    attempts_max: int
    cursor: Any
    requested_by: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job, as plain JSON; ``event``: under which name it is told."""

    document: dict[str, Any]
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """``jobs`` are the taker's now; ``given_up`` had a runner that went away once too often."""

    jobs: list[Job] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)


class Enqueued(NamedTuple):
    """``is_new`` false: there was a job of that unique key already, whatever became of it."""

    id: int
    is_new: bool


def _text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


async def enqueue(
    connection: Connection,
    kind: str,
    params: Params,
    *,
    by: str,
    unique_key: str | None = None,
    run_at: datetime | None = None,
    attempts_max: int = ATTEMPTS_MAX,
) -> Enqueued:
    """Asks for a job; at most one, ever, of a unique key."""
    values = (kind, _text(dict(params)), unique_key, run_at, attempts_max, by)
    with translated("enqueue job", kind):
        row = await connection.fetchrow(query("enqueue_job"), *values)
        if row is None:  # another's row of that key was committed in between
            row = await connection.fetchrow(query("enqueue_job"), *values)
    assert row is not None
    return Enqueued(row["id"], row["is_new"])


async def take(connection: Connection, runner: str, jobs_max: int) -> Taken:
    """Due jobs, oldest first, now leased to ``runner``."""
    with translated("take jobs"):
        rows = await connection.fetch(query("take_jobs"), runner, jobs_max, LEASE_SECONDS)
    taken = Taken()
    for row in sorted(rows, key=lambda row: int(row["id"])):
        if row["state"] != RUNNING:
            taken.given_up.append(row["id"])
            continue
        taken.jobs.append(
            Job(
                row["id"],
                row["kind"],
                orjson.loads(row["params"]),
                row["attempts"],
                row["attempts_max"],
                None if row["cursor"] is None else orjson.loads(row["cursor"]),
                row["requested_by"],
            )
        )
    return taken


async def next_seconds(connection: Connection) -> float | None:
    """Until a job is due; None: nothing is open."""
    with translated("look for jobs"):
        found: float | None = await connection.fetchval(query("next_job_seconds"))
    return found


async def hold(
    connection: Connection, job: Job, runner: str, progress: Any = None, cursor: Any = None
) -> bool | None:
    """Renews the lease and notes how far it is. True: cancel it. None: it is another's now."""
    values = (job.id, runner, job.attempt, LEASE_SECONDS, _text(progress), _text(cursor))
    with translated("hold job"):
        found: bool | None = await connection.fetchval(query("hold_job"), *values)
    return found


async def end(
    connection: Connection,
    job: Job,
    runner: str,
    state: str,
    *,
    result: Result | None = None,
    error: str | None = None,
    again_seconds: float = 0.0,
) -> bool:
    """Ends an attempt (``waiting``: given back, and not counted). False: it is another's now."""
    values = (
        *(job.id, runner, job.attempt, state),
        *(None if result is None else _text(result.document), error, again_seconds),
        None if result is None else result.event,
    )
    with translated("end job"):
        return await connection.fetchval(query("end_job"), *values) is not None


async def cancel(connection: Connection, job_id: int) -> str | None:
    """``cancelled``, ``running`` (its runner was told), or None: it has ended, or never was."""
    with translated("cancel job"):
        state: str | None = await connection.fetchval(query("cancel_job"), job_id)
    return state


async def find(
    connection: Connection,
    job_id: int | None = None,
    *,
    state: str | None = None,
    kind: str | None = None,
    rows_max: int = 50,
) -> list[dict[str, Any]]:
    """Jobs as plain documents, newest first."""
    with translated("read jobs"):
        rows = await connection.fetch(query("read_jobs"), job_id, state, kind, rows_max)
    return [_document(dict(row)) for row in rows]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    for name in _JSON:
        row[name] = None if row[name] is None else orjson.loads(row[name])
    for name, value in row.items():
        if isinstance(value, datetime):
            row[name] = value.isoformat().replace("+00:00", "Z")
    return row
