"""The demo's own judgement: right books pass, one broken value does not."""

import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from pymongo import AsyncMongoClient

from compose.demo import compare
from compose.demo.company import Company
from compose.demo.life import Life
from schemas.sql import migrations

BOOK, SOURCE, PAYMENTS = "acme", "property", 500
LINEAGE = {"version": b"\1", "topic": "t", "partition": 0, "offset": 1}


class Books:
    """A company in MongoDB and its rows in PostgreSQL, written by neither source nor consumer."""

    def __init__(
        self, client: AsyncMongoClient[dict[str, Any]], postgres: asyncpg.Connection
    ) -> None:
        self.mongo = client.get_default_database()
        self.postgres = postgres
        self.life = Life(client, Company(random.Random(7)))

    async def write(self) -> None:
        await self.life.found(PAYMENTS)
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
