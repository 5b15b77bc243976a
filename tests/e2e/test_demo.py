"""The demo's own judgement (right books pass, one broken value does not), and whole demos."""

import asyncio
import json
import random
import re
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import psutil
import pytest
from pymongo import AsyncMongoClient

from compose.demo import compare
from compose.demo.company import Company
from compose.demo.life import Life
from compose.stack.names import REPOSITORY, Place
from compose.stack.process import until
from schemas.sql import migrations

BOOK, SOURCE, PAYMENTS = "acme", "property", 500
SMALL = ("--payments", "1000")
GONE_SECONDS_MAX = 10.0
LINEAGE = {"version": b"\1", "topic": "t", "partition": 0, "offset": 1}


class Books:
    """A company in MongoDB and its rows in PostgreSQL, written by neither source nor consumer."""

    def __init__(
        self, client: AsyncMongoClient[dict[str, Any]], postgres: asyncpg.Connection
    ) -> None:
        self.mongo = client.get_default_database()
        self.postgres = postgres
        self.life = Life(client, Company(random.Random(7), PAYMENTS))

    async def write(self) -> None:
        await self.life.found()
        for migration in migrations():
            await self.postgres.execute(migration.text)
        async for each in self.mongo.properties.find():
            await self._insert("properties", each["_id"], compare.property_row(each, "USD"))
        async for each in self.mongo.users.find():
            await self._insert("owners", each["_id"], compare.owner_row(each))
        async for each in self.mongo.payments.find():
            row = compare.transaction_row(each, BOOK, SOURCE, "USD")
            await self._insert("transactions", each["_id"], row)

    async def _insert(self, table: str, id_: object, row: compare.Row) -> None:
        values = {"book": BOOK, "source": SOURCE, "id": compare.id_text(id_), **row, **LINEAGE}
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self.postgres.execute(
            f"INSERT INTO accounting.{table} ({names}, source_time) VALUES ({places}, now())",
            *values.values(),
        )

    async def compared(self) -> compare.Comparison:
        return await compare.compare(self.mongo, self.postgres, BOOK, SOURCE)


@pytest.fixture
async def books(mongo_database: str, database: str) -> AsyncIterator[Books]:
    postgres = await asyncpg.connect(database)
    async with AsyncMongoClient[dict[str, Any]](mongo_database) as client:
        mine = Books(client, postgres)
        await mine.write()
        yield mine
    await postgres.close()


BROKEN = {
    "an amount": "UPDATE {transactions} SET amount = amount + 0.01 WHERE {one}",
    "a status": "UPDATE {transactions} SET status = 'lost' WHERE {one}",
    "settled or not": "UPDATE {transactions} SET settled = NOT settled WHERE {one}",
    "a hash": "UPDATE {transactions} SET transaction_hash = '\\x00' WHERE {one}",
    "a row's origin": "UPDATE {transactions} SET topic = NULL WHERE {one}",
    "a row marked deleted": "UPDATE {transactions} SET deleted = true WHERE {one}",
    "a missing row": "DELETE FROM {transactions} WHERE {one}",
    "a row too many": "UPDATE {transactions} SET id = 'nobody' WHERE {one}",
    "an owner's name": "UPDATE accounting.owners SET name = 'X' WHERE id ="
    " (SELECT min(id) FROM accounting.owners)",
    "an address": "UPDATE accounting.properties SET address = NULL WHERE id ="
    " (SELECT min(id) FROM accounting.properties)",
    "a balance": "UPDATE accounting.account_totals SET income = income + 1 WHERE property_id ="
    " (SELECT min(property_id) FROM accounting.account_totals)",
}


async def test_right_books_are_equal(books: Books) -> None:
    found = await books.compared()
    assert found.differences == ()
    assert found.rows == PAYMENTS + 300 + 400
    assert found.accounts == 400


@pytest.mark.parametrize("what", BROKEN)
async def test_one_broken_value_is_found(books: Books, what: str) -> None:
    one = "id = (SELECT min(id) FROM accounting.transactions WHERE settled)"
    query = BROKEN[what].format(transactions="accounting.transactions", one=one)
    assert (await books.postgres.execute(query)).endswith(" 1")

    assert (await books.compared()).differences


async def test_a_change_that_never_arrived_is_found(books: Books) -> None:
    for _ in range(10):
        await books.life.step()
    assert (await books.compared()).differences


async def test_a_document_that_cannot_be_mapped_is_no_difference(books: Books) -> None:
    await books.mongo.payments.insert_one({"_id": "INV-no-amount"})
    found = await books.compared()
    assert (found.differences, found.unmappable) == ((), 1)


