"""Objects of YNAB and Plaid as events of the budget: every field, sign, digit and refusal."""

import json
from decimal import Decimal
from typing import Any

import pytest

from cdc.mapping.api_normaliser import ApiNormaliser
from cdc.mapping.normaliser import Normalised
from cdc.sources.plaid_item import ItemContext
from cdc.sources.plaid_tables import TABLES as PLAID_TABLES
from cdc.sources.protocol import Change
from cdc.sources.ynab_answers import PlanContext
from cdc.sources.ynab_tables import TABLES as YNAB_TABLES
from cdc.sources.ynab_tables import decimal_of
from schemas.entities import entity
from schemas.envelope import Event, decode_key
from schemas.hashing import transaction_hash
from schemas.version import Version

PLAN = PlanContext("plan-1", "EUR", 2)
ITEM = ItemContext("item-1")
POSITION = 1_800_000_000_000

YNAB_TRANSACTION = {
    "id": "7e1c0d3e-0000-4000-8000-000000000001_2026-11-01",
    "date": "2026-11-01",
    "amount": -123930,
    "memo": None,
    "cleared": "cleared",
    "approved": True,
    "flag_color": "",
    "flag_name": None,
    "account_id": "a1",
    "payee_id": "p1",
    "category_id": "c1",
    "transfer_account_id": None,
    "transfer_transaction_id": None,
    "matched_transaction_id": None,
    "import_id": "YNAB:-123930:2026-11-01:1",
    "import_payee_name": "SHOP",
    "import_payee_name_original": "SHOP 12",
    "debt_transaction_type": None,
    "deleted": False,
    "subtransaction_ids": [],
}
PLAID_TRANSACTION = {
    "transaction_id": "t1",
    "account_id": "a1",
    "amount": Decimal("72.1"),
    "iso_currency_code": "USD",
    "unofficial_currency_code": None,
    "date": "2026-11-02",
    "pending": False,
    "pending_transaction_id": "t0",
    "name": "SQ *BLUE BOTTLE 0423",
    "merchant_name": "Blue Bottle",
    "authorized_date": "2026-11-01",
    "authorized_datetime": None,
    "datetime": "2026-11-02T10:00:00+01:00",
    "payment_channel": "in store",
    "location": {"city": "Berlin", "lat": Decimal("52.5200")},
    "payment_meta": {},
    "personal_finance_category": {"primary": "FOOD", "detailed": "COFFEE", "version": "v2"},
    "website": "bluebottle.example",
    "account_owner": None,
    "transaction_code": None,
}


def normaliser(connector: str, news: list[tuple[str, str, str]] | None = None) -> ApiNormaliser:
    tables = YNAB_TABLES if connector == "ynab" else PLAID_TABLES
    found = [] if news is None else news
    return ApiNormaliser(
        tables,
        prefix="ledger",
        book="home",
        source=connector,
        connector=connector,
        streams=lambda: ("plan-1",),
        partitions=lambda entity: 8,
        clock_ms=lambda: 1_800_000_001_000,
        news=lambda *what: found.append(what),
    )


def change(
    resource: str, document: dict[str, Any] | None, *, op: str = "u", key: str = ""
) -> Change:
    context = PLAN if document is None or "transaction_id" not in document else ITEM
    after = None if document is None else {"$": context, **document}
    row_id = key or (document or {}).get("id") or (document or {}).get("transaction_id")
    return Change(f"plan-1/{resource}", op, row_id, None, after, POSITION, 3, 1_800_000_000_000)


def one(
    resource: str, document: dict[str, Any], connector: str = "ynab", **options: Any
) -> dict[str, Any]:
    """The row of the single event that comes out."""
    found = normaliser(connector).normalise([change(resource, document, **options)], epoch=0)
    assert not found.faults
    (event,) = found.events
    value: dict[str, Any] = json.loads(event.value or b"")["after"]
    name = value_entity(event)
    content = {column: value[column] for column in entity(name).column_names}
    entity(name).model.model_validate(content)
    assert value.keys() - content.keys() == {"book", "source", "id"}
    return value


