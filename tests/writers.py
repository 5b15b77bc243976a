"""A seeded writer: small, dense and awkward on purpose, every write acknowledged by a majority.

Few documents and many changes, so that keys are hot; several types of `_id`; transactions that
write one document several times; documents that do not map; fields that nobody maps, each with a
canary in it. The truth is MongoDB's alone: read the documents, and its history.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

Document = dict[str, Any]

CANARY = "canary-of-what-nobody-maps"
LIVE_MAX = 60
"""Above so many documents of a collection deletes outweigh inserts."""
KINDS = ("rent", "fee", "repair", "management_fee", "owner_payout", "parking", None)
STATUSES = ("completed", "Paid", "pending", None)
PAUSE_SECONDS = 0.01


@dataclass
class Writer:
    """`step` makes one change; `run` makes them until told to stop.

    `written` counts changes, `unsure` those that were not answered; `unmappable` is how many of a
    hundred payments have no amount.
    """

    client: "AsyncMongoClient[Document]"
    database_name: str
    seed: int
    unmappable: int = 3
    written: int = 0
    unsure: int = 0
    ids: dict[str, list[Any]] = field(
        default_factory=lambda: {"payments": [], "properties": [], "users": []}
    )

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.database: AsyncDatabase[Document] = self.client[self.database_name]
        self._number = 0

    async def found(self, count: int = 40) -> None:
        """The documents that are there before anybody looks."""
        for collection, share in (("users", 4), ("properties", 4), ("payments", 1)):
            documents = [self._document(collection) for _ in range(max(1, count // share))]
            await self.database[collection].insert_many(documents)
            self.written += len(documents)

    async def run(self, stop: asyncio.Event, pause_seconds: float = PAUSE_SECONDS) -> None:
        """Until told to stop; a step that has begun is ended."""
        while not stop.is_set():
            try:
                await self.step()
            except PyMongoError:  # the server went away: done or not, its history tells
                self.unsure += 1
            await asyncio.sleep(pause_seconds * self.rng.uniform(0.2, 2))

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.step()

    async def step(self) -> None:
        """One change, or several in one transaction."""
        ways: tuple[tuple[Callable[[], Awaitable[None]], int], ...] = (
            (self.insert, 30),
            (self.update, 30),
            (self.replace, 10),
            (self.delete, 40 if len(self.ids["payments"]) > LIVE_MAX else 15),
            (self.transaction, 10),
            (self.replay_id, 3),
        )
        (way,) = self.rng.choices([way for way, _ in ways], [weight for _, weight in ways])
        await way()

    async def insert(self, session: AsyncClientSession | None = None) -> None:
        collection = self._some_collection()
        document = self._document(collection)
        await self.database[collection].insert_one(document, session=session)
        self.written += 1

    async def update(self, session: AsyncClientSession | None = None) -> None:
        collection, id_ = self._someone()
        change = self._change(collection)
        await self.database[collection].update_one({"_id": id_}, change, session=session)
        self.written += 1

    async def replace(self) -> None:
        collection, id_ = self._someone()
        document = self._content(collection) | {"_id": id_}
        await self.database[collection].replace_one({"_id": id_}, document)
        self.written += 1

    async def delete(self, session: AsyncClientSession | None = None) -> None:
        collection, id_ = self._someone()
        self.ids[collection].remove(id_)
        await self.database[collection].delete_one({"_id": id_}, session=session)
        self.written += 1

    async def replay_id(self) -> None:
        """A document that goes and comes again under the same id."""
        collection, id_ = self._someone()
        await self.database[collection].delete_one({"_id": id_})
        await self.database[collection].insert_one(self._content(collection) | {"_id": id_})
        self.written += 2

    async def mend(self) -> None:
        """Every document maps again."""
        amount = {"$set": {"amount": Decimal128("12.34")}}
        mended = await self.database.payments.update_many({"amount": {"$exists": False}}, amount)
        self.written += mended.modified_count

    async def transaction(self) -> None:
        """All of it shares one cluster time; some of it hits one document again and again."""
        async with self.client.start_session() as session, await session.start_transaction():
            hot = self._document("payments")
            await self.database.payments.insert_one(hot, session=session)
            for _ in range(self.rng.randrange(3)):
                change = self._change("payments")
                await self.database.payments.update_one(
                    {"_id": hot["_id"]}, change, session=session
                )
            await self.insert(session)
            await self.update(session)
            if self.rng.random() < 0.4:
                self.ids["payments"].remove(hot["_id"])
                await self.database.payments.delete_one({"_id": hot["_id"]}, session=session)
            self.written += 2

    def _some_collection(self) -> str:
        return self.rng.choices(("payments", "properties", "users"), (8, 1, 1))[0]

    def _someone(self) -> tuple[str, Any]:
        """An id, most often one of the newest: the hot ones."""
        collection = self._some_collection()
        ids = self.ids[collection]
        if len(ids) < 3:
            collection, ids = "payments", self.ids["payments"]
        return collection, ids[-1 - min(int(self.rng.expovariate(0.2)), len(ids) - 1)]

    def _document(self, collection: str) -> Document:
        id_ = self._new_id()
        self.ids[collection].append(id_)
        return {"_id": id_, **self._content(collection)}

    def _new_id(self) -> Any:
        self._number += 1
        kind = self.rng.random()
        if kind < 0.7:
            return ObjectId()
        return self._number if kind < 0.85 else f"INV-{self._number:06d}"

    def _content(self, collection: str) -> Document:
        rng = self.rng
        private = {"secret": f"{CANARY} {rng.randrange(10**6)}"}
        if collection == "users":
            return {"name": f"Owner {rng.randrange(1000)}", "role": "owner", **private}
        if collection == "properties":
            owner = rng.choice(self.ids["users"]) if self.ids["users"] else ObjectId()
            address = {"street": f"{rng.randrange(99)} Main St", "city": "Vigo", "pin": CANARY}
            document = {"name": f"House {rng.randrange(1000)}", "ownerId": owner}
            return {**document, "address": address, **private}
        return {**self._payment(), **private}

    def _payment(self) -> Document:
        rng = self.rng
        places = self.ids["properties"]
        paid = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(10**6))
        document: Document = {
            "propertyId": rng.choice(places) if places and rng.random() < 0.95 else None,
            "amount": Decimal128(Decimal(rng.randrange(1, 10**7)).scaleb(-2)),
            "date": paid,
            "description": rng.choice(("rent", 'tab\tand "quote"\\', "– gràcies", "")),
            "method": rng.choice(("card", "cash", None)),
            "tenant": {"note": CANARY},
        }
        for name, value in (("type", rng.choice(KINDS)), ("status", rng.choice(STATUSES))):
            if value is not None:
                document[name] = value
        if rng.random() < 0.2:
            document["currency"] = "EUR"
        if rng.randrange(100) < self.unmappable:
            del document["amount"]
        return document

    def _change(self, collection: str) -> Document:
        rng = self.rng
        if collection != "payments":
            return {"$set": {"name": f"Renamed {rng.randrange(10**6)}"}}
        if rng.random() < 0.3:
            return {"$set": {"status": rng.choice(("completed", "failed"))}}
        amount = Decimal128(Decimal(rng.randrange(1, 10**7)).scaleb(-2))
        return {"$set": {"amount": amount, "reference": f"R{rng.randrange(10**6)}"}}
