"""Accounting: every entity is a table of the same name (``contract.md`` 4)."""

from consumers.projections.projection import Projection
from schemas.entities.accounting import OWNERS, PROPERTIES, TRANSACTIONS

ACCOUNTING = (
    Projection(PROPERTIES),
    Projection(OWNERS),
    Projection(TRANSACTIONS, takes_turns=True),
)
