"""Do the feeds' rows equal what stands at YNAB and at the bank? Is one purchase counted once?

Knows neither mapping nor consumer: YNAB's milliunits and Plaid's signs are turned here anew, and
what counts once is worked out from the matches, not asked of the view.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg

from compose.demo.compare import Difference, Row, row_differences
from compose.simulators.plaid_item import Item
from compose.simulators.ynab_plan import Plan, Table

OWED = ("credit", "loan")
_SAME = {
    "accounts": "name type on_budget closed note",
    "payees": "name transfer_account_id",
    "category_groups": "name hidden",
    "transactions": "memo cleared flag_color account_id payee_id category_id import_id approved "
    "transfer_account_id transfer_transaction_id",
    "subtransactions": "transaction_id memo payee_id category_id",
    "scheduled_transactions": "frequency memo account_id payee_id category_id",
}
_MONEY = {
    "accounts": "balance cleared_balance uncleared_balance",
    "transactions": "amount",
    "subtransactions": "amount",
    "scheduled_transactions": "amount",
}
_ONCE = "SELECT source, id FROM budget.transactions_once WHERE book = $1"
_LIVE = """
SELECT source, id, pending_transaction_id FROM budget.transactions WHERE book = $1 AND NOT deleted
"""
_MATCHES = """
SELECT source, transaction_id, other_source, other_id FROM budget.matches
WHERE book = $1 AND state = 'confirmed'
"""
Connection = asyncpg.Connection


async def compare_feeds(
    postgres: "Connection[asyncpg.Record]",
    book: str,
    plan: tuple[str, Plan],
    item: tuple[str, Item],
) -> tuple[int, tuple[Difference, ...]]:
    """(rows compared, all that differs). Each feed is given with its source's name."""
    compared, differences = 0, list[Difference]()
    for source, truth in ((plan[0], plan_rows(plan[1])), (item[0], item_rows(item[1]))):
        for table, expected in truth.items():
            query = f"SELECT * FROM budget.{table} WHERE book = $1 AND source = $2"
            rows = await postgres.fetch(query, book, source)
            found = {row["id"]: dict(row) for row in rows}
            differences += row_differences(f"budget.{table}", expected, found)
            compared += len(expected)
    return compared, (*differences,)


async def purchase_differences(
    postgres: "Connection[asyncpg.Record]", book: str, ends: Mapping[str, str]
) -> list[Difference]:
    """``ends``: source → id of the one purchase. It counts once, and so does everything else."""
    rows = await postgres.fetch(_LIVE, book)
    live = {(row["source"], row["id"]) for row in rows}
    posted = {(row["source"], row["pending_transaction_id"]): row["id"] for row in rows}

    def now(source: str, row_id: str) -> tuple[str, str]:
        """What was pending is what was posted."""
        return source, posted.get((source, row_id), row_id)

    once = [(row["source"], row["id"]) for row in await postgres.fetch(_ONCE, book)]
    left_out = live & posted.keys()
    for match in await postgres.fetch(_MATCHES, book):
        kept = now(match["source"], match["transaction_id"])
        other = now(match["other_source"], match["other_id"])
        if kept in live and other != kept:
            left_out.add(other)
    differences = []
    both = set(ends.items())
    found, counted = len(both & live), sum(each in both for each in once)
    if (found, counted) != (2, 1):
        said = f"{found} rows, counted {counted} times"
        name = " and ".join(sorted(ends.values()))
        differences.append(Difference("the purchase", name, "", "2 rows, counted 1 times", said))
    if sorted(once) != sorted(live - left_out):
        differences.append(
            Difference("budget.transactions_once", "", "", len(live - left_out), len(once))
        )
    return differences


def plan_rows(plan: Plan) -> dict[str, dict[str, Row]]:
    """The tables of a plan that a person would look at, from YNAB's own rows."""
    tables: dict[str, Table[Any]] = {
        "accounts": plan.accounts,
        "payees": plan.payees,
        "category_groups": plan.category_groups,
        "transactions": plan.transactions,
        "subtransactions": plan.subtransactions,
        "scheduled_transactions": plan.scheduled,
    }
    return {name: {r.id: _plan_row(name, r) for r in rows.live()} for name, rows in tables.items()}


def _plan_row(table: str, row: Any) -> Row:
    same = {name: getattr(row, name) for name in _SAME[table].split()}
    if "flag_color" in same:
        same["flag_color"] = same["flag_color"] or None
    if table == "transactions":
        same["date"] = date.fromisoformat(row.date)
    money = _MONEY.get(table, "").split()
    return same | {name: Decimal(getattr(row, name)) / 1000 for name in money}


def item_rows(item: Item) -> dict[str, dict[str, Row]]:
    """Accounts and transactions of a bank; money in is positive, a debt negative."""
    accounts = {
        key: {
            "name": row.name,
            "mask": row.mask,
            "type": row.type,
            "balance": (-1 if row.type in OWED else 1) * (row.balances.current or 0),
            "currency": row.balances.iso_currency_code,
        }
        for key, row in item.cached.items()
    }
    transactions = {
        key: {
            "account_id": row.account_id,
            "amount": -row.amount,
            "currency": row.iso_currency_code,
            "date": date.fromisoformat(row.date),
            "name": row.name,
            "merchant_name": row.merchant_name,
            "pending": row.pending,
            "pending_transaction_id": row.pending_transaction_id,
        }
        for key, row in item.rows.items()
    }
    return {"accounts": accounts, "transactions": transactions}
