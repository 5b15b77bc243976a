"""The company's documents, in the shape of contract.md 5, with the warts of a grown database.

Amounts are Decimal128, int and double; a property's owner is an ObjectId, its hex text or the
owner's whole document; dates stand under three names and sometimes in text; currencies are missing
or in lower case; statuses are written in different cases. All of it is allowed, none may be
guessed. Fields that nobody maps (password hashes, tenants' notes) must never leave MongoDB.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

from compose.demo.words import CITIES, FIRST_NAMES, KINDS, LAST_NAMES, REPAIRS, STREETS

Document = dict[str, Any]

OWNERS, PROPERTIES, PAYMENTS = 300, 400, 30_000
HISTORY_DAYS = 5 * 365
# Type of a payment, how often in a thousand, and its share of the property's rent.
PAYMENT_TYPES: tuple[tuple[str | None, int, float], ...] = (
    ("rent", 640, 1.0),
    ("deposit", 30, 2.0),
    ("late_fee", 40, 0.05),
    ("fee", 30, 0.1),
    ("payment", 20, 0.5),
    ("income", 10, 0.3),
    ("management_fee", 70, 0.08),
    ("repair", 50, 0.4),
    ("maintenance", 40, 0.2),
    ("owner_payout", 40, 0.7),
    ("expense", 10, 0.1),
    ("parking", 10, 0.06),  # a word of the house: becomes `other`
    (None, 10, 1.0),
)
STATUSES = (("completed", 70), ("Paid", 10), ("settled", 5), ("pending", 8), ("failed", 3))
METHODS = ("bank_transfer", "card", "direct_debit", "cash", None)


@dataclass
class Company:
    """What the demo remembers of the documents it wrote; MongoDB alone has the truth."""

    rng: random.Random
    history: int = PAYMENTS
    """Payments that it has seen before the demo begins."""
    owners: dict[Any, str] = field(default_factory=dict)
    """By id: the person's name."""
    properties: dict[Any, Document] = field(default_factory=dict)
    payments: dict[Any, Document] = field(default_factory=dict)

    def found(self) -> dict[str, list[Document]]:
        """The documents of a company that has been at it for years, by collection."""
        users = [self.owner() for _ in range(OWNERS)]
        properties = [self.property() for _ in range(PROPERTIES)]
        now = datetime.now(UTC)
        payments = []
        for number in range(self.history):
            paid = now - timedelta(days=HISTORY_DAYS * (1 - number / self.history))
            payments.append(self.payment(paid, legacy=number < self.history // 10))
        return {"users": users, "properties": properties, "payments": payments}

    def owner(self) -> Document:
        first, last = self.rng.choice(FIRST_NAMES), self.rng.choice(LAST_NAMES)
        document: Document = {"_id": ObjectId()}
        if self.rng.random() < 0.5:
            document["name"] = f"{first} {last}"
        else:
            document |= {"firstName": first, "lastName": last}
        document |= {
            "email": f"{first}.{last}@example.org".lower(),
            "role": self.rng.choice(("owner", "owner", "owner", "manager")),
            "passwordHash": self.rng.randbytes(16).hex(),
        }
        if self.rng.random() < 0.7:
            document["phone"] = f"+1 555 {self.rng.randrange(10_000_000):07d}"
        self.owners[document["_id"]] = f"{first} {last}"
        return document

    def property(self) -> Document:
        street = f"{self.rng.randrange(1, 200)} {self.rng.choice(STREETS)}"
        city, state, postcode = self.rng.choice(CITIES)
        country = "US" if state else "ES"
        owner_id = self.rng.choice(list(self.owners))
        document: Document = {
            "_id": ObjectId(),
            "name": f"{self.rng.choice(KINDS)} {street}",
            "address": {"street": street, "city": city, "country": country},
            "ownerId": self._owner_reference(owner_id),
            "rent": self.rng.randrange(450, 4200, 25),
            "alarmCode": f"{self.rng.randrange(10_000):04d}",
        }
        if self.rng.random() < 0.3:
            document["address"] = f"{street}, {city}"
        else:
            document["address"] |= {"state": state} if state else {}
            document["address"] |= {"zip": postcode} if postcode else {}
        currency = self.rng.choice(("USD", None)) if state else self.rng.choice(("EUR", "eur"))
        if currency:
            document["currency"] = currency
        self.properties[document["_id"]] = document
        return document

    def _owner_reference(self, owner_id: ObjectId) -> Any:
        chance = self.rng.random()
        if chance < 0.6:
            return owner_id
        if chance < 0.8:
            return str(owner_id)
        return {"_id": owner_id, "name": self.owners[owner_id]}  # "populated", by some library

    def payment(self, paid: datetime, *, legacy: bool = False, kind: str | None = "") -> Document:
        """A payment on that day; `legacy` ones have ids and dates of an older system."""
        rng = self.rng
        if kind == "":
            weights = [weight for _, weight, _ in PAYMENT_TYPES]
            kind = rng.choices([each for each, _, _ in PAYMENT_TYPES], weights)[0]
        share = next(part for each, _, part in PAYMENT_TYPES if each == kind)
        place = self._some_property()
        cents = round(place["rent"] * 100 * share * rng.uniform(0.9, 1.1))
        document: Document = {
            "_id": self._payment_id(legacy),
            "propertyId": self._property_reference(place),
            "amount": self._amount(cents),
            "description": self._description(kind),
            "tenant": {"note": "private", "iban": f"ES{rng.randrange(10**10)}"},
        }
        if kind is not None:
            document["type"] = kind
        currency = str(place.get("currency", "USD")).upper()
        if currency != "USD" or rng.random() < 0.5:
            document["currency"] = currency
        if rng.random() < 0.003:
            document["currency"] = "GBP"  # kept and reported, in no account's sums
        status = rng.choices([each for each, _ in STATUSES], [part for _, part in STATUSES])[0]
        document |= {} if rng.random() < 0.04 else {"status": status}
        document |= self._dates(paid, legacy)
        document["method"] = rng.choice(METHODS)
        document["reference"] = f"R{rng.randrange(10**8):08d}"
        self.payments[document["_id"]] = document
        return document

    def _some_property(self) -> Document:
        """A few houses have many tenants: they are the busy accounts."""
        places = list(self.properties.values())
        return places[min(int(self.rng.expovariate(5 / len(places))), len(places) - 1)]

    def _payment_id(self, legacy: bool) -> Any:
        if not legacy:
            return ObjectId()
        number = len(self.payments)
        return number if number % 10 == 0 else f"INV-{number:06d}"

    def _property_reference(self, place: Document) -> Any:
        chance = self.rng.random()
        if chance < 0.85:
            return place["_id"]
        return str(place["_id"]) if chance < 0.97 else {"_id": place["_id"], "name": place["name"]}

    def _amount(self, cents: int) -> Any:
        chance = self.rng.random()
        if chance < 0.8:
            return Decimal128(Decimal(cents).scaleb(-2))
        return cents / 100 if chance < 0.9 else cents // 100

    def _description(self, kind: str | None) -> str:
        if kind in ("repair", "maintenance"):
            return self.rng.choice(REPAIRS)
        text = (kind or "payment").replace("_", " ")
        # What people type: tabs, quotes, back-slashes, lines.
        return text + self.rng.choice(("", "", "", " – thank you", "\tpaid\\late", ' "cash"\nok'))

    def _dates(self, paid: datetime, legacy: bool) -> Document:
        if legacy and self.rng.random() < 0.5:
            return {"date": paid.date().isoformat()}
        if legacy:
            return {"date": None, "paidAt": paid.strftime("%Y-%m-%dT%H:%M:%SZ")}
        chance = self.rng.random()
        if chance < 0.6:
            return {"date": paid, "dueDate": paid - timedelta(days=3)}
        return {"paidAt": paid} if chance < 0.8 else {"dueDate": paid}
