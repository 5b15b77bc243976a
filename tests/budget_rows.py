"""Rows of the budget straight into its tables, for tests of what looks at them."""

from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg

BOOK = "home"


class Budget:
    """A migrated database's budget. Each method writes one row and returns its id."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._count = 0

    async def put(self, table: str, source: str, **columns: Any) -> str:
        self._count += 1
        row = {"book": BOOK, "source": source, "id": f"{table}{self._count}", **columns}
        names = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(f"${n + 1}" for n in range(len(row)))
        await self._connection.execute(
            f"INSERT INTO budget.{table} ({names}) VALUES ({places})", *row.values()
        )
        return str(row["id"])

    async def feed(self, source: str, kind: str) -> str:
        return await self.put("budgets", source, id=f"{source}-b", kind=kind, name=source)

    async def account(self, source: str, balance: str, **columns: Any) -> str:
        row = {"budget_id": f"{source}-b", "name": "Checking", "type": "checking"}
        return await self.put(
            "accounts", source, **{**row, "currency": "EUR", "balance": Decimal(balance)} | columns
        )

    async def spend(
        self, source: str, account: str, amount: str, day: str, payee: str, **columns: Any
    ) -> str:
        self._count += 1
        row = {
            "budget_id": f"{source}-b",
            "account_id": account,
            "amount": Decimal(amount),
            "currency": "EUR",
            "date": date.fromisoformat(day),
            "payee_name": payee,
            "transaction_hash": str(self._count).encode(),
        }
        return await self.put("transactions", source, **row | columns)
