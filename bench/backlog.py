"""Workloads with an end: so many events wait, both processes start cold, all become rows."""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from bench.accounting import MB, Samples, sampling
from bench.bed import BOOK, POLL_SECONDS, READ_SECONDS_MAX, SOURCE, STAGES, Bed, Field
from compose.stack.errors import StackError
from compose.stack.process import until

Result = dict[str, Any]
WATCHED_KEYS = 50
STEADY_FROM = 0.2
"""Steady is from this share of the rows to the last one: without start and first connections."""
STARTS = 5
STARTED = ("source", "consumer")
"""The stages that start cold."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WATCH = """
SELECT count(*) FROM accounting.transactions
WHERE book = $3 AND source = $4 AND id = ANY($1::text[]) AND source_time >= $2
"""
"""By the whole primary key: a scan of the table every POLL_SECONDS takes half a core from what is
measured."""
_TIMES = """
SELECT count(*) AS rows, min(at) AS first, max(at) AS last,
    percentile_disc($2::float8) WITHIN GROUP (ORDER BY at) AS steady
FROM (
    SELECT pg_xact_commit_timestamp(xmin) AS at
    FROM accounting.transactions WHERE source_time >= $1
) AS committed
"""
_SUMS = """
SELECT (SELECT sum(balance) FROM accounting.account_totals) =
    (SELECT sum(CASE WHEN type = 'income' THEN amount ELSE -amount END)
     FROM accounting.transactions WHERE settled AND NOT deleted)
"""


@dataclass(frozen=True)
class Times:
    """Unix seconds, of PostgreSQL's own commit timestamps."""

    first: float
    steady: float
    last: float


async def inserts(bed: Bed, events: int, accounts: int) -> Result:
    """A backlog of inserts, read from a cursor that stands before them."""
    async with bed.field(accounts) as field:
        await field.read_whole(0)
        await field.stop()
        since = _now()
        await field.writer.insert_payments(events)
        return await _measured(field, events, since)


async def updates(bed: Bed, events: int, accounts: int) -> Result:
    """The same with one update of two fields for each of so many rows."""
    async with bed.field(accounts) as field:
        await field.writer.insert_payments(events)
        await field.read_whole(events)
        await field.stop()
        await asyncio.sleep(1.0)  # the rows' times are whole seconds
        since = _now()
        await field.writer.update_payments(events)
        return await _measured(field, events, since)


async def snapshot(bed: Bed, events: int, accounts: int) -> Result:
    """The first whole read of a collection."""
    async with bed.field(accounts) as field:
        await field.writer.insert_payments(events)
        return await _measured(field, events, _EPOCH)


async def start(bed: Bed, accounts: int) -> Result:
    """One insert waits for both processes: from their start to its commit in PostgreSQL."""
    async with bed.field(accounts) as field:
        await field.read_whole(0)
        seconds: list[float] = []
        spent: list[dict[str, float]] = []
        for _ in range(STARTS):
            await field.stop()
            since = _now()
            await field.writer.insert_payments(1)
            async with sampling(field.cpu) as samples:
                began = field.start()
                times = await _arrival(field, 1, since)
            spent.append(samples.between(began, times.last))
            seconds.append(times.last - began)
        return {
            "first_row_seconds": median(seconds),
            "first_row_seconds_all": sorted(seconds),
            "cpu_seconds": {name: median(each[name] for each in spent) for name in STARTED},
        }


async def growth(bed: Bed, events: int, large: int, accounts: int) -> Result:
    """CPU per event of inserts into a table of `events` rows, and into one of `large`."""
    async with bed.field(accounts) as field:
        found: dict[str, Result] = {}
        for name, size in (("small", events), ("large", large)):
            await field.writer.insert_payments(size - len(field.writer.payments))
            await field.read_whole(size)
            await field.stop()
            since = _now()
            await field.writer.insert_payments(events)
            found[name] = {"rows_before": size} | await _measured(field, events, since)
        return found | {"ratio": _ratios(found["small"], found["large"])}


def _ratios(small: Result, large: Result) -> dict[str, float]:
    """Large against small, of CPU per event: each stage, and all together."""
    ratios = {
        stage: large["cpu_us"][stage] / small["cpu_us"][stage]
        for stage in STAGES
        if small["cpu_us"][stage]
    }
    return ratios | {"all": sum(large["cpu_us"].values()) / sum(small["cpu_us"].values())}


def _now() -> datetime:
    """Cut to milliseconds, as MongoDB's wall times are."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def _measured(field: Field, events: int, since: datetime) -> Result:
    """Start both processes and account for everything until the last row is committed."""
    await field.settle()
    async with sampling(field.cpu) as samples:
        began = field.start()
        times = await _arrival(field, events, since)
    rss = field.peak_rss_bytes()
    if not await field.postgres.fetchval(_SUMS):
        raise StackError("the balances are not the sums over the rows", "do not trust this run")
    await field.stop()
    measured = {
        "events": events,
        "seconds": times.last - began,
        "first_row_seconds": times.first - began,
        "events_per_second": events / (times.last - began),
        "cpu_us": _per_event(samples, events, began, times.last),
        "peak_rss_mb": {stage: peak / MB for stage, peak in rss.items()},
    }
    if times.last == times.steady:  # all in one transaction
        return measured
    steady = events * (1 - STEADY_FROM) / (times.last - times.steady)
    return measured | {"steady_events_per_second": steady}


def _per_event(samples: Samples, events: int, start: float, end: float) -> dict[str, float]:
    """CPU microseconds of each stage, by event."""
    return {stage: cpu * 1e6 / events for stage, cpu in samples.between(start, end).items()}


async def _arrival(field: Field, events: int, since: datetime) -> Times:
    """Wait until all rows with a source time from `since` are there; when they were committed.

    A few keys are looked up until all are there, so that looking costs little; only then all rows
    are counted.
    """
    ids = [str(each) for each in field.writer.payments]
    watched = random.Random(0).sample(ids, min(WATCHED_KEYS, events, len(ids)))
    if since != _EPOCH and events < len(ids):
        watched = ids[-min(WATCHED_KEYS, events) :]
    deadline = time.monotonic() + READ_SECONDS_MAX

    async def watched_are_there() -> bool:
        field.check()
        await asyncio.sleep(POLL_SECONDS)
        found = await field.postgres.fetchval(_WATCH, watched, since, BOOK, SOURCE)
        return bool(found == len(watched))

    await until(watched_are_there, READ_SECONDS_MAX, f"the arrival of {events} events")
    while True:
        (row,) = await field.postgres.fetch(_TIMES, since, STEADY_FROM)
        if row["rows"] == events:
            return Times(*(row[name].timestamp() for name in ("first", "steady", "last")))
        if row["rows"] > events or time.monotonic() > deadline:
            raise StackError(
                f"{row['rows']} rows came of {events} events", "read the logs of both processes"
            )
        await asyncio.sleep(POLL_SECONDS)
