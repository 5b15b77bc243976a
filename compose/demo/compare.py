"""Are the books right? Every row and balance, worked out again from the documents alone.

Knows neither mapping nor consumer: it is written from the text of the contract (the shape of the
documents, the meaning of the columns), so that a fault of theirs cannot hide in it. Nothing of
ours is imported.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncpg
from bson import DBRef, Decimal128, ObjectId
from pymongo.asynchronous.database import AsyncDatabase

Document = Mapping[str, Any]
Row = dict[str, Any]

TYPES = ("income", "expense", "owner_payout", "repair", "maintenance", "other")
INCOME = ("rent", "fee", "late_fee", "deposit", "payment")
SETTLED = ("completed", "paid", "succeeded", "settled", "posted")
LINEAGE = ("version", "source_time", "topic", "partition", "offset", "applied_at")
ACCOUNT_TABLE = "property_accounts_live"
TOTALS_TABLE = "account_totals"
SHOWN_MAX = 20


@dataclass(frozen=True)
class Difference:
    """One value that is not as the documents say; `field` is empty for a whole row."""

    table: str
    id: str
    field: str
    expected: object
    found: object

    def __str__(self) -> str:
        place = f"{self.table} {self.id}" + (f" {self.field}" if self.field else "")
        return f"{place}: should be {self.expected!r}, is {self.found!r}"


@dataclass(frozen=True)
class Comparison:
    """What was compared, and all that differs."""

    rows: int
    accounts: int
    unmappable: int
    differences: tuple[Difference, ...]


class Unmappable(Exception):
    """By the contract, the document becomes no row."""


async def compare(
    mongo: AsyncDatabase[dict[str, Any]],
    postgres: "asyncpg.Connection[asyncpg.Record]",
    book: str,
    source: str,
    currency: str = "USD",
) -> Comparison:
    """Compare every live row, account and total of the source with the documents as they are now.

    `currency` is the source's default one. Nobody may be writing meanwhile.
    """
    readers: dict[str, tuple[str, Callable[[Document], Row]]] = {
        "properties": ("properties", lambda each: property_row(each, currency)),
        "owners": ("users", owner_row),
        "transactions": (
            "payments",
            lambda each: transaction_row(each, book, source, currency),
        ),
    }
    expected: dict[str, dict[str, Row]] = {}
    unmappable = 0
    differences: list[Difference] = []
    for table, (collection, read) in readers.items():
        rows: dict[str, Row] = {}
        spared: set[str] = set()
        async for document in mongo[collection].find():
            try:
                rows[id_text(document["_id"])] = read(document)
            except Unmappable:
                spared.add(id_text(document["_id"]))  # the row keeps what it last was
        expected[table] = rows
        unmappable += len(spared)
        found = await _stored(postgres, f"accounting.{table}", book, source)
        differences += row_differences(table, rows, found, spared)
    accounts = expected_accounts(expected)
    differences += row_differences(
        ACCOUNT_TABLE,
        accounts,
        await _stored(postgres, f"accounting.{ACCOUNT_TABLE}", book, source),
    )
    if not unmappable:
        differences += await _totals_differences(postgres, book, source, expected["transactions"])
    return Comparison(sum(map(len, expected.values())), len(accounts), unmappable, (*differences,))


async def _stored(
    postgres: "asyncpg.Connection[asyncpg.Record]", table: str, book: str, source: str
) -> dict[str, Row]:
    query = f"SELECT * FROM {table} WHERE book = $1 AND source = $2"
    return {row["id"]: dict(row) for row in await postgres.fetch(query, book, source)}


async def _totals_differences(
    postgres: "asyncpg.Connection[asyncpg.Record]",
    book: str,
    source: str,
    transactions: Mapping[str, Row],
) -> list[Difference]:
    """The kept totals of every property and currency, known property or not."""
    query = f"SELECT * FROM accounting.{TOTALS_TABLE} WHERE book = $1 AND source = $2"
    found: dict[str, Row] = {}
    for row in await postgres.fetch(query, book, source):
        if row["income"] or row["expenses"]:  # one that came to nothing may stay
            found[f"{row['property_id']} {row['currency']}"] = dict(row)
    expected = {
        f"{property_id} {currency}": {
            "income": income,
            "expenses": expenses,
            "balance": income - expenses,
        }
        for (property_id, currency), (income, expenses) in sums(transactions.values()).items()
        if income or expenses
    }
    return row_differences(TOTALS_TABLE, expected, found)


def row_differences(
    table: str, expected: Mapping[str, Row], found: Mapping[str, Row], spared: Iterable[str] = ()
) -> list[Difference]:
    """Missing rows, rows too many, and fields that differ. A row marked deleted is no row."""
    live = {id_: row for id_, row in found.items() if not row.get("deleted", False)}
    differences = [
        Difference(table, id_, "", "a row", "none") for id_ in expected if id_ not in live
    ]
    for id_, row in live.items():
        if id_ not in expected:
            if id_ not in spared:
                differences.append(Difference(table, id_, "", "none", "a row"))
            continue
        for name, value in expected[id_].items():
            if row[name] != value:
                differences.append(Difference(table, id_, name, value, row[name]))
        differences += [
            Difference(table, id_, name, "its origin", None)
            for name in LINEAGE
            if name in row and row[name] is None
        ]
    return differences


def sums(transactions: Iterable[Row]) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """(property, currency) → (income, expenses) over the settled transactions."""
    income: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    expenses: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in transactions:
        if row["settled"] and row["property_id"] is not None:
            side = income if row["type"] == "income" else expenses
            side[row["property_id"], row["currency"].upper()] += row["amount"]
    keys = {*income, *expenses}
    return {key: (income[key], expenses[key]) for key in keys}


def expected_accounts(expected: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """The account of every property: its owner's name, and the sums in its own currency."""
    totals = sums(expected["transactions"].values())
    accounts: dict[str, Row] = {}
    for id_, place in expected["properties"].items():
        owner = expected["owners"].get(place["owner_id"])
        income, expenses = totals.get((id_, place["currency"]), (Decimal(), Decimal()))
        accounts[id_] = {
            "name": place["name"],
            "address": place["address"],
            "owner_id": place["owner_id"],
            "currency": place["currency"],
            "owner_name": None if owner is None else owner["name"],
            "running_balance": income - expenses,
            "total_income": income,
            "total_expenses": expenses,
        }
    return accounts


