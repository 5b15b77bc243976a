"""Plaid's objects as a bank connection keeps them, field by field of its OpenAPI file.

Amounts are exact decimals here and JSON numbers on the wire, positive when money leaves.
A row never changes: an edit puts another one in its place.
"""

from decimal import Decimal
from typing import NamedTuple

import msgspec

ENCODER = msgspec.json.Encoder(decimal_format="number")


class Shape(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Any part of an answer."""


class Balances(Shape, frozen=True, kw_only=True, gc=False):
    available: Decimal | None = None
    current: Decimal | None = None
    limit: Decimal | None = None
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None
    last_updated_datetime: str | None = None


class Account(Shape, frozen=True, kw_only=True, gc=False):
    account_id: str
    balances: Balances
    mask: str | None
    name: str
    official_name: str | None
    type: str
    subtype: str | None
    holder_category: str | None = "personal"
    persistent_account_id: str | msgspec.UnsetType = msgspec.UNSET
    """Some institutions give one; it outlives a new login."""


class Location(Shape, frozen=True, kw_only=True, gc=False):
    address: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    lat: Decimal | None = None
    lon: Decimal | None = None
    store_number: str | None = None


class PaymentMeta(Shape, frozen=True, kw_only=True, gc=False):
    reference_number: str | None = None
    ppd_id: str | None = None
    payee: str | None = None
    by_order_of: str | None = None
    payer: str | None = None
    payment_method: str | None = None
    payment_processor: str | None = None
    reason: str | None = None


class FinanceCategory(Shape, frozen=True, kw_only=True, gc=False):
    primary: str
    detailed: str
    confidence_level: str | None = "HIGH"
    version: str = "v2"


class Counterparty(Shape, frozen=True, kw_only=True, gc=False):
    name: str
    type: str = "merchant"
    entity_id: str | None = None
    website: str | None = None
    logo_url: str | None = None
    confidence_level: str | None = "VERY_HIGH"
    account_numbers: None = None


NOWHERE = Location()
NO_META = PaymentMeta()


class Transaction(Shape, frozen=True, kw_only=True, gc=False):
    transaction_id: str
    account_id: str
    amount: Decimal
    iso_currency_code: str | None
    unofficial_currency_code: str | None = None
    date: str
    authorized_date: str | None = None
    datetime: str | None = None
    authorized_datetime: str | None = None
    name: str
    merchant_name: str | None = None
    merchant_entity_id: str | None = None
    original_description: str | None = None
    """Only in answers to those who ask for it."""
    pending: bool = False
    pending_transaction_id: str | None = None
    payment_channel: str = "other"
    transaction_code: str | None = None
    transaction_type: str = "unresolved"
    account_owner: str | None = None
    check_number: str | None = None
    category: tuple[str, ...] | None = None
    category_id: str | None = None
    location: Location = NOWHERE
    payment_meta: PaymentMeta = NO_META
    personal_finance_category: FinanceCategory | None = None
    personal_finance_category_icon_url: str = "https://plaid-category-icons.plaid.com/PFC.png"
    counterparties: tuple[Counterparty, ...] = ()
    logo_url: str | None = None
    website: str | None = None


class Entry(NamedTuple):
    """One line of a connection's log: what happened to a transaction, and what it then was."""

    kind: str
    """added, modified or removed"""
    row: Transaction