class Demo:
    """`python -m compose.demo` as a process, read line by line."""

    def __init__(self, process: Process, name: str) -> None:
        self.process = process
        self.name = name
        self.lines: list[str] = []

    async def until(self, words: str) -> None:
        """Read until a line has these words."""
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            self.lines.append(line)
            if words in line:
                return
        pytest.fail(f"the demo ended without saying {words!r}:\n{self.text}")

    async def end(self) -> dict[str, Any]:
        """Read to the end; the object of the last line."""
        assert self.process.stdout is not None
        rest = (await self.process.stdout.read()).decode()
        self.lines += rest.splitlines(keepends=True)
        await self.process.wait()
        found: dict[str, Any] = json.loads(self.lines[-1])
        return found

    @property
    def text(self) -> str:
        return "".join(self.lines)

    @property
    def remains(self) -> list[str]:
        """Processes and folders that should be gone."""
        folder = Place(self.name).folder
        left = [str(folder)] if folder.exists() else []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if f"/{self.name}/" in line or f"={self.name}-" in line:
                left.append(line)
        return left

    async def gone(self) -> None:
        """Fails where something stays; who was killed may take a moment to vanish."""

        async def nothing_left() -> bool:
            return not self.remains

        await until(nothing_left, GONE_SECONDS_MAX, f"the end of all of {self.name}")


@pytest.fixture
async def begin() -> AsyncIterator[Any]:
    """Starts a demo; ended after the test, whatever became of it."""
    begun: list[Demo] = []

    async def start(*words: str) -> Demo:
        name = f"demo-{uuid.uuid4().hex[:8]}"
        command = (sys.executable, "-m", "compose.demo", "--name", name, *words)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=REPOSITORY, stdout=PIPE, stderr=STDOUT
        )
        begun.append(Demo(process, name))
        return begun[-1]

    yield start
    for each in begun:
        if each.process.returncode is None:
            each.process.terminate()
            each.process.terminate()
            await each.process.wait()


async def test_a_bounded_demo_ends_with_equal_books_and_leaves_nothing(begin: Any) -> None:
    demo = await begin("--for", "12s")
    outcome = await demo.end()

    assert demo.process.returncode == 0, demo.text
    assert outcome["ok"] is True
    assert outcome["differences"] == 0
    assert outcome["kills"] == 2
    assert outcome["rows"] > 30_000
    assert outcome["changes"] > 50
    assert 0 < outcome["p50_ms"] <= outcome["p99_ms"]
    assert outcome["events_per_second"] > 0
    assert outcome["feed_rows"] > 900
    assert outcome["purchase_counted_once"] is True
    await demo.gone()


DAMAGE = {
    "an account's amounts": (
        "UPDATE accounting.transactions SET amount = amount + 0.01 WHERE id IN"
        " (SELECT id FROM accounting.transactions ORDER BY id LIMIT 20)",
        "DIFFERENT: transactions",
    ),
    "a bank's amount": (
        "UPDATE budget.transactions SET amount = amount + 0.01 WHERE source = 'bank' AND id ="
        " (SELECT id FROM budget.transactions WHERE source = 'bank' ORDER BY date, id LIMIT 1)",
        "DIFFERENT: budget.transactions",
    ),
    "a payee's name": (
        "UPDATE budget.payees SET name = 'X' WHERE id ="
        " (SELECT min(id) FROM budget.payees WHERE source = 'household')",
        "DIFFERENT: budget.payees",
    ),
    "the match": ("UPDATE budget.matches SET state = 'rejected'", "counted 2 times"),
}


async def test_a_demo_whose_rows_are_damaged_fails_and_names_each(begin: Any) -> None:
    """Any one of these is enough (`tests/unit/test_demo_outcome.py`); a demo takes long."""
    demo = await begin("--for", "4s", *SMALL)
    await demo.until("is counted once")
    (port,) = re.findall(r"PostgreSQL \S+ answers on 127.0.0.1:(\d+)", demo.text)
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/ledger")
    for query, _ in DAMAGE.values():
        assert not (await connection.execute(query)).endswith(" 0")
    await connection.close()
    outcome = await demo.end()

    assert demo.process.returncode == 1, demo.text
    assert outcome["ok"] is False
    assert outcome["differences"] >= len(DAMAGE)
    assert [what for what, (_, said) in DAMAGE.items() if said not in demo.text] == []
    assert outcome["purchase_counted_once"] is False
    await demo.gone()


async def test_an_interrupted_demo_compares_and_ends_clean(begin: Any) -> None:
    demo = await begin(*SMALL)
    await demo.until("documents are rows")
    await demo.until("in Postgres")
    demo.process.send_signal(signal.SIGINT)
    outcome = await demo.end()

    assert demo.process.returncode == 0, demo.text
    assert (outcome["ok"], outcome["differences"]) == (True, 0)
    await demo.gone()


async def test_interrupted_before_there_is_anything_to_compare(begin: Any) -> None:
    demo = await begin(*SMALL)
    await demo.until("starting MongoDB")
    demo.process.send_signal(signal.SIGTERM)
    outcome = await demo.end()

    assert demo.process.returncode == 0, demo.text
    assert (outcome["ok"], outcome["differences"]) == (None, None)
    await demo.gone()


async def test_a_second_signal_ends_at_once(begin: Any) -> None:
    demo = await begin(*SMALL)
    await demo.until("`cdc consume` started")
    demo.process.send_signal(signal.SIGSTOP)  # both are there before it looks
    demo.process.send_signal(signal.SIGINT)
    demo.process.send_signal(signal.SIGTERM)
    demo.process.send_signal(signal.SIGCONT)
    await demo.process.wait()

    assert demo.process.returncode in (130, 143), demo.text
    await demo.gone()
