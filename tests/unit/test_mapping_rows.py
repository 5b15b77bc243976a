"""Rows of arrays, and rows that come and go: sets that follow their documents."""

from typing import Any

import pytest
from bson import ObjectId

from schemas.envelope import decode_key
from tests.mapping_world import change, letter, made, normaliser, told, transactions, value

HOUSE = ObjectId("64b000000000000000000001")
LINES = transactions({"id": "_id", "amount": "amount"}, rows="lines[]")
NESTED = transactions(
    {
        "id": "_id",
        "amount": "amount",
        "property_id": {"path": "^^._id", "type": "ref"},
        "reference": "^.code",
        "description": {"join": ["^.#", "#", "^^.name"], "with": "/"},
    },
    collection="houses",
    rows="leases[].payments[]",
)


def house(*lines: Any, **fields: Any) -> dict[str, Any]:
    return {"_id": HOUSE, "lines": list(lines)} | fields


def line(own_id: Any, amount: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"_id": own_id, "amount": amount} | fields


def test_nested_arrays_become_rows_with_derived_ids() -> None:
    document = {
        "_id": HOUSE,
        "name": "Villa",
        "leases": [
            {"_id": "L1", "code": "a", "payments": [line(ObjectId(b"p" * 12)), {"amount": 2}]},
            {"code": "b", "payments": [line(3, 3)]},
            {"_id": "L3"},
        ],
    }
    result = made(normaliser(NESTED), change("c", document, collection="houses"))
    assert result.faults == []
    rows = [value(event)["after"] for event in result.events]
    assert [
        (each["id"], each["amount"], each["reference"], each["description"]) for each in rows
    ] == [
        (f"{HOUSE}/L1/{'70' * 12}", "1", "a", "0/0/Villa"),
        (f"{HOUSE}/L1/#1", "2", "a", "0/1/Villa"),
        (f"{HOUSE}/#1/int:3", "3", "b", "1/0/Villa"),
    ]
    assert {each["property_id"] for each in rows} == {str(HOUSE)}


def test_without_an_id_elements_are_told_by_their_position() -> None:
    world = normaliser(transactions({"id": None, "amount": "amount"}, rows="lines[]"))
    result = made(world, change("c", house(line(1), line(2))))
    assert told(result) == [("c", f"{HOUSE}/#0"), ("c", f"{HOUSE}/#1")]


@pytest.mark.parametrize(
    ("document_id", "element_id", "row_id"),
    [
        ("a", "b/c", 'a/json:"b\\u002fc"'),
        ("a/b", "c", 'json:"a\\u002fb"/c'),
        ("a", "#1", "a/str:#1"),
        ("a", str(HOUSE), f"a/str:{HOUSE}"),
    ],
)
def test_ids_of_rows_cannot_be_mistaken(document_id: str, element_id: str, row_id: str) -> None:
    document = {"_id": document_id, "lines": [line(element_id)]}
    assert told(made(normaliser(LINES), change("c", document))) == [("c", row_id)]


def test_only_rows_that_differ_are_published_and_what_left_is_deleted() -> None:
    before = house(line(1, 10), line(2, 20), line(3, 30), note="old")
    after = house(line(4, 40), line(3, 31), line(1, 10, unmapped=True), note="new")
    result = made(normaliser(LINES), change("u", after, before))
    assert told(result) == [
        ("d", f"{HOUSE}/int:2"),
        ("-", f"{HOUSE}/int:2"),
        ("c", f"{HOUSE}/int:4"),
        ("u", f"{HOUSE}/int:3"),
    ]
    deleted, _, created, updated = result.events
    assert value(deleted)["before"]["amount"] == "20"
    assert value(created)["before"] is None
    assert value(updated)["before"]["amount"] == "30"


def test_rows_go_with_their_document() -> None:
    result = made(normaliser(LINES), change("d", None, house(line(1), line(2))))
    assert [op for op, _ in told(result)] == ["d", "-", "d", "-"]


def test_a_whole_read_publishes_all_rows() -> None:
    result = made(normaliser(LINES), change("r", house(line(1), line(2))), snapshot="true")
    assert [op for op, _ in told(result)] == ["r", "r"]