def property_row(document: Document, default_currency: str) -> Row:
    """The columns of `accounting.properties`."""
    return {
        "name": document.get("name"),
        "address": address_text(document.get("address")),
        "owner_id": reference(document.get("ownerId")),
        "currency": (document.get("currency") or default_currency).upper(),
    }


def owner_row(document: Document) -> Row:
    """The columns of `accounting.owners`."""
    name = document.get("name")
    if name is None:
        parts = (document.get("firstName"), document.get("lastName"))
        name = " ".join(part for part in parts if part is not None) or None
    return {"name": name, **{each: document.get(each) for each in ("email", "phone", "role")}}


def transaction_row(document: Document, book: str, source: str, default_currency: str) -> Row:
    """The columns of `accounting.transactions`."""
    status = document.get("status")
    row: Row = {
        "property_id": reference(document.get("propertyId")),
        "type": type_of(document.get("type")),
        "amount": amount(document.get("amount")),
        "currency": document.get("currency") or default_currency,
        "date": day(next(filter(None, map(document.get, ("date", "paidAt", "dueDate"))), None)),
        "description": document.get("description"),
        "status": status,
        "settled": status is None or status.lower() in SETTLED,
        "payment_method": document.get("method"),
        "reference": document.get("reference"),
    }
    row["transaction_hash"] = fingerprint(row, book, source, id_text(document["_id"]))
    return row


def fingerprint(row: Row, book: str, source: str, id_: str) -> bytes:
    """SHA-256 over the canonical JSON of the facts. Our documents' texts are in NFC already."""
    text = format(row["amount"].normalize(), "f")
    facts = [
        *("v1", book, source, row["property_id"], id_, text, row["currency"]),
        None if row["date"] is None else row["date"].isoformat(),
        row["description"],
    ]
    canonical = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


def id_text(value: Any) -> str:
    """The text of an id: ObjectIds as hex, whole numbers marked as such, plain text as it is."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int:{value}"
    if isinstance(value, str) and ":" not in value and not ObjectId.is_valid(value):
        return value
    raise ValueError(f"the company has no id like {value!r}")


def reference(value: Any) -> str | None:
    """An ObjectId, its hex text, a DBRef or a populated document: the same id."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return reference(value["_id"])
    if isinstance(value, DBRef):
        return reference(value.id)
    return str(value) if ObjectId.is_valid(value) else id_text(value)


def amount(value: Any) -> Decimal:
    """Exact; a double is the shortest decimal that reads back to it."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    elif isinstance(value, float):
        value = Decimal(repr(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise Unmappable
    return value


def day(value: Any) -> date | None:
    """The calendar date in UTC of a BSON date, or of a text in ISO 8601 (UTC or a mere date)."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    return datetime.fromisoformat(value).date()


def type_of(value: str | None) -> str:
    """The six names as they are; words for income; `management_fee`; all else is `other`."""
    if value is None or value in INCOME:
        return "income"
    if value == "management_fee":
        return "expense"
    return value if value in TYPES else "other"


def address_text(value: Any) -> str | None:
    """A text as it is; else `street, city, state zip, country` of what is there."""
    if value is None or isinstance(value, str):
        return value
    region = " ".join(filter(None, (value.get("state"), value.get("zip"))))
    parts = (value.get("street"), value.get("city"), region, value.get("country"))
    return ", ".join(filter(None, parts)) or None
