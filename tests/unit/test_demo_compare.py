"""The demo's own reading of the contract: documents in, expected rows and balances out."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from bson import DBRef, Decimal128, ObjectId

from compose.demo import compare

HOUSE, OWNER = ObjectId("64b5f0c2a1b2c3d4e5f60718"), ObjectId("64b5f0c2a1b2c3d4e5f60719")


def payment(**fields: object) -> dict[str, object]:
    return {"_id": ObjectId(), "propertyId": HOUSE, "amount": Decimal128("12.50"), **fields}


def row(**fields: object) -> compare.Row:
    return compare.transaction_row(payment(**fields), "acme", "property", "USD")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Decimal128("1.10"), "1.10"),
        (0.1, "0.1"),
        (1250.0, "1250.0"),
        (7, "7"),
        (Decimal128("1E+3"), "1000"),
    ],
)
def test_amounts_are_exact(given: object, expected: str) -> None:
    assert compare.amount(given) == Decimal(expected)


@pytest.mark.parametrize("given", [None, "12.50", True, Decimal128("NaN"), float("inf"), {}])
def test_what_is_no_amount_becomes_no_row(given: object) -> None:
    with pytest.raises(compare.Unmappable):
        compare.amount(given)


def test_references_of_every_kind_are_one_id() -> None:
    kinds = (HOUSE, str(HOUSE), DBRef("properties", HOUSE), {"_id": HOUSE, "name": "x"})
    assert {compare.reference(each) for each in kinds} == {str(HOUSE)}
    assert compare.reference(None) is None


def test_ids_of_different_types_never_meet() -> None:
    assert compare.id_text(5) == "int:5"
    assert compare.id_text("INV-1") == "INV-1"
    with pytest.raises(ValueError, match="no id like"):
        compare.id_text("int:5")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"date": datetime(2026, 3, 1, 23, 59, tzinfo=UTC)}, date(2026, 3, 1)),
        ({"date": "2026-03-02"}, date(2026, 3, 2)),
        ({"date": None, "paidAt": "2026-03-03T01:00:00Z"}, date(2026, 3, 3)),
        ({"dueDate": datetime(2026, 3, 4, tzinfo=UTC)}, date(2026, 3, 4)),
        ({}, None),
    ],
)
def test_the_first_date_that_is_there(fields: dict[str, object], expected: date | None) -> None:
    assert row(**fields)["date"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("rent", "income"),
        (None, "income"),
        ("management_fee", "expense"),
        ("owner_payout", "owner_payout"),
        ("parking", "other"),
    ],
)
def test_types(given: str | None, expected: str) -> None:
    assert row(type=given)["type"] == expected


def test_only_settled_payments_count() -> None:
    assert row(status="Paid")["settled"] is True
    assert row()["settled"] is True
    assert row(status="pending")["settled"] is False


def test_the_hash_is_the_contracts() -> None:
    found = compare.transaction_row(
        {
            "_id": OWNER,
            "propertyId": HOUSE,
            "amount": 12.5,
            "date": "2026-03-01",
            "description": "ça",
        },
        "acme",
        "property",
        "USD",
    )
    facts = (
        f'["v1","acme","property","{HOUSE}","{OWNER}","12.5","USD","2026-03-01","ça"]'
    ).encode()
    assert found["transaction_hash"] == hashlib.sha256(facts).digest()


def test_addresses_leave_out_what_is_missing() -> None:
    parts = {"street": "1 Elm Street", "city": "Austin", "state": "TX", "zip": "78701"}
    assert compare.address_text(parts) == "1 Elm Street, Austin, TX 78701"
    assert compare.address_text({"city": "Madrid", "country": "ES"}) == "Madrid, ES"
    assert compare.address_text("anywhere") == "anywhere"
    assert compare.address_text(None) is None


def test_accounts_are_sums_in_the_propertys_own_currency() -> None:
    place = compare.property_row({"name": "House", "ownerId": str(OWNER)}, "usd")
    rows = [
        row(amount=100, type="rent"),
        row(amount=-10, type="rent"),  # a refund
        row(amount=30, type="repair"),
        row(amount=500, type="rent", status="failed"),
        row(amount=700, type="rent", currency="EUR"),
        row(amount=900, type="rent", propertyId=None),
    ]
    accounts = compare.expected_accounts(
        {
            "properties": {str(HOUSE): place},
            "owners": {str(OWNER): compare.owner_row({"firstName": "Ana", "lastName": "León"})},
            "transactions": {str(number): each for number, each in enumerate(rows)},
        }
    )
    assert accounts[str(HOUSE)] == {
        "name": "House",
        "address": None,
        "owner_id": str(OWNER),
        "currency": "USD",
        "owner_name": "Ana León",
        "running_balance": Decimal(60),
        "total_income": Decimal(90),
        "total_expenses": Decimal(30),
    }


def test_every_kind_of_difference_is_found() -> None:
    expected = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}
    found = {
        "a": {"x": 1, "deleted": False},
        "b": {"x": 9, "deleted": False},
        "c": {"x": 3, "deleted": True},
        "d": {"x": 4, "deleted": False},
        "e": {"x": 5, "deleted": False},
        "f": {"x": 6, "deleted": True},
    }
    different = compare.row_differences("t", expected, found, spared=["e"])
    assert {(each.id, each.field) for each in different} == {("b", "x"), ("c", ""), ("d", "")}
