"""Conditions, soft deletes and ids of one's own: rows that come and go with their documents."""

from typing import Any

import pytest
from bson import Decimal128, ObjectId

from cdc.runtime.errors import Gap
from tests.mapping_world import change, letter, made, normaliser, told, transactions, value

HOUSE = ObjectId("64b000000000000000000001")
LINES = transactions({"id": "_id", "amount": "amount"}, rows="lines[]")


def house(*lines: Any, **fields: Any) -> dict[str, Any]:
    return {"_id": HOUSE, "lines": list(lines)} | fields


def line(own_id: Any, amount: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"_id": own_id, "amount": amount} | fields


ACME = transactions({"amount": "amount"}, where={"org": "acme", "kind": ["rent", "fee"]})


def pay(amount: Any = 1, *, org: Any = "acme", kind: Any = "rent", **fields: Any) -> dict[str, Any]:
    return {"_id": 1, "amount": amount, "org": org, "kind": kind} | fields


def test_documents_enter_and_leave_as_they_come_to_meet_the_conditions() -> None:
    world = normaliser(ACME)
    ours, theirs, fee = pay(), pay(org="other"), pay(2, kind="fee")
    assert told(made(world, change("c", ours))) == [("c", "int:1")]
    assert told(made(world, change("u", fee, ours))) == [("u", "int:1")]
    assert told(made(world, change("u", ours, ours))) == [("u", "int:1")]
    entered = made(world, change("u", ours, theirs))
    assert told(entered) == [("c", "int:1")]
    assert value(entered.events[0])["before"] is None
    left = made(world, change("u", theirs, ours))
    assert told(left) == [("d", "int:1"), ("-", "int:1")]
    assert value(left.events[0])["before"]["amount"] == "1"
    assert told(made(world, change("d", None, ours))) == [("d", "int:1"), ("-", "int:1")]
    assert told(made(world, change("r", ours))) == [("r", "int:1")]


@pytest.mark.parametrize(
    "theirs",
    [
        pay(org="other"),
        pay(org=None),
        pay(kind="gift"),
        pay("not a number", org="other"),
        {"_id": 1},
    ],
)
def test_a_document_of_somebody_else_leaves_no_trace(theirs: dict[str, Any]) -> None:
    changes = [
        change("c", theirs),
        change("u", theirs, theirs | {"x": 1}, ordinal=1),
        change("d", None, theirs, ordinal=2),
        change("r", theirs),
    ]
    result = made(normaliser(ACME), *changes)
    assert (result.events, result.faults, result.counts) == ([], [], {})


def test_arrays_of_somebody_else_leave_no_trace() -> None:
    world = normaliser(
        transactions({"id": {"path": "_id", "type": "ref"}}, rows="lines[]", where={"org": "acme"})
    )
    for lines in ("x", ["x"], [line([1])], [line(1)]):
        theirs = house(org="other") | {"lines": lines}
        result = made(world, change("c", theirs), change("u", theirs, theirs, ordinal=1))
        assert (result.events, result.faults) == ([], [])
        assert made(world, change("c", theirs | {"org": "acme"})).events != []


