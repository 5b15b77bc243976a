"""Workloads of the budget: YNAB and Plaid (simulated, in a process of their own), and validation.

The simulator's CPU is shown under `simulator_cpu_seconds`; it is no stage of ours.
"""

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from bench.accounting import MB, Samples, cpu_seconds, sampling
from bench.bed import POLL_SECONDS, READ_SECONDS_MAX, Bed, Field
from compose.demo.daemons import run_to_end
from compose.stack.names import REPOSITORY
from compose.stack.process import Child, until

Result = dict[str, Any]
PLAN_TRANSACTIONS, PLAN_YEARS = 100_000, 5
ITEMS, ITEM_TRANSACTIONS, ITEM_YEARS = 20, 5_000, 2
VALIDATED_TRANSACTIONS, VALIDATED_ACCOUNTS = 1_000_000, 20
CHANGES = 100
POLLS_WATCHED = 3
QUIET_SECONDS = 3.0
SIMULATOR_SECONDS_MAX = 120.0
_TABLES = (
    *("budgets", "accounts", "categories", "months", "month_categories", "payees"),
    *("transactions", "subtransactions", "scheduled_transactions", "balances"),
)
_ROWS = " + ".join(f"(SELECT count(*) FROM budget.{name})" for name in _TABLES)
_COMMITTED = " UNION ALL ".join(
    f"SELECT max(pg_xact_commit_timestamp(xmin)) AS at FROM budget.{name}" for name in _TABLES
)
_DELTA = """
SELECT count(*) AS rows, extract(epoch FROM max(pg_xact_commit_timestamp(xmin))
    - min(source_time))::float8 AS seconds
FROM budget.transactions WHERE memo = 'changed'
"""
_FILL = """
INSERT INTO budget.budgets (book, source, id, kind, name) VALUES ('home', 'ynab', 'b', 'plan', 'b');
INSERT INTO budget.payees (book, source, id, budget_id, name)
SELECT 'home', 'ynab', 'p' || n, 'b', 'Payee ' || n FROM generate_series(0, 499) AS n;
INSERT INTO budget.transactions (book, source, id, budget_id, account_id, payee_id, date, amount,
    currency, transaction_hash)
SELECT 'home', 'ynab', 't' || n, 'b', 'a' || n % {accounts}, 'p' || n % 500,
    date '2016-01-01' + n / 300, (n % 20000 - 10000) / 100.0, 'USD', sha256(n::text::bytea)
FROM generate_series(1, {rows}) AS n;
INSERT INTO budget.accounts (book, source, id, budget_id, name, type, currency, balance)
SELECT 'home', 'ynab', account_id, 'b', account_id, 'checking', 'USD', sum(amount)
FROM budget.transactions GROUP BY account_id;
ANALYZE
"""


class Simulator:
    """`python -m compose.simulators` as a process; `told` is what it says of itself."""

    def __init__(self, child: Child, told: dict[str, Any]) -> None:
        self._child = child
        self.told = told

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self._child.pid)

    async def do(self, order: str, **args: Any) -> Any:
        """An order at its control interface."""
        host = self.told["base_url"].removesuffix("/v1")

        def ask() -> Any:
            body = json.dumps({"do": order, "args": args}).encode()
            asked = urllib.request.Request(f"{host}/_control", body)
            with urllib.request.urlopen(asked) as answer:
                return json.load(answer)["result"]

        return await asyncio.to_thread(ask)

    async def polls(self) -> tuple[int, int]:
        """(requests that ask for news, all requests) so far."""
        seen = await self.do("requests")
        return sum("last_knowledge_of_server" in each["query"] for each in seen), len(seen)


def _said(log: Path) -> str:
    return log.read_text()


@contextlib.asynccontextmanager
async def simulator(log: Path, *words: str) -> AsyncIterator[Simulator]:
    """One that listens; ended after the block."""
    where = f"PYTHONPATH={REPOSITORY}"
    child = Child(["/usr/bin/env", where, sys.executable, "-m", "compose.simulators", *words], log)
    try:

        async def listens() -> bool:
            return _said(log).endswith("}\n")

        await until(listens, SIMULATOR_SECONDS_MAX, "the simulator")
        yield Simulator(child, json.loads(_said(log)))
    finally:
        await child.kill()


async def ynab(bed: Bed) -> Result:
    """A plan's first read; a delta; polls in which nothing changed."""
    words = ("--transactions", str(PLAN_TRANSACTIONS), "--years", str(PLAN_YEARS))
    async with simulator(bed.stack.folder / "ynab.log", "ynab", *words) as sim:
        told = sim.told
        config = f'[sources.ynab]\ntype = "ynab"\ntoken = "{told["token"]}"\n'
        config += f'base_url = "{told["base_url"]}"\npoll_seconds = 1\n'
        async with bed.field(0, config) as field:
            result = await _first_read(field, sim, PLAN_TRANSACTIONS)
            result["delta"] = await _delta(field, sim)
            result["idle"] = await _idle(sim)
            result["peak_rss_mb"] = _peaks(field)
            return result


