"""Plaid's objects as rows of the budget model.

Plaid's signs are turned: a transaction's amount is positive there when money leaves, and a card's
balance is positive when it is owed. Here money in is positive, and a debt is negative.
"""

from collections.abc import Mapping
from typing import Any

from cdc.mapping.api_tables import Table, amount, read, turned
from cdc.sources.plaid_item import ItemContext
from cdc.sources.protocol import Document
from schemas.entities import budget as b

DEBTS = ("credit", "loan")
"""Types of accounts whose balance is what is owed."""

_ACCOUNT_TYPES = frozenset({"depository", "credit", "loan", "investment", "brokerage", "other"})
_CHANNELS = frozenset({"online", "in store", "other"})


def held(value: Any, document: Document) -> str:
    """A balance: what is owed is negative."""
    return (turned if document.get("type") in DEBTS else amount)(value, document)


def _of_item(context: ItemContext | None) -> Mapping[str, Any]:
    return {"budget_id": None if context is None else context.id}


def _item(context: ItemContext | None) -> Mapping[str, Any]:
    return {"kind": "item"}


ITEMS = Table(
    "items",
    b.BUDGETS,
    columns={
        name: read(name)
        for name in (
            *("name", "institution_id", "institution_name", "status", "status_reason"),
            *("consent_expiration_time", "last_successful_update", "last_failed_update"),
        )
    },
    only=True,
    context=_item,
    ignored=frozenset({"item_id"}),
    detailed=frozenset({"update_type", "billed_products"}),
)

ACCOUNTS = Table(
    "accounts",
    b.ACCOUNTS,
    columns={
        "name": read("name"),
        "type": read("type"),
        "subtype": read("subtype"),
        "official_name": read("official_name"),
        "mask": read("mask"),
        "persistent_account_id": read("persistent_account_id"),
        "holder_category": read("holder_category"),
        "currency": read("balances.iso_currency_code"),
        "unofficial_currency": read("balances.unofficial_currency_code"),
        "balance": read("balances.current", by=held),
        "available": read("balances.available"),
        "credit_limit": read("balances.limit"),
    },
    only=True,
    context=_of_item,
    known={"type": _ACCOUNT_TYPES},
    ignored=frozenset({"account_id"}),
    detailed=frozenset({"verification_status", "verification_name", "verification_insights"}),
)

TRANSACTIONS = Table(
    "transactions",
    b.TRANSACTIONS,
    columns={
        **{
            name: read(name)
            for name in (
                *("account_id", "date", "pending", "pending_transaction_id", "authorized_date"),
                *("authorized_datetime", "datetime", "name", "merchant_name"),
                *("merchant_entity_id", "original_description", "payment_channel"),
                *("transaction_code", "check_number", "account_owner", "location"),
                *("payment_meta", "counterparties"),
            )
        },
        "amount": read("amount", by=turned),
        "currency": read("iso_currency_code"),
        "unofficial_currency": read("unofficial_currency_code"),
        "payee_name": read("merchant_name", "name"),
        "category_primary": read("personal_finance_category.primary"),
        "category_detailed": read("personal_finance_category.detailed"),
        "category_confidence": read("personal_finance_category.confidence_level"),
        "category_version": read("personal_finance_category.version"),
    },
    only=True,
    context=_of_item,
    known={"payment_channel": _CHANNELS},
    ignored=frozenset({"transaction_id"}),
    detailed=frozenset(
        {
            *("logo_url", "website", "category", "category_id", "transaction_type"),
            *("personal_finance_category_icon_url", "business_finance_category"),
            *("client_customization", "running_balance", "merchant_category_code"),
        }
    ),
)

BALANCES = Table(
    "balances",
    b.BALANCES,
    columns={
        "account_id": read("account_id"),
        "as_of": read("as_of"),
        "current": read("current", by=held),
        "available": read("available"),
        "credit_limit": read("limit"),
        "currency": read("iso_currency_code"),
        "unofficial_currency": read("unofficial_currency_code"),
    },
    only=True,
    context=_of_item,
    ignored=frozenset({"type", "last_updated_datetime"}),
)

TABLES = (ITEMS, ACCOUNTS, TRANSACTIONS, BALANCES)
