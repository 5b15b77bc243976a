"""The default shape of property documents: every sentence of its description."""

from datetime import datetime
from typing import Any

import pytest
from bson import DBRef, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from cdc.mapping.builtin import DECLARATIONS
from cdc.mapping.checks import faults
from tests.mapping_world import change, made, normaliser, refused, row, value

PAYMENT = ObjectId("64b000000000000000000001")
PROPERTY = ObjectId("64b0000000000000000000aa")
WORLD = normaliser()


def utc(*parts: int) -> datetime:
    """As the decoder gives it: naive, meant as UTC."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def payment(**fields: Any) -> dict[str, Any]:
    """A payment with nothing but what it needs, and these."""
    return {"_id": PAYMENT, "amount": Decimal128("10.00")} | fields


def test_it_is_faultless_by_the_rules_for_declared_mappings() -> None:
    assert faults(DECLARATIONS) == []


def test_a_payment_with_everything() -> None:
    document = payment(
        propertyId=PROPERTY,
        currency="eur",
        type="rent",
        status="Paid",
        date=utc(2026, 3, 1, 23, 59, 59),
        method="bank",
        reference="R-1",
        description="Rent",
        tenantName="must not leave",
    )
    assert row(WORLD, document) == {
        "book": "acme",
        "id": str(PAYMENT),
        "source": "property",
        "property_id": str(PROPERTY),
        "type": "income",
        "amount": "10.00",
        "currency": "EUR",
        "date": "2026-03-01",
        "description": "Rent",
        "status": "Paid",
        "settled": True,
        "payment_method": "bank",
        "reference": "R-1",
    }


def test_a_payment_with_nothing_but_its_amount() -> None:
    assert row(WORLD, payment()) == {
        "book": "acme",
        "id": str(PAYMENT),
        "source": "property",
        "property_id": None,
        "type": "income",
        "amount": "10.00",
        "currency": "USD",
        "date": None,
        "description": None,
        "status": None,
        "settled": True,
        "payment_method": None,
        "reference": None,
    }


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *((name, name) for name in "income expense owner_payout repair maintenance other".split()),
        *((name, "income") for name in "rent fee late_fee deposit payment".split()),
        ("management_fee", "expense"),
        ("Rent", "other"),
        ("", "other"),
        ("gift", "other"),
        (None, "income"),
    ],
)
def test_words_for_types(word: str | None, kind: str) -> None:
    assert row(WORLD, payment(type=word))["type"] == kind


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        (None, True),
        ("completed", True),
        ("PAID", True),
        ("Succeeded", True),
        ("settled", True),
        ("posted", True),
        ("pending", False),
        ("failed", False),
        ("", False),
        ("paid ", False),
    ],
)
def test_settled_is_told_by_the_status_without_case(status: str | None, settled: bool) -> None:
    assert row(WORLD, payment(status=status))["settled"] is settled


def test_other_statuses_may_settle() -> None:
    world = normaliser(settled_statuses=["Cleared"])
    assert row(world, payment(status="CLEARED"))["settled"] is True
    assert row(world, payment(status="paid"))["settled"] is False


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal128("1234.50"), "1234.50"),
        (Decimal128("-0.00"), "0.00"),
        (Decimal128("1E+3"), "1000"),
        (Decimal128("9999999999999999999999999999999999"), "9" * 34),
        (Decimal128("1E-6176"), "0." + "0" * 6175 + "1"),
        (12, "12"),
        (Int64(2**62), str(2**62)),
        (12.5, "12.5"),
        (12.0, "12"),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
    ],
)
def test_amounts_are_exact_and_plain(amount: Any, text: str) -> None:
    assert row(WORLD, payment(amount=amount))["amount"] == text


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (None, "is missing"),
        (Decimal128("NaN"), "is not a finite number"),
        (Decimal128("sNaN"), "is not a finite number"),
        (Decimal128("-Infinity"), "is not a finite number"),
        (float("nan"), "is not a finite number"),
        (float("inf"), "is not a finite number"),
        ("12.50", "is text, and no sample is declared (decimal = …)"),
        (True, "is a bool, not a number"),
        ({"value": 5}, "is a document, not a number"),
        ([5], "is an array, not a number"),
        (utc(2026, 1, 1), "is of type datetime, not a number"),
    ],
)
def test_an_amount_that_is_none_is_a_dead_letter(amount: Any, reason: str) -> None:
    assert refused(WORLD, payment(amount=amount)) == ("amount", reason)


def test_doubles_and_needless_decimals_are_counted_once() -> None:
    world = normaliser()
    old, new = payment(amount=1.5), payment(amount=2.5)
    made(world, change("u", new, old))
    made(world, change("c", payment(amount=Decimal128("1.005"))))
    made(world, change("c", payment(amount=Decimal128("1.500"))))
    made(world, change("c", payment(amount=Decimal128("7.50"), currency="JPY")))
    made(world, change("c", payment(amount=Decimal128("7.505"), currency="KWD")))
    assert (world.totals.doubles, world.totals.extra_decimals) == (1, 2)


@pytest.mark.parametrize(
    ("fields", "date"),
    [
        ({"date": utc(2026, 3, 1), "paidAt": utc(2026, 3, 2)}, "2026-03-01"),
        ({"paidAt": utc(2026, 3, 2), "dueDate": utc(2026, 3, 3)}, "2026-03-02"),
        ({"date": None, "dueDate": utc(2026, 3, 3)}, "2026-03-03"),
        ({"date": "2026-03-01"}, "2026-03-01"),
        ({"date": "2026-03-01T23:30:00-05:00"}, "2026-03-02"),
        ({"date": utc(1, 1, 1)}, "0001-01-01"),
        ({"date": utc(9999, 12, 31, 23, 59, 59)}, "9999-12-31"),
    ],
)
def test_the_date_is_the_first_there_is(fields: dict[str, Any], date: str) -> None:
    assert row(WORLD, payment(**fields))["date"] == date


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        (
            {"date": DatetimeMS(253_402_300_800_000)},
            "date",
            "is outside the years 1 to 9999",
        ),
        ({"paidAt": DatetimeMS(-(2**60))}, "paidAt", "is outside the years 1 to 9999"),
        ({"dueDate": 1_700_000_000}, "dueDate", "is a number, and no epoch is declared"),
        (
            {"date": "01/03/2026"},
            "date",
            "is no ISO 8601 date, and no format is declared",
        ),
        ({"date": "2026-02-30"}, "date", "is no date of the calendar"),
        ({"date": True}, "date", "is no date"),
        ({"currency": "dollars"}, "currency", "is no currency code of ISO 4217"),
        ({"currency": ""}, "currency", "is no currency code of ISO 4217"),
        ({"currency": "€€€"}, "currency", "is no currency code of ISO 4217"),
        ({"description": {"text": "x"}}, "description", "is a document, not text"),
        ({"description": ["x"]}, "description", "is an array, not text"),
        ({"status": True}, "status", "is a bool, not text"),
        ({"description": "caf\udce9"}, "description", "is no valid UTF-8"),
        ({"propertyId": [PROPERTY]}, "propertyId", "is an array"),
        ({"propertyId": {"name": "x"}}, "propertyId", "is a document without an _id"),
        (
            {"type": {"name": "rent"}},
            "type",
            "is a document: map is for text, bool and whole numbers",
        ),
    ],
)
def test_what_a_payment_cannot_be(fields: dict[str, Any], path: str, reason: str) -> None:
    assert refused(WORLD, payment(**fields)) == (path, reason)


def test_nesting_beyond_reason_is_a_dead_letter_and_not_a_crash() -> None:
    bomb: Any = "x"
    for _ in range(100_000):
        bomb = {"_id": bomb}
    assert refused(WORLD, payment(description=bomb))[0] == "description"
    assert refused(WORLD, payment(propertyId=bomb))[0] == "propertyId"
    result = made(WORLD, change("c", payment(_id=bomb)))
    assert [(each.document_id, each.path) for each in result.faults] == [(None, "_id")]


@pytest.mark.parametrize(
    "reference",
    [
        PROPERTY,
        str(PROPERTY),
        {"_id": PROPERTY, "name": "populated"},
        DBRef("properties", PROPERTY),
    ],
)
def test_every_way_to_name_a_property_is_one_id(reference: Any) -> None:
    assert row(WORLD, payment(propertyId=reference))["property_id"] == str(PROPERTY)


def test_texts_that_postgres_cannot_hold_are_mended_and_counted() -> None:
    world = normaliser()
    found = row(world, payment(description="a\0b", reference="\\u0000 is only text"))
    assert found["description"] == "a\ufffdb"
    assert found["reference"] == "\\u0000 is only text"
    assert world.totals.nul_replaced == 1
    document = payment(description="a\0b")
    (event,) = made(world, change("u", document, document)).events
    assert value(event)["before"]["description"] == "a\ufffdb"
    assert world.totals.nul_replaced == 2


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("1 Main St, Springfield", "1 Main St, Springfield"),
        (
            {"street": "1 Main St", "city": "X", "state": "NY", "zip": "10001", "country": "US"},
            "1 Main St, X, NY 10001, US",
        ),
        ({"street": "1 Main St", "zip": 10001}, "1 Main St, 10001"),
        ({"city": "X", "state": "", "country": None}, "X"),
        ({}, None),
        ({"unknown": "x"}, None),
        (None, None),
    ],
)
def test_an_address_is_text_or_parts(address: Any, text: str | None) -> None:
    document = {"_id": PROPERTY, "name": "House", "address": address}
    found = row(WORLD, document, "properties")
    assert (found["name"], found["address"]) == ("House", text)


def test_an_address_of_another_kind_is_a_dead_letter() -> None:
    document = {"_id": PROPERTY, "address": ["1 Main St"]}
    assert refused(WORLD, document, "properties") == ("address", "is an array, not text")
    document = {"_id": PROPERTY, "address": {"street": ["1 Main St"]}}
    assert refused(WORLD, document, "properties") == ("address.street", "is an array, not text")


def test_a_property() -> None:
    world = normaliser(default_currency="EUR")
    owner = ObjectId()
    document = {"_id": "P-1", "name": "House", "ownerId": owner}
    assert row(world, document, "properties") == {
        "book": "acme",
        "id": "P-1",
        "source": "property",
        "name": "House",
        "address": None,
        "owner_id": str(owner),
        "currency": "EUR",
    }
    assert row(world, document | {"currency": "gbp"}, "properties")["currency"] == "GBP"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"name": "Ann Lee", "firstName": "Bob"}, "Ann Lee"),
        ({"firstName": "Ann", "lastName": "Lee"}, "Ann Lee"),
        ({"name": None, "lastName": "Lee"}, "Lee"),
        ({}, None),
    ],
)
def test_every_user_is_an_owner_with_a_name(fields: dict[str, Any], name: str | None) -> None:
    document = {"_id": 7, "email": "a@b.c", "phone": 5551234, "role": "tenant"} | fields
    assert row(WORLD, document, "users") == {
        "book": "acme",
        "id": "int:7",
        "source": "property",
        "name": name,
        "email": "a@b.c",
        "phone": "5551234",
        "role": "tenant",
    }


def test_a_name_that_is_a_document_is_not_taken_for_a_missing_one() -> None:
    document = {"_id": 7, "name": {"first": "Ann"}, "firstName": "Ann"}
    assert refused(WORLD, document, "users") == ("name", "is a document, not text")