@pytest.mark.parametrize(
    ("declared", "stored", "met"),
    [
        ("acme", "acme", True),
        ("acme", "Acme", False),
        (str(HOUSE), HOUSE, True),
        (5, 5.0, True),
        (5, Decimal128("5.00"), True),
        (1.1, 1.1, True),
        (1.1, Decimal128("1.10"), True),
        (5, "5", False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (5, Decimal128("sNaN"), False),
        (5, float("nan"), False),
        ("x", None, False),
        ("x", ["x"], False),
        (["x", 5], 5, True),
        ("present", "present", True),
        ("present", "else", False),
    ],
)
def test_conditions_are_equalities(declared: Any, stored: Any, met: bool) -> None:
    world = normaliser(transactions({}, where={"deep.field": declared}))
    result = made(world, change("c", {"_id": 1, "deep": {"field": stored}}))
    assert bool(result.events) is met


GONE = transactions({"amount": "amount"}, deleted_when={"isDeleted": True, "deletedAt": "present"})


@pytest.mark.parametrize(
    ("fields", "deleted"),
    [
        ({"isDeleted": True}, True),
        ({"deletedAt": "2026"}, True),
        ({"deletedAt": False}, True),
        ({"isDeleted": False, "deletedAt": None}, False),
        ({"isDeleted": 1}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_any_sign_of_soft_deletion_is_a_delete(
    op: str, fields: dict[str, Any], deleted: bool
) -> None:
    world = normaliser(GONE)
    assert not world.needs_images("payments")
    expected = [("d", "int:1"), ("-", "int:1")] if deleted else [(op, "int:1")]
    assert told(made(world, change(op, pay(**fields)))) == expected


def test_a_soft_deleted_document_need_not_map() -> None:
    world = normaliser(GONE)
    result = made(world, change("u", pay("x", isDeleted=True), pay(5)))
    assert told(result) == [("d", "int:1"), ("-", "int:1")]
    assert value(result.events[0])["before"]["amount"] == "5"
    revived = made(world, change("u", pay(5), pay(5, isDeleted=True)))
    assert told(revived) == [("u", "int:1")]
    assert value(revived.events[0])["before"] is None


def test_soft_deletion_of_elements_and_of_their_document() -> None:
    table = LINES | {"deleted_when": {"void": True}}
    world = normaliser(table)
    assert told(made(world, change("c", house(line(1, void=True), line(2))))) == [
        ("c", f"{HOUSE}/int:2")
    ]
    both = house(line(1), line(2))
    one = house(line(1, void=True), line(2))
    assert [op for op, _ in told(made(world, change("u", one, both)))] == ["d", "-"]
    assert [op for op, _ in told(made(world, change("u", both | {"void": True}, both)))] == [
        "d",
        "-",
        "d",
        "-",
    ]
    assert [op for op, _ in told(made(world, change("r", one)))] == ["d", "-", "r"]
    assert made(world, change("d", None, house(line(1, void=True)))).events == []


def test_conditions_name_elements_and_documents_alike() -> None:
    table = LINES | {"where": {"org": "acme", "kind": "rent", "^.year": 2026}}
    world = normaliser(table)
    lines = [line(1, kind="rent"), line(2, kind="fee"), line(3), line(4, org="other")]
    document = house(*lines, org="acme", kind="rent", year=2026)
    assert told(made(world, change("c", document))) == [
        ("c", f"{HOUSE}/int:1"),
        ("c", f"{HOUSE}/int:3"),
    ]
    assert made(world, change("c", document | {"year": 2025})).events == []


def test_conditions_on_holders_hide_what_cannot_be_read_below_them() -> None:
    table = transactions(
        {}, rows="a[].b[]", where={"^.year": 2026, "^^.org": "acme", "^.#": [0, 1], "kind": "rent"}
    )
    world = normaliser(table)

    def op(document: dict[str, Any]) -> list[str]:
        return [each for each, _ in told(made(world, change("c", {"_id": 1} | document)))]

    rent = {"kind": "rent"}
    assert op({"org": "acme", "a": [{"year": 2026, "b": [rent, rent]}]}) == ["c", "c"]
    assert op({"org": "acme", "a": [{"year": 2026, "b": "x"}, {"year": 2025, "b": "x"}]}) == ["!"]
    assert op({"org": "other", "a": [{"year": 2026, "b": "x"}]}) == []
    assert op({"org": "other", "a": "x"}) == []
    assert op({"org": "acme", "a": "x"}) == ["!"]
    assert op({"org": "acme", "a": [{}, {}, {"year": 2026, "b": [rent]}]}) == []


def test_a_row_that_is_undeleted_is_a_new_one() -> None:
    world = normaliser(LINES | {"deleted_when": {"void": True}})
    result = made(world, change("u", house(line(1)), house(line(1, void=True))))
    assert told(result) == [("c", f"{HOUSE}/int:1")]
    assert value(result.events[0])["before"] is None


def test_null_is_an_id_like_any_other() -> None:
    world = normaliser(ACME)
    document = pay() | {"_id": None}
    assert told(made(world, change("c", document, raw_id=None))) == [("c", "json:null")]
    assert told(made(normaliser(), change("d", raw_id=None)))[0] == ("d", "json:null")


OWN_ID = transactions({"id": {"path": ["number", "legacy.no"]}, "amount": "amount"})


def test_an_id_of_its_own_may_change() -> None:
    world = normaliser(OWN_ID)
    one = {"_id": 1, "number": "A-1", "amount": 1}
    other = one | {"number": "A-2"}
    assert told(made(world, change("c", one))) == [("c", "A-1")]
    assert told(made(world, change("u", one | {"amount": 2}, one))) == [("u", "A-1")]
    assert told(made(world, change("u", other, one))) == [
        ("d", "A-1"),
        ("-", "A-1"),
        ("c", "A-2"),
    ]
    assert told(made(world, change("d", None, other))) == [("d", "A-2"), ("-", "A-2")]
    legacy = {"_id": 1, "legacy": {"no": 7}, "amount": 1}
    assert told(made(world, change("r", legacy))) == [("r", "int:7")]


def test_an_id_that_is_lost_is_a_dead_letter_and_the_old_row_goes() -> None:
    result = made(
        normaliser(OWN_ID),
        change("u", {"_id": 1, "amount": 1}, {"_id": 1, "number": "A-1", "amount": 1}),
    )
    assert told(result) == [("d", "A-1"), ("-", "A-1"), ("!", "")]
    fault = result.faults[0]
    assert (fault.document_id, fault.row_id) == ("int:1", None)
    assert (fault.path, fault.reason) == ("number", "is missing")
    assert letter(result.events[2]).row_id is None


def test_a_part_of_the_id_needs_no_images() -> None:
    world = normaliser(transactions({"id": "_id.no"}, id_prefix="p:"))
    assert not world.needs_images("payments")
    document = {"_id": {"org": "acme", "no": 5}}
    assert told(made(world, change("c", document))) == [("c", "p:int:5")]
    assert told(made(world, change("d", raw_id={"org": "acme", "no": 5})))[0] == ("d", "p:int:5")


@pytest.mark.parametrize("table", [LINES, ACME, OWN_ID])
def test_what_compares_documents_needs_images(table: dict[str, Any]) -> None:
    world = normaliser(table)
    assert world.needs_images("payments")
    for item in (
        change("u", pay(), None),
        change("u", None, pay()),
        change("d", None, None, raw_id=1),
    ):
        with pytest.raises(Gap) as caught:
            made(world, item)
        assert caught.value.needs_person
        command = '{collMod: "payments", changeStreamPreAndPostImages: {enabled: true}}'
        hint = f"run db.runCommand({command}), then cdc resync property"
        assert caught.value.hint == hint


def test_an_undecodable_change_is_a_dead_letter_also_where_images_are_needed() -> None:
    result = made(normaliser(LINES), change("u", raw_id="a/b", fault="cannot be decoded"))
    fault = result.faults[0]
    assert fault.document_id == fault.row_id == 'json:"a\\u002fb"'
