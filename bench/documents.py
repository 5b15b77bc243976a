"""The documents of the benchmark: rental payments of 13 fields and about 320 bytes.

Values are random where a real company's vary (ids, amounts, words, references), constant where
they do not.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from bson import Decimal128, ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

Document = dict[str, Any]
WRITE_BATCH = 2_000
_WORDS = "march april rent flat late early bank part advance share garage key water heat".split()
_START = datetime(2024, 1, 1, tzinfo=UTC)


def _amount(rng: random.Random) -> Decimal128:
    return Decimal128(Decimal(rng.randrange(10_000, 500_000)).scaleb(-2))


def payment(rng: random.Random, property_id: ObjectId) -> Document:
    """A rent that was paid."""
    day = _START + timedelta(minutes=rng.randrange(1_000_000))
    return {
        "_id": ObjectId(),
        "propertyId": property_id,
        "tenantId": ObjectId(),
        "amount": _amount(rng),
        "currency": "EUR",
        "type": "rent",
        "status": "completed",
        "method": "bank_transfer",
        "reference": f"{rng.randrange(1 << 48):012x}",
        "description": " ".join(rng.choices(_WORDS, k=6)),
        "date": day,
        "dueDate": day,
        "createdAt": day,
    }


class Writer:
    """Writes a company's documents into one database and remembers their ids."""

    def __init__(self, database: AsyncDatabase[Document], seed: int) -> None:
        self._database = database
        self._rng = random.Random(seed)
        self.properties: list[ObjectId] = []
        self.payments: list[ObjectId] = []

    async def write_properties(self, count: int) -> None:
        """Houses, which are the accounts."""
        self.properties = [ObjectId() for _ in range(count)]
        documents = (
            {"_id": id_, "name": f"House {number}", "address": f"{number} Elm Street"}
            for number, id_ in enumerate(self.properties)
        )
        await self._insert("properties", documents)

    def payment(self) -> Document:
        """One more, not written yet; its account is any, at random."""
        document = payment(self._rng, self._rng.choice(self.properties))
        self.payments.append(document["_id"])
        return document

    async def insert_payments(self, count: int) -> None:
        """So many new ones."""
        await self._insert("payments", (self.payment() for _ in range(count)))

    async def update_payments(self, count: int) -> None:
        """Another amount and another description for the first `count`, each by its own update."""
        changes = (
            UpdateOne(
                {"_id": id_},
                {
                    "$set": {
                        "amount": _amount(self._rng),
                        "description": " ".join(self._rng.choices(_WORDS, k=6)),
                    }
                },
            )
            for id_ in islice(self.payments, count)
        )
        for batch in _batched(changes):
            await self._database.payments.bulk_write(batch, ordered=False)

    async def _insert(self, collection: str, documents: Iterator[Document]) -> None:
        for batch in _batched(documents):
            await self._database[collection].insert_many(batch, ordered=False)


def _batched(things: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(things, WRITE_BATCH)):
        yield batch