def value_entity(event: Event) -> str:
    return dict(event.headers)["schema"].decode().partition("/")[0]


def fault(found: Normalised) -> tuple[str, str]:
    (only,) = found.faults
    (event,) = found.events
    letter = json.loads(event.value or b"")
    assert event.topic == "ledger.dead_letters"
    assert (letter["path"], letter["reason"]) == (only.path, only.reason)
    return only.path, only.reason


def test_the_envelope_is_the_contracts() -> None:
    found = normaliser("ynab").normalise([change("transactions", YNAB_TRANSACTION)], epoch=2)
    (event,) = found.events
    value = json.loads(event.value or b"")
    assert event.topic == "ledger.budget.transactions"
    assert decode_key(event.key) == ("home", "ynab", YNAB_TRANSACTION["id"])
    assert value["before"] is None
    assert value["op"] == "u"
    assert value["source"] == {
        "version": "1",
        "connector": "ynab",
        "name": "ynab",
        "ts_ms": 1_800_000_000_000,
        "snapshot": "false",
        "db": "plan-1",
        "collection": "transactions",
        "change_version": Version(2, POSITION, 3).encode().hex(),
        "mapping": "plan-1/transactions:budget.transactions",
    }
    headers = dict(event.headers)
    assert headers["schema"] == b"budget.transactions/1"
    assert len(headers["event_id"]) == 32
    expected = transaction_hash(
        "home", "ynab", "a1", str(YNAB_TRANSACTION["id"]), "-123.93", "EUR", "2026-11-01", "p1"
    )
    assert headers["transaction_hash"].decode() == expected.hex()
    assert found.counts == {("budget.transactions", "u"): 1}


def test_a_ynab_transaction_keeps_every_field() -> None:
    row = one("transactions", YNAB_TRANSACTION)
    assert row["amount"] == "-123.93"
    assert row["currency"] == "EUR"
    assert row["budget_id"] == "plan-1"
    assert row["flag_color"] is None
    assert row["subtransaction_ids"] == []
    assert row["details"] is None
    for name in ("date", "cleared", "approved", "account_id", "payee_id", "import_id"):
        assert row[name] == YNAB_TRANSACTION[name]


@pytest.mark.parametrize(
    ("milliunits", "digits", "written"),
    [
        (123930, 2, "123.93"),
        (-123930, 2, "-123.93"),
        (-5, 2, "-0.005"),
        (0, 2, "0.00"),
        (123000, 0, "123"),
        (123400, 0, "123.4"),
        (1, 3, "0.001"),
        (1000, 3, "1.000"),
        (-10, 2, "-0.01"),
        (9_007_199_254_740_993, 2, "9007199254740.993"),
    ],
)
def test_milliunits_are_exact_in_every_currency(milliunits: int, digits: int, written: str) -> None:
    assert decimal_of(milliunits, digits) == written
    assert Decimal(written) * 1000 == milliunits


def test_a_list_answers_row_is_the_same_as_the_plans() -> None:
    listed = YNAB_TRANSACTION | {
        "amount_formatted": "-123,93",
        "amount_currency": Decimal("-123.93"),
        "account_name": "Current",
        "payee_name": "Shop",
        "category_name": "Food",
        "subtransactions": [],
    }
    assert one("transactions", listed) == one("transactions", YNAB_TRANSACTION)


def test_what_no_table_knows_is_kept_and_told_once() -> None:
    news: list[tuple[str, str, str]] = []
    mine = normaliser("ynab", news)
    novel = YNAB_TRANSACTION | {"cleared": "doubtful", "mood": {"level": Decimal("0.10")}}
    found = mine.normalise([change("transactions", novel)] * 3, epoch=0)
    row = json.loads(found.events[0].value or b"")["after"]
    assert row["cleared"] == "doubtful"
    assert row["details"] == {"mood": {"level": "0.10"}}
    assert sorted(news) == [
        ("budget.transactions", "cleared", "doubtful"),
        ("budget.transactions", "details", "mood"),
    ]
    assert mine.unknown["budget.transactions", "cleared", "doubtful"] == 3


