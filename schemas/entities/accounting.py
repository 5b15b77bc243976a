"""Accounting: properties, their owners, and the money that moves (``contract.md`` 4)."""

from schemas.entities.base import Amount, Day, Entity, Flag, Row, Text

TRANSACTION_TYPES = ("income", "expense", "owner_payout", "repair", "maintenance", "other")
"""Income adds to a balance; the five others subtract (positive amounts; a refund is negative)."""


class Property(Row):
    """A managed property. ``currency``: upper-case ISO 4217, the source's default filled in."""

    name: Text | None = None
    address: Text | None = None
    owner_id: Text | None = None
    currency: Text | None = None


class Owner(Row):
    """A person who may own properties (or rent, or manage: ``role`` tells)."""

    name: Text | None = None
    email: Text | None = None
    phone: Text | None = None
    role: Text | None = None


class Transaction(Row):
    """A payment of a property. ``settled`` is decided at the source by the mapping's statuses."""

    property_id: Text | None = None
    type: Text
    amount: Amount
    currency: Text
    date: Day | None = None
    description: Text | None = None
    status: Text | None = None
    settled: Flag
    payment_method: Text | None = None
    reference: Text | None = None


PROPERTIES = Entity("accounting.properties", Property)
OWNERS = Entity("accounting.owners", Owner)
TRANSACTIONS = Entity("accounting.transactions", Transaction, hashed=True)

ENTITIES = (PROPERTIES, OWNERS, TRANSACTIONS)