async def plaid(bed: Bed) -> Result:
    """The first sync of many connections."""
    words = ("--transactions", str(ITEM_TRANSACTIONS), "--items", str(ITEMS))
    years = ("--years", str(ITEM_YEARS))
    async with simulator(bed.stack.folder / "plaid.log", "plaid", *words, *years) as sim:
        told = sim.told
        items = ", ".join(
            f'{{ name = "{name}", access_token = "{token}" }}'
            for name, token in zip(
                (f"bank{number}" for number in range(ITEMS)),
                told["access_tokens"].values(),
                strict=True,
            )
        )
        config = f'[sources.bank]\ntype = "plaid"\nclient_id = "{told["client_id"]}"\n'
        config += f'secret = "{told["secret"]}"\nbase_url = "{told["base_url"]}"\n'
        async with bed.field(0, config + f"items = [{items}]\n") as field:
            return await _first_read(field, sim, ITEMS * ITEM_TRANSACTIONS)


async def validation(bed: Bed) -> Result:
    """`cdc jobs run validate` over a sound budget, by the runner in `cdc run`."""
    async with bed.field(0) as field:
        fill = _FILL.format(rows=VALIDATED_TRANSACTIONS, accounts=VALIDATED_ACCOUNTS)
        await field.postgres.execute(fill)
        await field.settle()
        field.start()
        words = ["jobs", "run", "validate", "--wait", "--json"]
        async with sampling(field.cpu) as samples:
            await run_to_end(words, field.environment, bed.stack.folder / "validate.log")
        (row,) = await field.postgres.fetch(
            "SELECT extract(epoch FROM finished_at - started_at)::float8 AS seconds, result"
            " FROM sync.jobs WHERE kind = 'validate' AND state = 'done'"
        )
        return {
            "transactions": VALIDATED_TRANSACTIONS,
            "seconds": row["seconds"],
            "report": orjson.loads(row["result"]),
            "cpu_seconds": samples.whole(),
            "peak_rss_mb": _peaks(field),
        }


async def _first_read(field: Field, sim: Simulator, transactions: int) -> Result:
    """Both processes start cold; until no row of any table comes any more."""
    before = sim.cpu_seconds
    async with sampling(field.cpu) as samples:
        began = field.start()
        rows = await _all_rows(field, transactions)
    (row,) = await field.postgres.fetch(f"SELECT max(at) AS last FROM ({_COMMITTED}) AS each")
    last = row["last"].timestamp()
    return {
        "rows": rows,
        "seconds": last - began,
        "cpu_us": _per_row(samples, rows, began, last),
        "events_per_second": rows / (last - began),
        "simulator_cpu_seconds": sim.cpu_seconds - before,
        "peak_rss_mb": _peaks(field),
    }


def _per_row(samples: Samples, rows: int, start: float, end: float) -> dict[str, float]:
    return {stage: cpu * 1e6 / rows for stage, cpu in samples.between(start, end).items()}


async def _all_rows(field: Field, transactions: int) -> int:
    seen, since = 0, time.monotonic()

    async def there() -> bool:
        nonlocal seen, since
        field.check()
        await asyncio.sleep(POLL_SECONDS * 4)
        rows = int(await field.postgres.fetchval(f"SELECT {_ROWS}"))
        if rows != seen:
            seen, since = rows, time.monotonic()
        return rows > transactions and time.monotonic() - since > QUIET_SECONDS

    await until(there, READ_SECONDS_MAX, f"the rows of {transactions} transactions")
    return seen


async def _delta(field: Field, sim: Simulator) -> Result:
    """So many edits at YNAB: from the poll that sees them (the rows' source time) to the rows."""
    ids = await field.postgres.fetch(
        "SELECT id FROM budget.transactions ORDER BY date DESC, id LIMIT $1", CHANGES
    )
    for row in ids:
        await sim.do("edit_transaction", id=row["id"], memo="changed")
    found: dict[str, Any] = {}

    async def there() -> bool:
        field.check()
        await asyncio.sleep(POLL_SECONDS)
        found.update((await field.postgres.fetch(_DELTA))[0])
        return bool(found["rows"] >= CHANGES)

    await until(there, READ_SECONDS_MAX, "the rows of a delta")
    return {"rows": found["rows"], "seconds": found["seconds"]}


async def _idle(sim: Simulator) -> Result:
    """Requests by poll while nothing changes."""
    polls, requests = await sim.polls()
    found = (polls, requests)

    async def enough() -> bool:
        nonlocal found
        await asyncio.sleep(1.0)
        found = await sim.polls()
        return found[0] - polls >= POLLS_WATCHED

    await until(enough, READ_SECONDS_MAX, "further polls")
    return {"requests_per_poll": (found[1] - requests) / (found[0] - polls)}


def _peaks(field: Field) -> dict[str, float]:
    return {stage: peak / MB for stage, peak in field.peak_rss_bytes().items()}
