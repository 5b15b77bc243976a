"""YNAB's objects as rows. Nearly every column is the field of the same name.

Amounts come as milliunits and leave as decimals with as many digits as the plan's currency has;
what does not fit these digits keeps a third one. Denormalised names and the two further forms of
every amount (``_formatted``, ``_currency``) are left out.
"""

from collections.abc import Mapping
from typing import Any

from cdc.mapping.api_tables import PLAINLY, Convert, Read, Table, Wrong, day, read
from cdc.sources.polled_objects import CONTEXT
from cdc.sources.protocol import Document
from cdc.sources.ynab_answers import PlanContext
from schemas.entities import Entity, Kind
from schemas.entities import budget as b

_WORDS = {
    "type": "checking savings cash creditCard lineOfCredit otherAsset otherLiability mortgage "
    "autoLoan studentLoan personalLoan medicalDebt otherDebt",
    "cleared": "cleared uncleared reconciled",
    "flag_color": "red orange yellow green blue purple",
    "frequency": "never daily weekly everyOtherWeek twiceAMonth every4Weeks monthly "
    "everyOtherMonth every3Months every4Months twiceAYear yearly everyOtherYear",
    "debt_transaction_type": "payment refund fee interest escrow balanceAdjustment credit charge",
    "goal_type": "TB TBD MF NEED DEBT",
}


def milliunits(value: Any, document: Document) -> str:
    """123930 with two digits is 123.93."""
    if type(value) is not int:
        raise Wrong("not milliunits")
    return decimal_of(value, document[CONTEXT].digits)


def decimal_of(value: int, digits: int) -> str:
    """Milliunits as a plain decimal of at least ``digits`` digits; never rounded."""
    if digits == 2 and value % 10 == 0:  # nearly all there are
        whole, part = divmod(abs(value) // 10, 100)
        return f"-{whole}.{part:02}" if value < 0 else f"{whole}.{part:02}"
    whole, part = divmod(abs(value), 1000)
    fraction = f"{part:03}".ljust(digits, "0")
    while len(fraction) > digits and fraction.endswith("0"):
        fraction = fraction[:-1]
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def milliunits_by_day(value: Any, document: Document) -> dict[str, str]:
    """What a loan account has from which day on."""
    if not isinstance(value, dict):
        raise Wrong("not an object of dates")
    return {day(key, document): milliunits(each, document) for key, each in value.items()}


def not_empty(value: Any, document: Document) -> str | None:
    """No flag is null or an empty text: one thing here."""
    if type(value) is not str:
        raise Wrong("not a text")
    return value or None


def date_format(value: Any, document: Document) -> str | None:
    found = value.get("format") if isinstance(value, dict) else value
    if found is not None and type(found) is not str:
        raise Wrong("not a date format")
    return found


_KINDS: Mapping[Kind, Convert] = {**PLAINLY, Kind.DECIMAL: milliunits}
_IGNORED = frozenset(
    {
        *("id", "deleted", "*_formatted", "*_currency"),
        *("account_name", "payee_name", "category_name", "category_group_name"),
        *("subtransactions", "categories"),
    }
)
_FLAGS = {"flag_color": read("flag_color", by=not_empty)}
_DEBT = {
    name: read(name, by=milliunits_by_day)
    for name in ("debt_interest_rates", "debt_minimum_payments", "debt_escrow_amounts")
}
_NOT_YNABS = frozenset(
    {
        *("available", "credit_limit", "unofficial_currency", "subtype", "official_name", "mask"),
        *("persistent_account_id", "holder_category", "payee_name", "pending", "name"),
        *("pending_transaction_id", "authorized_date", "authorized_datetime", "datetime"),
        *("merchant_name", "merchant_entity_id", "original_description", "category_primary"),
        *("category_detailed", "category_confidence", "category_version", "payment_channel"),
        *("transaction_code", "check_number", "account_owner", "location", "payment_meta"),
        *("counterparties",),
    }
)
"""Columns of the bank feed alone: a field of that name is none that we know."""


def _in_plan(context: PlanContext | None) -> Mapping[str, Any]:
    if context is None:
        return {"budget_id": None}
    return {"budget_id": context.id}


def _in_money(context: PlanContext | None) -> Mapping[str, Any]:
    if context is None:
        return {"budget_id": None, "currency": None}
    return {"budget_id": context.id, "currency": context.currency}


def _table(
    resource: str, entity: Entity, columns: Mapping[str, Read] | None = None, *left_out: str
) -> Table:
    names = [name for name in entity.column_names if name not in left_out]
    money = "currency" in names
    read_as = {name: read(name) for name in names} | dict(columns or {})
    return Table(
        resource,
        entity,
        columns=read_as,
        only=True,
        context=_in_money if money else _in_plan,
        known={name: frozenset(_WORDS[name].split()) for name in names if name in _WORDS},
        ignored=_IGNORED,
        kinds=_KINDS,
    )


TABLES = (
    Table(
        "plans",
        b.BUDGETS,
        columns={
            "currency": read("currency_format.iso_code"),
            "date_format": read("date_format", by=date_format),
        },
        ignored=frozenset({"id", "accounts", "deleted"}),
    ),
    _table("accounts", b.ACCOUNTS, _DEBT, *(_NOT_YNABS - {"name"})),
    _table("payees", b.PAYEES),
    _table("payee_locations", b.PAYEE_LOCATIONS),
    _table("category_groups", b.CATEGORY_GROUPS),
    _table("categories", b.CATEGORIES),
    _table("months", b.MONTHS),
    _table("month_categories", b.MONTH_CATEGORIES),
    _table("transactions", b.TRANSACTIONS, _FLAGS, *_NOT_YNABS),
    _table("subtransactions", b.SUBTRANSACTIONS),
    _table("scheduled_transactions", b.SCHEDULED_TRANSACTIONS, _FLAGS),
    _table("scheduled_subtransactions", b.SCHEDULED_SUBTRANSACTIONS),
    _table("money_movement_groups", b.MONEY_MOVEMENT_GROUPS),
    _table("money_movements", b.MONEY_MOVEMENTS),
)