def test_of_two_equal_ids_in_one_document_the_second_is_a_dead_letter() -> None:
    document = house(line(1, 10), line(1.0, 20), line(2, 30))
    result = made(normaliser(LINES), change("c", document))
    assert told(result) == [
        ("c", f"{HOUSE}/int:1"),
        ("!", f"{HOUSE}/int:1"),
        ("c", f"{HOUSE}/int:2"),
    ]
    assert value(result.events[0])["after"]["amount"] == "10"
    assert result.faults[0].path == "_id"
    thrice = made(normaliser(LINES), change("c", house(line(1), line(1), line(1))))
    assert [op for op, _ in told(thrice)] == ["c", "!", "!"]
    assert len({dict(event.headers)["event_id"] for event in thrice.events}) == 3
    again = made(normaliser(LINES), change("u", document, document))
    assert told(again) == [("!", f"{HOUSE}/int:1")]


def test_a_row_that_does_not_map_leaves_its_neighbours_alone() -> None:
    result = made(normaliser(LINES), change("c", house(line(1, "x"), line(2, 2), line(3, "y"))))
    assert [op for op, _ in told(result)] == ["!", "c", "!"]
    fault = result.faults[0]
    assert (fault.document_id, fault.row_id) == (str(HOUSE), f"{HOUSE}/int:1")
    assert fault.path == "amount"
    ids = [dict(event.headers)["event_id"] for event in result.events]
    assert len(set(ids)) == 3


def test_a_row_that_ceases_to_map_is_kept_and_one_that_maps_again_is_published() -> None:
    good, bad = house(line(1, 10)), house(line(1, "x"))
    world = normaliser(LINES)
    assert told(made(world, change("u", bad, good))) == [("!", f"{HOUSE}/int:1")]
    result = made(world, change("u", good, bad))
    assert told(result) == [("u", f"{HOUSE}/int:1")]
    assert value(result.events[0])["before"] is None
    assert [op for op, _ in told(made(world, change("u", house(), bad)))] == ["d", "-"]


@pytest.mark.parametrize("lines", ["none", {"0": {}}, 5])
def test_what_is_no_array_is_a_dead_letter_and_heals(lines: Any) -> None:
    world = normaliser(LINES)
    good, broken = house(line(1, 10)), house() | {"lines": lines}
    result = made(world, change("u", broken, good))
    assert told(result) == [("d", f"{HOUSE}/int:1"), ("-", f"{HOUSE}/int:1"), ("!", str(HOUSE))]
    fault = result.faults[0]
    assert (fault.path, fault.reason) == ("lines[]", "is no array")
    assert told(made(world, change("u", good, broken))) == [("c", f"{HOUSE}/int:1")]


def test_an_element_that_is_no_document_is_a_dead_letter() -> None:
    result = made(normaliser(LINES), change("c", house("x", None, line(1))))
    assert told(result) == [
        ("!", f"{HOUSE}/#0"),
        ("!", f"{HOUSE}/#1"),
        ("c", f"{HOUSE}/int:1"),
    ]


def test_an_element_that_became_a_document_has_no_old_state() -> None:
    result = made(normaliser(LINES), change("u", house({"amount": 2}), house("x", amount=5)))
    assert told(result) == [("u", f"{HOUSE}/#0")]
    assert value(result.events[0])["before"] is None


@pytest.mark.parametrize("document", [{"_id": HOUSE}, {"_id": HOUSE, "lines": None}, house()])
def test_no_array_no_rows(document: dict[str, Any]) -> None:
    assert made(normaliser(LINES), change("c", document)).events == []


def test_rows_below_fields_with_dots() -> None:
    table = transactions({"amount": r"a\.b.c"}, rows=r"x.l\.s[]")
    document = {"_id": 1, "x": {"l.s": [{"_id": 2, "a.b": {"c": 5}}]}}
    result = made(normaliser(table), change("c", document))
    assert value(result.events[0])["after"]["amount"] == "5"


def test_rows_may_have_a_prefix() -> None:
    world = normaliser(LINES | {"id_prefix": "line:"})
    (event,) = made(world, change("c", house(line(1)))).events
    assert decode_key(event.key)[2] == f"line:{HOUSE}/int:1"
    (dead,) = world.refused(event, "no")
    assert letter(dead).document_id == str(HOUSE)
