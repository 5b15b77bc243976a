"""Field tables: every type and option, what it takes and what it refuses."""

from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp

from tests.mapping_world import mapped, normaliser, reason, refused, row, transactions

ID = ObjectId("64b000000000000000000001")


def utc(*parts: int) -> datetime:
    """As the decoder gives it: naive, meant as UTC."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (" x ", " x "),
        (5, "5"),
        (Int64(5), "5"),
        (5.0, "5"),
        (5.5, "5.5"),
        (Decimal128("5.50"), "5.50"),
        (ID, str(ID)),
        (None, None),
    ],
)
def test_text_takes_what_has_one_undoubted_text(value: Any, text: Any) -> None:
    assert mapped("x", value) == text
    assert mapped({"path": "x", "type": "text"}, value) == text


@pytest.mark.parametrize(
    "value",
    [
        True,
        {"a": 1},
        ["x"],
        b"x",
        utc(2026, 1, 1),
        Binary(b"x", 5),
        Regex("x"),
        Code("x"),
        MinKey(),
        Timestamp(1, 1),
        float("nan"),
        Decimal128("Infinity"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "int", "decimal", "bool", "date", "timestamp"])
def test_a_value_of_another_kind_is_refused(kind: str, value: Any) -> None:
    taken = {"bool": (bool,), "date": (datetime,), "timestamp": (datetime,)}
    if isinstance(value, taken.get(kind, ())):
        return
    assert reason({"path": "x", "type": kind}, value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, "5"),
        (-5, "-5"),
        (5.0, "5"),
        (Decimal128("5.00"), "5"),
        (Int64(2**63 - 1), str(2**63 - 1)),
    ],
)
def test_int_takes_whole_numbers_of_any_numeric_type(value: Any, number: str) -> None:
    assert mapped({"path": "x", "type": "int"}, value) == number


@pytest.mark.parametrize("value", [5.5, 2.0**63, Decimal128("1E+6000"), Decimal128("0.1")])
def test_int_refuses_fractions_and_more_than_64_bits(value: Any) -> None:
    assert reason({"path": "x", "type": "int"}, value) == "is no whole number of 64 bits"
    assert reason({"path": "x", "type": "int"}, "5") == "is text, not a number"


def test_bool_takes_bools_only() -> None:
    field = {"path": "x", "type": "bool"}
    assert mapped(field, True, "settled") is True
    assert mapped(field, False) == "false"
    assert reason(field, 1, "settled") == "is a number, not a bool"
    assert reason(field, "true", "settled") == "is text, not a bool"
    assert reason(field, None, "settled") == "is missing"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("rent", "income"),
        (0, "other"),
        (0.0, "other"),
        (Decimal128("0"), "other"),
        ("0", "other"),
        (True, "repair"),
        (False, "expense"),
        (None, "income"),
        ("else", "income"),
        (1, "income"),
    ],
)
def test_a_map_takes_texts_whole_numbers_and_bools(value: Any, kind: str) -> None:
    words = {"rent": "income", "0": "other", "true": "repair", "false": "expense"}
    assert mapped({"path": "x", "map": words, "default": "income"}, value, "type") == kind


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("else", "is not in the map, and there is no default"),
        (1, "is not in the map, and there is no default"),
        (1.5, "is a number: map is for text, bool and whole numbers"),
        ({"a": 1}, "is a document: map is for text, bool and whole numbers"),
        (None, "is missing"),
    ],
)
def test_what_is_not_in_the_map_is_refused(value: Any, why: str) -> None:
    assert reason({"path": "x", "map": {"rent": "income"}}, value, "type") == why


def test_a_type_without_a_map_must_be_one_of_the_six() -> None:
    assert mapped("x", "repair", "type") == "repair"
    assert reason("x", "rent", "type").startswith("is none of income, expense")
    assert mapped({"path": "x", "default": "other"}, None, "type") == "other"


def test_maps_give_what_their_column_holds() -> None:
    field = {"path": "x", "map": {"yes": True, "no": False}}
    assert mapped(field, "yes", "settled") is True
    assert mapped({"path": "x", "map": {"big": 10, "small": "0.50"}}, "small", "amount") == "0.50"
    assert mapped({"path": "x", "map": {"big": 10}}, "big", "amount") == "10"


def test_settled_may_be_declared() -> None:
    field = {"path": "x", "map": {"void": False}, "default": True}
    assert mapped(field, "void", "settled") is False
    assert mapped(field, None, "settled") is True


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"label": "a", "note": "b"}, "a – b"),
        ({"label": "a", "note": None}, "a"),
        ({"note": "b"}, "b"),
        ({"label": "", "note": 5}, "5"),
        ({}, None),
    ],
)
def test_join_leaves_missing_parts_out(document: dict[str, Any], text: str | None) -> None:
    world = normaliser(transactions({"description": {"join": ["label", "note"], "with": " – "}}))
    assert row(world, {"_id": 1} | document)["description"] == text
    assert refused(world, {"_id": 1, "note": ["x"]}) == ("note", "is an array, not text")


def test_a_default_stands_for_null() -> None:
    field = {"path": "x", "default": "none"}
    assert mapped(field, None) == "none"
    assert mapped(field, "") == ""
    assert mapped({"path": "x", "default": 0}, None, "amount") == "0"
    assert mapped({"path": "x", "default": "GBP"}, None, "currency") == "GBP"


def test_constants() -> None:
    world = normaliser(
        transactions(
            {
                "amount": {"const": "1.50"},
                "currency": {"const": "EUR"},
                "settled": {"const": False},
                "date": {"const": "2026-03-01"},
            }
        )
    )
    found = row(world, {"_id": 1, "status": "paid"})
    assert (found["amount"], found["currency"]) == ("1.50", "EUR")
    assert (found["settled"], found["date"]) == (False, "2026-03-01")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.b", "1"),
        ("list.0.c", "2"),
        ("list.1.c", None),
        ("list.c", None),
        (r"dot\.ted", "3"),
        (r"a.d\.e", "4"),
        ("a.b.c", None),
        ("0", "5"),
        (r"\^up", "6"),
        ("missing.deep", None),
    ],
)
def test_paths(path: str, text: str | None) -> None:
    document = {
        "_id": 1,
        "a": {"b": "1", "d.e": "4"},
        "list": [{"c": "2"}],
        "dot.ted": "3",
        "0": "5",
        "^up": "6",
    }
    world = normaliser(transactions({"description": path}))
    assert row(world, document)["description"] == text


def test_the_first_path_that_is_not_null_counts_and_is_told() -> None:
    world = normaliser(transactions({"description": {"path": ["a.b", "c"]}}))
    assert row(world, {"_id": 1, "a": {"b": None}, "c": "x"})["description"] == "x"
    assert refused(world, {"_id": 1, "c": ["x"]})[0] == "c"
    assert refused(world, {"_id": 1, "a": {"b": ["x"]}, "c": "x"})[0] == "a.b"
