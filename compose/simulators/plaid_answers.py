"""Parts of Plaid's answers that several endpoints share."""

from typing import Any

from msgspec.structs import replace

from compose.simulators.plaid_item import Item
from compose.simulators.plaid_requests import Get
from compose.simulators.plaid_rows import Transaction

PRODUCTS = ("transactions", "balance")


def listed(row: Transaction, *, described: bool, version: str) -> Transaction:
    """The row as asked for: with the bank's own text or without, in that taxonomy."""
    if not described:
        row = replace(row, original_description=None)
    category = row.personal_finance_category
    if category is not None and category.version != version:
        row = replace(row, personal_finance_category=replace(category, version=version))
    return row


def transactions_of(item: Item, asked: Get, accounts: set[str]) -> list[Transaction]:
    """Everything in the window, both days included, newest first."""
    rows = item.newest_first()
    first, last = asked.start_date.isoformat(), asked.end_date.isoformat()
    return [row for row in rows if first <= row.date <= last and row.account_id in accounts]


def item_shape(item: Item) -> dict[str, Any]:
    """An Item, with its error if it has one."""
    return {
        "item_id": item.item_id,
        "institution_id": item.institution_id,
        "institution_name": item.name,
        "webhook": None,
        "error": item.error,
        "available_products": ["identity"],
        "billed_products": list(PRODUCTS),
        "products": list(PRODUCTS),
        "consented_products": list(PRODUCTS),
        "consent_expiration_time": None,
        "update_type": "background",
    }


def institution(institution_id: str) -> dict[str, Any]:
    return {
        "institution_id": institution_id,
        "name": f"Simulated Bank {institution_id}",
        "products": ["transactions", "balance"],
        "country_codes": ["US"],
        "routing_numbers": [],
        "oauth": False,
    }
