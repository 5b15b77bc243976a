"""What YNAB does not document, or changed between versions: each a switch of the simulator."""

from dataclasses import dataclass
from typing import Literal

COUNTERS = (
    "plan",
    "accounts",
    "categories",
    "payees",
    "months",
    "transactions",
    "scheduled_transactions",
    "money_movements",
)
COUNTER_STRIDE = 1_000_000
"""How far the endpoints' counters lie apart when each has its own."""


@dataclass
class Switches:
    """What is not publicly known, or differs between versions."""

    rate_limit_header: bool = False
    """`X-Rate-Limit: made/limit` on answers other than 429"""
    budgets_alias: bool = True
    """`/budgets…` answers with the old keys"""
    zero_knowledge: Literal["delta", "full"] = "delta"
    """0 brings everything, with tombstones or without"""
    high_knowledge: Literal["empty", "full", "bad_request"] = "empty"
    """a number this server never gave out"""
    knowledge_floor: int = 0
    """a lower number gets a full answer: its tombstones are forgotten"""
    per_endpoint_counters: bool = False
    counts_429: bool = False
    """refused requests count in the hour as well"""
    plan_detail_rows_max: int | None = None
    """a longer plan detail ends in 503, as after 30 s"""
    list_rows_max: int | None = None
    """the same for transaction lists"""
    month_delta: Literal["changed", "all"] = "changed"
    """the categories that a changed month of a plan's delta carries"""
    money_movement_delta: bool = False
    deleted_in_full: bool = False
    """full answers carry deleted transactions too, as one client has seen"""
    derived_stamps: bool = True
    """amounts that follow from others mark their rows as changed"""
