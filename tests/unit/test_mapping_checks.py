"""Wrong declarations: all faults at once, each with its place, its value and a way out."""

from typing import Any

import pytest
from pydantic import ValidationError

from cdc.mapping.checks import faults
from cdc.mapping.declared import MappingDeclaration
from tests.mapping_world import TRANSACTIONS, transactions


def found(*tables: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [tuple(each) for each in faults([MappingDeclaration.model_validate(t) for t in tables])]


def only(*tables: dict[str, Any]) -> tuple[str, str, str]:
    """Place, reason and fix of the one fault."""
    (fault,) = found(*tables)
    return fault[0], fault[2], fault[3]


def test_faultless_declarations_have_none() -> None:
    assert (
        found(
            transactions(
                {
                    "amount": {"path": "amount", "decimal": "1,234.50"},
                    "date": {
                        "path": ["paidAt", "date", "dueDate"],
                        "type": "date",
                        "format": "%d/%m/%Y",
                        "zone": "Europe/Madrid",
                    },
                    "type": {
                        "path": "kind",
                        "map": {"rent": "income", "0": "other"},
                        "default": "income",
                    },
                    "description": {"join": ["label", "note"], "with": " – "},
                    "currency": {"const": "EUR"},
                    "property_id": {"path": "^^.propertyId", "type": "ref"},
                },
                rows="leases[].payments[]",
                where={"organisation": "acme", "kind": ["rent", "fee"], "^.x": 1, "#": 0},
                deleted_when={"isDeleted": True, "deletedAt": "present"},
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("table", "place", "reason", "fix"),
    [
        (
            transactions({}, entity="accounting.transaction"),
            "0.entity",
            "no such entity",
            "did you mean accounting.transactions?",
        ),
        (transactions({}, collection="a:b"), "0.collection", "colon", ""),
        (transactions({"id": None}), "0.fields.id", "is missing", '"_id"'),
        (transactions({"id": {"const": "x"}}), "0.fields.id", "an id is a path", '"_id"'),
        (
            transactions({"id": {"path": "_id", "type": "int"}}),
            "0.fields.id",
            "an id is a path",
            "",
        ),
        (transactions({"id": {"path": "_id", "type": "ref"}}), "0.fields.id", "one id", "type"),
        (
            transactions({"descripton": "x"}),
            "0.fields.descripton",
            "no such column",
            "did you mean description?",
        ),
        (transactions({"amount": None}), "0.fields.amount", "needs it in every row", "add"),
        (transactions({"type": None}), "0.fields.type", "needs it in every row", "add"),
        (
            transactions({"amount": {"path": "x", "type": "text"}}),
            "0.fields.amount.type",
            "does not fit",
            "write decimal",
        ),
        (
            transactions({"date": {"path": "x", "type": "timestamp"}}),
            "0.fields.date.type",
            "does not fit",
            "write date",
        ),
        (
            transactions({"date": {"path": "x", "zone": "Europe/Madird"}}),
            "0.fields.date.zone",
            "no time zone",
            "did you mean Europe/Madrid?",
        ),
        (
            transactions({"date": {"path": "x", "zone": "../../etc/passwd"}}),
            "0.fields.date.zone",
            "no time zone",
            "Europe/Madrid",
        ),
        (
            transactions({"date": {"path": "x", "format": "%d/%m"}}),
            "0.fields.date.format",
            "does not tell a day",
            "%d/%m/%Y",
        ),
        (
            transactions({"date": {"path": "x", "format": "%Q"}}),
            "0.fields.date.format",
            "does not tell a day",
            "%d/%m/%Y",
        ),
        (
            transactions({"amount": {"path": "x", "decimal": "1,234"}}),
            "0.fields.amount.decimal",
            "which sign",
            "1,234.50",
        ),
        (
            transactions({"description": {"path": "x", "decimal": "1,234.5"}}),
            "0.fields.description.decimal",
            "goes with type decimal",
            "",
        ),
        (
            transactions({"description": {"path": "x", "epoch": "s"}}),
            "0.fields.description.epoch",
            "goes with type date or timestamp",
            "",
        ),
        (
            transactions({"description": {"path": "x", "with": ","}}),
            "0.fields.description.with",
            "goes with join",
            "",
        ),
        (
            transactions({"amount": {"join": ["x", "y"]}}),
            "0.fields.amount.join",
            "joins texts",
            "",
        ),
        (
            transactions({"description": {"type": "text"}}),
            "0.fields.description",
            "says no path",
            "a.path",
        ),
        (
            transactions({"description": {"path": "x", "const": "y"}}),
            "0.fields.description",
            "stands alone",
            "",
        ),
        (
            transactions({"description": {"path": "x", "otherwise": "y"}}),
            "0.fields.description.otherwise",
            "goes with map",
            "",
        ),
        (
            transactions({"type": {"path": "x", "map": {"rent": "incom"}}}),
            "0.fields.type.map.rent",
            "is no type",
            "did you mean income?",
        ),
        (
            transactions({"type": {"path": "x", "default": "rent"}}),
            "0.fields.type.default",
            "is no type",
            "",
        ),
        (
            transactions({"settled": {"path": "x", "map": {"y": "yes"}}}),
            "0.fields.settled.map.y",
            "settled is bool",
            "true or false",
        ),
        (
            transactions({"amount": {"const": "1,50"}}),
            "0.fields.amount.const",
            "amount is decimal",
            '"1.50"',
        ),
        (
            transactions({"date": {"const": "1/2/2026"}}),
            "0.fields.date.const",
            "date is date",
            "2026-03-01",
        ),
        (
            transactions({"currency": {"const": "euro"}}),
            "0.fields.currency.const",
            "currency is text",
            "",
        ),
        (
            transactions({"type": {"path": "x", "type": "decimal", "map": {"1": "income"}}}),
            "0.fields.type.type",
            "map reads text, int and bool",
            "",
        ),
        (transactions({"description": "a..b"}), "0.fields.description", "a name is empty", ""),
        (transactions({"description": ""}), "0.fields.description", "a name is empty", ""),
        (transactions({"description": "a[].b"}), "0.fields.description", "[ cannot stand", ""),
        (transactions({"description": r"a\b"}), "0.fields.description", "means nothing", ""),
        (transactions({"description": "a\\"}), "0.fields.description", "backslash", ""),
        (transactions({"description": "^x"}, rows="a[]"), "0.fields.description", "a dot", ""),
        (transactions({"description": "^.x"}), "0.fields.description", "climbs 1 of 0", "rows"),
        (transactions({"description": "#"}), "0.fields.description", "no position", "rows"),
        (
            transactions({"description": "^^.x"}, rows="a[]"),
            "0.fields.description",
            "climbs 2 of 1",
            "",
        ),
        (transactions({"description": "^.#"}, rows="a[]"), "0.fields.description", "climbs", ""),
        (transactions({}, rows="a"), "0.rows", "end in []", "leases[]"),
        (transactions({}, rows="a[]b[]"), "0.rows", "a dot follows", ""),
        (transactions({}, rows="[]"), "0.rows", "empty", ""),
        (transactions({}, rows="^.a[]"), "0.rows", "cannot stand", ""),
        (transactions({}, where={"a..b": 1}), "0.where", "a name is empty", ""),
        (transactions({}, deleted_when={"^.b": 1}), "0.deleted_when", "climbs", ""),
        (transactions({}, id_prefix="int:"), "0.id_prefix", "form of another id", ""),
        (
            {
                "collection": "x",
                "entity": "budget.transactions",
                "fields": {
                    "id": "_id",
                    "budget_id": "b",
                    "account_id": "a",
                    "date": "d",
                    "amount": "m",
                    "location": "l",
                },
            },
            "0.fields.location",
            "column of JSON",
            "leave it out",
        ),
    ],
)
def test_a_fault_tells_place_reason_and_fix(
    table: dict[str, Any], place: str, reason: str, fix: str
) -> None:
    assert only(table)[0] == place
    assert reason in only(table)[1]
    assert fix in only(table)[2]


def test_all_faults_are_told_at_once() -> None:
    one = transactions(
        {"amont": "x", "amount": None, "date": {"path": "^.d", "zone": "X"}}, rows="a"
    )
    other = transactions({}, entity="nothing", where={"": 1})
    places = [fault[0] for fault in found(one, other)]
    assert sorted(places) == [
        "0.fields.amont",
        "0.fields.amount",
        "0.fields.date.zone",
        "0.rows",
        "1.entity",
        "1.where",
    ]


def test_faults_of_form_do_not_hide_the_others() -> None:
    broken = MappingDeclaration.model_validate(transactions({"amont": "x"}))
    assert [each.place for each in faults([None, broken])] == ["1.fields.amont"]


@pytest.mark.parametrize(
    ("prefixes", "places"),
    [
        (("", "fee:"), []),
        (("rent:", "fee:"), []),
        (("", ""), ["1.id_prefix"]),
        (("fee:", "fee:"), ["1.id_prefix"]),
        (("", "", ""), ["1.id_prefix", "2.id_prefix"]),
        (("a", "ab"), ["1.id_prefix"]),
        (("ab", "a"), ["0.id_prefix"]),
    ],
)
def test_mappings_into_one_entity_need_prefixes(
    prefixes: tuple[str, ...], places: list[str]
) -> None:
    tables = [
        transactions({}, collection=f"c{number}", id_prefix=prefix)
        for number, prefix in enumerate(prefixes)
    ]
    assert sorted(fault[0] for fault in found(*tables)) == places
    other = {"collection": "users", "entity": "accounting.owners", "fields": {"id": "_id"}}
    assert found(tables[0], other) == []


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (transactions({}, colection="x"), ("colection",)),
        (transactions({"amount": {"pth": "x"}}), ("fields", "amount", "pth")),
        (transactions({"amount": 5}), ("fields", "amount")),
        (transactions({"amount": {"path": []}}), ("fields", "amount", "path")),
        (transactions({"date": {"path": "x", "epoch": "us"}}), ("fields", "date", "epoch")),
        (transactions({"date": {"path": "x", "type": "datetime"}}), ("fields", "date", "type")),
        (transactions({"amount": {"path": "x", "minor_units": 1}}), ("fields", "amount")),
        (transactions({}, collection=""), ("collection",)),
        ({"collection": "x", "entity": TRANSACTIONS}, ("fields",)),
    ],
)
def test_the_form_is_held_by_the_models(table: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        MappingDeclaration.model_validate(table)
    assert any(error["loc"][: len(place)] == place for error in caught.value.errors())