@pytest.mark.parametrize(
    ("resource", "broken", "path"),
    [
        ("transactions", {"amount": None}, "amount"),
        ("transactions", {"amount": Decimal("1.5")}, "amount"),
        ("transactions", {"amount": True}, "amount"),
        ("transactions", {"account_id": None}, "account_id"),
        ("transactions", {"account_id": 5}, "account_id"),
        ("transactions", {"date": "2026-13-01"}, "date"),
        ("transactions", {"date": "2026-11-01T00:00:00Z"}, "date"),
        ("transactions", {"approved": "yes"}, "approved"),
    ],
)
def test_what_does_not_fit_is_a_dead_letter_with_its_path(
    resource: str, broken: dict[str, Any], path: str
) -> None:
    changes = [change(resource, YNAB_TRANSACTION | broken)]
    found = normaliser("ynab").normalise(changes, epoch=0)
    assert fault(found)[0] == path
    assert found.faults[0].document_id == YNAB_TRANSACTION["id"]
    assert not found.counts


def test_one_broken_object_does_not_stop_its_neighbours() -> None:
    broken = change("transactions", YNAB_TRANSACTION | {"amount": None})
    whole = change("transactions", YNAB_TRANSACTION)
    found = normaliser("ynab").normalise([whole, broken, whole], epoch=0)
    assert [event.topic for event in found.events] == [
        "ledger.budget.transactions",
        "ledger.dead_letters",
        "ledger.budget.transactions",
    ]


def test_a_dead_letter_holds_nothing_of_the_content() -> None:
    broken = YNAB_TRANSACTION | {"amount": "one hundred", "memo": "private words"}
    found = normaliser("ynab").normalise([change("transactions", broken)], epoch=0)
    assert b"private" not in (found.events[0].value or b"")
    assert b"hundred" not in (found.events[0].value or b"")


def test_a_delete_is_followed_by_its_tombstone() -> None:
    found = normaliser("ynab").normalise([change("transactions", None, op="d", key="t9")], epoch=0)
    delete, tombstone = found.events
    assert json.loads(delete.value or b"")["op"] == "d"
    assert (tombstone.value, tombstone.headers) == (None, [])
    assert (delete.key, delete.partition) == (tombstone.key, tombstone.partition)


def test_loan_values_by_day_are_decimals_too() -> None:
    account = {
        "id": "a1",
        "name": "House",
        "type": "mortgage",
        "on_budget": False,
        "closed": False,
        "balance": -250_000_000,
        "cleared_balance": -250_000_000,
        "uncleared_balance": 0,
        "transfer_payee_id": None,
        "debt_interest_rates": {"2026-01-01": 3250},
        "last_reconciled_at": "2026-11-01T09:30:00.123456+01:00",
        "deleted": False,
    }
    row = one("accounts", account)
    assert row["balance"] == "-250000.00"
    assert row["debt_interest_rates"] == {"2026-01-01": "3.25"}
    assert row["last_reconciled_at"] == "2026-11-01T08:30:00.123Z"


def test_amounts_of_a_category_stand_beside_their_month() -> None:
    category = {
        "id": "c1",
        "category_group_id": "g1",
        "category_group_name": "Living",
        "name": "Food",
        "hidden": False,
        "internal": False,
        "budgeted": 100_000,
        "activity": -20_500,
        "balance": 79_500,
        "goal_target": 100_000,
        "goal_day": 5,
        "deleted": False,
        "month": "2026-11-01",
        "category_id": "c1",
    }
    row = one("month_categories", category, key="plan-1/2026-11-01/c1")
    assert (row["month"], row["category_id"]) == ("2026-11-01", "c1")
    assert (row["budgeted"], row["activity"], row["balance"]) == ("100.00", "-20.50", "79.50")
    assert row["details"] is None


