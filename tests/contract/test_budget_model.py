"""Someone who knows YNAB's API finds every field under its name: held against its OpenAPI file."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from cdc.runtime.postgres import Connection, PostgresTarget
from cdc.sources.ynab_tables import TABLES
from compose.simulators.openapi import SPECS, Spec
from consumers.migrate import migrate
from tests.budget_rows import Budget

FILE = SPECS / "ynab.openapi.yaml"
OBJECTS = {
    "budgets": ("PlanSummary", "PlanDetail", "PlanSettings"),
    "accounts": ("Account", "AccountBase"),
    "category_groups": ("CategoryGroup", "CategoryGroupWithCategories"),
    "categories": ("Category", "CategoryBase"),
    "months": ("MonthSummary", "MonthSummaryBase", "MonthDetail", "MonthDetailBase"),
    "month_categories": ("Category", "CategoryBase"),
    "payees": ("Payee",),
    "payee_locations": ("PayeeLocation",),
    "transactions": ("TransactionDetail", "TransactionSummary", "TransactionSummaryBase"),
    "subtransactions": ("SubTransaction", "SubTransactionBase"),
    "scheduled_transactions": (
        *("ScheduledTransactionDetail", "ScheduledTransactionSummary"),
        "ScheduledTransactionSummaryBase",
    ),
    "scheduled_subtransactions": ("ScheduledSubTransaction", "ScheduledSubTransactionBase"),
    "money_movement_groups": ("MoneyMovementGroup",),
    "money_movements": ("MoneyMovement", "MoneyMovementBase"),
}
MONTH = date(2026, 3, 1)
AGAIN = ("_formatted", "_currency")
"""Endings of an amount's further forms: the amount itself is a decimal in `currency`."""
IN_TABLES = {*OBJECTS} - {"budgets", "month_categories", "money_movements"}
IN_TABLES -= {"money_movement_groups"}
"""Fields that hold other objects whole, which have a table of their own."""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    connection = await PostgresTarget(dsn=database).connect()
    await migrate(connection)
    yield connection
    await connection.close()


async def test_every_field_of_ynab_is_a_column_of_its_name(connection: Connection) -> None:
    if not FILE.exists():
        pytest.skip("YNAB's OpenAPI file is not beside the repository")
    spec = Spec(FILE)
    assert {table.entity.name for table in TABLES} == {f"budget.{name}" for name in OBJECTS}
    for name, schemas in OBJECTS.items():
        columns = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0",
            f"budget.{name}_live",
        )
        fields = {field for schema in schemas for field in spec.fields(schema)} - IN_TABLES
        wanted = {field for field in fields if not field.endswith(AGAIN)}
        missing = wanted - {row["attname"] for row in columns}
        assert missing == set(), name
        assert len(wanted) > 2, name


async def test_names_that_ynab_repeats_are_looked_up(connection: Connection) -> None:
    budget = Budget(connection)
    in_plan = {"budget_id": "ynab-b"}
    account = await budget.account("ynab", "0", name="Giro")
    payee = await budget.put("payees", "ynab", name="Bistro", **in_plan)
    group = await budget.put("category_groups", "ynab", name="Living", **in_plan)
    category = await budget.put(
        *("categories", "ynab"), name="Food", category_group_id=group, month=MONTH, **in_plan
    )
    row = {"category_id": category, "payee_id": payee, "payee_name": None}
    spent = await budget.spend("ynab", account, "-3", "2026-03-02", "", **row)
    split = await budget.spend(
        "ynab", account, "-3", "2026-03-02", "Two", subtransaction_ids='["line"]'
    )
    bank = await budget.spend("bank", account, "-3", "2026-03-02", "SQ *BISTRO")
    line = {"transaction_id": split, "category_id": category, "amount": Decimal(-3)}
    await budget.put("subtransactions", "ynab", id="line", payee_id=payee, **line, **in_plan)

    async def names(view: str, columns: str) -> set[tuple[str | None, ...]]:
        rows = await connection.fetch(f"SELECT {columns} FROM budget.{view}")
        return {tuple(each) for each in rows}

    assert await names("transactions_live", "id, account_name, payee_name, category_name") == {
        (spent, "Giro", "Bistro", "Food"),
        (split, "Giro", "Two", "Split"),
        (bank, None, "SQ *BISTRO", None),
    }
    lines = await names("subtransactions_live", "payee_name, category_name")
    assert lines == {("Bistro", "Food")}
    assert await names("categories_live", "name, category_group_name") == {("Food", "Living")}
