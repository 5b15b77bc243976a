"""What happens to the company: one step is one small event of a working day, written to MongoDB."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from compose.demo.company import Company, Document

RENT_DAY_PAYMENTS = 120
FIRST_OWNERS_KEPT = 50
"""So many owners are never dismissed, so that there is always one to take over a house."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One change of one document. `began`: Unix seconds just before it was written."""

    collection: str
    id: Any
    what: str
    began: float
    mappable: bool = True


class Life:
    """Writes happenings with majority, and remembers the company as it now is."""

    def __init__(self, client: AsyncMongoClient[Document], company: Company) -> None:
        self._client = client
        self._database: AsyncDatabase[Document] = client.get_default_database()
        self._company = company
        self._rng: random.Random = company.rng
        self._unreadable: Document | None = None
        self._steps: tuple[tuple[Callable[[], Awaitable[list[Happening]]], int], ...] = (
            (self._pay, 48),
            (self._settle, 12),
            (self._correct, 9),
            (self._refund, 6),
            (self._move, 6),
            (self._rent_and_fee, 5),
            (self._rename_owner, 4),
            (self._delete_payment, 4),
            (self._sell_house, 2),
            (self._buy_house, 2),
            (self._lose_house, 1),
            (self._dismiss_owner, 1),
            (self._mistype, 1),
        )

    async def found(self) -> int:
        """Write the whole company; how many documents."""
        documents = self._company.found()
        for collection, rows in documents.items():
            await self._database[collection].insert_many(rows, ordered=False)
        return sum(map(len, documents.values()))

    async def step(self) -> list[Happening]:
        """Let one thing happen."""
        if self._unreadable is not None and self._rng.random() < 0.05:
            return await self.mend()
        steps = [step for step, _ in self._steps]
        (chosen,) = self._rng.choices(steps, [weight for _, weight in self._steps])
        return await chosen()

    async def rent_day(self) -> list[Happening]:
        """Many pay at once."""
        payments = [self._new_payment("rent") for _ in range(RENT_DAY_PAYMENTS)]
        began = time.time()
        await self._database.payments.insert_many(payments)
        return [
            Happening("payments", each["_id"], self._said("rent day:", each), began)
            for each in payments
        ]

    async def mend(self) -> list[Happening]:
        """Write the amount that was forgotten, if any was."""
        if (document := self._unreadable) is None:
            return []
        self._unreadable = None
        amount = Decimal128(Decimal(self._rng.randrange(10_000, 99_999)).scaleb(-2))
        self._company.payments[document["_id"]] = document | {"amount": amount}
        return await self._set_payment(document["_id"], {"amount": amount}, "amount filled in:")

    def _new_payment(self, kind: str | None = "") -> Document:
        return self._company.payment(datetime.now(UTC), kind=kind)

    async def _pay(self) -> list[Happening]:
        return [await self._insert_payment(self._new_payment(), "paid:")]

    async def _settle(self) -> list[Happening]:
        document = self._some_payment()
        changed = {"status": self._rng.choice(("completed", "pending", "failed"))}
        return await self._set_payment(document["_id"], changed, f"now {changed['status']}:")

    async def _correct(self) -> list[Happening]:
        document = self._some_payment()
        cents = self._rng.randrange(1_000, 300_000)
        changed = {"amount": Decimal128(Decimal(cents).scaleb(-2))}
        return await self._set_payment(document["_id"], changed, "corrected:")

    async def _refund(self) -> list[Happening]:
        paid = self._some_payment()
        taken = Decimal(str(paid["amount"])) * -1
        document = {
            **paid,
            "_id": ObjectId(),
            "amount": Decimal128(taken),
            "status": "completed",
            "description": f"refund of {paid.get('reference')}",
        }
        self._company.payments[document["_id"]] = document
        return [await self._insert_payment(document, "refunded:")]

    async def _move(self) -> list[Happening]:
        document = self._some_payment()
        place = self._rng.choice(list(self._company.properties.values()))
        changed = {"propertyId": place["_id"]}
        what = f"moved to {place['name']}:"
        return await self._set_payment(document["_id"], changed, what)

    async def _rent_and_fee(self) -> list[Happening]:
        """A rent and our fee on it: both or none, in one MongoDB transaction."""
        both = [self._new_payment("rent"), self._new_payment("management_fee")]
        began = time.time()
        async with self._client.start_session() as session, await session.start_transaction():
            for document in both:
                await self._database.payments.insert_one(document, session=session)
        return [
            Happening("payments", each["_id"], self._said("rent with fee:", each), began)
            for each in both
        ]

    async def _rename_owner(self) -> list[Happening]:
        owner_id = self._rng.choice(list(self._company.owners))
        first, _, last = self._company.owners[owner_id].partition(" ")
        other = self._rng.choice(list(self._company.owners.values())).rpartition(" ")[2]
        name = f"{first} {last.partition('-')[0]}-{other.rpartition('-')[2]}"
        self._company.owners[owner_id] = name
        began = time.time()
        found = await self._database.users.update_one(
            {"_id": owner_id}, {"$set": {"name": name}, "$unset": {"firstName": 1, "lastName": 1}}
        )
        if not found.modified_count:
            return []
        return [Happening("users", owner_id, f"owner renamed: {name}", began)]

    async def _delete_payment(self) -> list[Happening]:
        document = self._some_payment()
        del self._company.payments[document["_id"]]
        began = time.time()
        await self._database.payments.delete_one({"_id": document["_id"]})
        return [Happening("payments", document["_id"], self._said("deleted:", document), began)]

    async def _sell_house(self) -> list[Happening]:
        place = self._rng.choice(list(self._company.properties.values()))
        owner_id = self._rng.choice(list(self._company.owners))
        place["ownerId"] = owner_id
        began = time.time()
        found = await self._database.properties.replace_one({"_id": place["_id"]}, place)
        if not found.modified_count:
            return []
        what = f"{place['name']} sold to {self._company.owners[owner_id]}"
        return [Happening("properties", place["_id"], what, began)]

    async def _buy_house(self) -> list[Happening]:
        """The first payment is written before its house is, as happens."""
        place = self._company.property()
        payment = self._new_payment("deposit") | {"propertyId": place["_id"]}
        self._company.payments[payment["_id"]] = payment
        early = await self._insert_payment(payment, "paid before its house is known:")
        began = time.time()
        await self._database.properties.insert_one(place)
        return [early, Happening("properties", place["_id"], f"new house: {place['name']}", began)]

    async def _lose_house(self) -> list[Happening]:
        """Its payments stay: they are kept, and belong to no account."""
        place = self._company.properties.pop(self._rng.choice(list(self._company.properties)))
        began = time.time()
        await self._database.properties.delete_one({"_id": place["_id"]})
        return [Happening("properties", place["_id"], f"house given up: {place['name']}", began)]

    async def _dismiss_owner(self) -> list[Happening]:
        owner_id = self._rng.choice(list(self._company.owners)[FIRST_OWNERS_KEPT:])
        name = self._company.owners.pop(owner_id)
        began = time.time()
        await self._database.users.delete_one({"_id": owner_id})
        return [Happening("users", owner_id, f"owner left: {name}", began)]

    async def _mistype(self) -> list[Happening]:
        """A payment without its amount: must not be guessed, and must stop nobody else."""
        if self._unreadable is not None:
            return await self._pay()
        document = self._new_payment()
        self._unreadable = self._company.payments.pop(document["_id"])
        del document["amount"]
        began = time.time()
        await self._database.payments.insert_one(document)
        what = "amount forgotten: becomes a dead letter until it is filled in"
        return [Happening("payments", document["_id"], what, began, mappable=False)]

    def _some_payment(self) -> Document:
        return self._company.payments[self._rng.choice(list(self._company.payments))]

    async def _insert_payment(self, document: Document, what: str) -> Happening:
        began = time.time()
        await self._database.payments.insert_one(document)
        return Happening("payments", document["_id"], self._said(what, document), began)

    async def _set_payment(self, id_: Any, changed: Document, what: str) -> list[Happening]:
        """Nothing happens where the document says so already: MongoDB tells nobody of that."""
        document = self._company.payments[id_]
        document |= changed
        began = time.time()
        found = await self._database.payments.update_one({"_id": id_}, {"$set": changed})
        if not found.modified_count:
            return []
        return [Happening("payments", id_, self._said(what, document), began)]

    def _said(self, what: str, document: Document) -> str:
        amount = Decimal(str(document["amount"]))
        currency = document.get("currency", "USD")
        return f"{what} {document.get('type', 'payment')} {amount:,.2f} {currency}"