def test_a_plan_is_a_budget() -> None:
    plan = {
        "id": "plan-1",
        "name": "Home",
        "kind": "plan",
        "last_modified_on": "2026-11-15T12:00:00+00:00",
        "first_month": "2025-01-01",
        "last_month": "2026-12-01",
        "date_format": {"format": "DD.MM.YYYY"},
        "currency_format": {"iso_code": "EUR", "decimal_digits": 2, "symbol_first": False},
    }
    row = one("plans", plan)
    assert row["kind"] == "plan"
    assert row["currency"] == "EUR"
    assert row["date_format"] == "DD.MM.YYYY"
    assert row["currency_format"]["decimal_digits"] == 2
    assert row["last_modified_on"] == "2026-11-15T12:00:00Z"
    assert row["details"] is None


def test_plaids_sign_is_turned_and_its_facts_have_columns() -> None:
    row = one("transactions", PLAID_TRANSACTION, "plaid", op="c")
    assert row["amount"] == "-72.1"
    assert row["payee_name"] == "Blue Bottle"
    assert row["pending_transaction_id"] == "t0"
    assert row["category_primary"] == "FOOD"
    assert row["category_version"] == "v2"
    assert row["location"] == {"city": "Berlin", "lat": "52.5200"}
    assert row["datetime"] == "2026-11-02T09:00:00Z"
    assert row["details"] == {"website": "bluebottle.example"}
    assert row["budget_id"] == "item-1"


@pytest.mark.parametrize(
    ("told", "written"),
    [
        (Decimal("72.1"), "-72.1"),
        (Decimal("-72.10"), "72.10"),
        (Decimal("-0.0"), "0.0"),
        (0, "0"),
        (-5, "5"),
        (Decimal("1E+2"), "-100"),
        (Decimal("0.1"), "-0.1"),
    ],
)
def test_turned_amounts_are_exact(told: object, written: str) -> None:
    row = one("transactions", PLAID_TRANSACTION | {"amount": told}, "plaid", op="c")
    assert row["amount"] == written


@pytest.mark.parametrize(
    ("kind", "current", "balance"),
    [("depository", "10.5", "10.5"), ("credit", "10.5", "-10.5"), ("loan", "100", "-100")],
)
def test_what_is_owed_is_negative(kind: str, current: str, balance: str) -> None:
    account = {
        "account_id": "a1",
        "name": "Card",
        "official_name": None,
        "mask": "1234",
        "type": kind,
        "subtype": "x",
        "balances": {
            "current": Decimal(current),
            "available": Decimal("5.00"),
            "limit": None,
            "iso_currency_code": None,
            "unofficial_currency_code": "PTS",
        },
    }
    row = one("accounts", account, "plaid", key="a1")
    assert (row["balance"], row["available"]) == (balance, "5.00")
    assert (row["currency"], row["unofficial_currency"]) == (None, "PTS")


def test_a_stream_of_its_own_has_mappings_of_its_own() -> None:
    both = normaliser("ynab")
    assert set(both.of("plan-2").mappings) & set(both.mappings) == set()
    assert set(both.of("plan-1").mappings) == set(both.mappings)
    assert all(name.count(":") == 1 for name in both.mappings)


def test_what_postgres_cannot_hold_is_replaced_in_nested_values_too() -> None:
    odd = {"city": "Ber\0lin", "la\0t": [Decimal("1.50"), None, True, "\0"]}
    row = one("transactions", PLAID_TRANSACTION | {"location": odd}, "plaid", op="c")
    assert row["location"] == {"city": "Ber\ufffdlin", "la\ufffdt": ["1.50", None, True, "\ufffd"]}
