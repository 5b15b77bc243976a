"""Workloads without an end: a steady rate of inserts, and nothing at all."""

import asyncio
import time
from collections import deque
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from bench.accounting import MB, sampling
from bench.bed import BOOK, SOURCE, Bed, Field
from compose.stack.errors import StackError
from compose.stack.process import until

Result = dict[str, Any]
WARM_SECONDS = 3.0
IDLE_SECONDS = 30.0
REST_SECONDS = 5.0
TICK_SECONDS = 0.005
"""Inserts that fall due within a tick are sent together; a slower rate sends them one by one."""
ARRIVAL_SECONDS_MAX = 60.0
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_ROWS = """
SELECT id, source_time, pg_xact_commit_timestamp(xmin) AS committed
FROM accounting.transactions WHERE book = $2 AND source = $3 AND id = ANY($1::text[])
"""


async def rate(bed: Bed, per_second: int, seconds: float, accounts: int) -> Result:
    """How late rows are at a steady rate, whatever the answers take (an open loop)."""
    async with bed.field(accounts) as field:
        await field.read_whole(0)
        await _inserted(field, per_second, WARM_SECONDS)
        async with sampling(field.cpu) as samples:
            acknowledged = await _inserted(field, per_second, seconds)
            rows = await _rows(field, acknowledged)
        events = len(acknowledged)
        after_ack, after_write = [], []
        for row in rows:
            committed = row["committed"].timestamp()
            after_ack.append((committed - acknowledged[row["id"]]) * 1000)
            after_write.append((committed - row["source_time"].timestamp()) * 1000)
        spent = samples.whole()
        elapsed = samples.times[-1] - samples.times[0]
        return {
            "events": events,
            "per_second_asked": per_second,
            "per_second": events / elapsed,
            "ack_to_commit_ms": quantiles(after_ack),
            "write_to_commit_ms": quantiles(after_write),
            "cpu_us": {stage: cpu * 1e6 / events for stage, cpu in spent.items()},
            "cpu_ms_per_second": {stage: cpu * 1e3 / elapsed for stage, cpu in spent.items()},
            "peak_rss_mb": _rss(field),
        }


async def idle(bed: Bed, accounts: int) -> Result:
    """What both processes cost while nothing happens."""
    async with bed.field(accounts) as field:
        await field.read_whole(0)
        await _inserted(field, 20, 1.0)
        await asyncio.sleep(REST_SECONDS)
        async with sampling(field.cpu) as samples:
            await asyncio.sleep(IDLE_SECONDS)
        field.check()
        elapsed = samples.times[-1] - samples.times[0]
        spent = {stage: cpu * 1e3 / elapsed for stage, cpu in samples.whole().items()}
        return {
            "seconds": elapsed,
            "cpu_ms_per_second": spent | {"both": spent["source"] + spent["consumer"]},
            "peak_rss_mb": _rss(field),
        }


def quantiles(values: list[float]) -> dict[str, float]:
    """The nearest rank at each of SHARES."""
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        for name, share in SHARES.items()
    }


async def _inserted(field: Field, per_second: int, seconds: float) -> dict[str, float]:
    """Insert at a rate with majority; for each row's id, when that was acknowledged.

    The documents are made and encoded before the time runs: who writes shares the cores.
    """
    acknowledged: dict[str, float] = {}
    waiting = deque(
        (str(document["_id"]), RawBSONDocument(bson.encode(document)))
        for document in (field.writer.payment() for _ in range(round(per_second * seconds)))
    )
    period = max(TICK_SECONDS, 1 / per_second)
    began = time.monotonic()
    sent = 0
    async with asyncio.TaskGroup() as group:
        while waiting:
            passed = time.monotonic() - began
            due = min(int(passed * per_second) + 1 - sent, len(waiting))
            if due > 0:
                sent += due
                written = [waiting.popleft() for _ in range(due)]
                group.create_task(_insert(field, written, acknowledged))
            next_tick = (int(passed / period) + 1) * period
            await asyncio.sleep(max(0.0, began + next_tick - time.monotonic()))
    return acknowledged


async def _insert(
    field: Field, written: list[tuple[str, RawBSONDocument]], acknowledged: dict[str, float]
) -> None:
    """By the plain command: the driver's own bulk writes take three times its CPU."""
    documents = [document for _, document in written]
    told = await field.database.command(
        {"insert": "payments", "documents": documents, "writeConcern": {"w": "majority"}}
    )
    now = time.time()
    if told["n"] != len(written):
        raise StackError(f"MongoDB took {told['n']} of {len(written)} inserts", "see its log")
    acknowledged.update((row_id, now) for row_id, _ in written)


async def _rows(field: Field, ids: dict[str, float]) -> list[Any]:
    """All the rows, once all are there."""
    wanted = list(ids)
    last = wanted[-50:]

    async def there() -> bool:
        field.check()
        return len(await field.postgres.fetch(_ROWS, last, BOOK, SOURCE)) == len(last)

    await until(there, ARRIVAL_SECONDS_MAX, "the arrival of the last rows")
    return list(await field.postgres.fetch(_ROWS, wanted, BOOK, SOURCE))


def _rss(field: Field) -> dict[str, float]:
    return {stage: peak / MB for stage, peak in field.peak_rss_bytes().items()}
