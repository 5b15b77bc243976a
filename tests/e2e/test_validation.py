"""Validation of a budget: what each level finds, balances to the cent, issues that close."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from cdc.jobs import validate
from cdc.jobs.model import Job
from cdc.jobs.tools import Tools
from cdc.runtime.errors import Unavailable
from cdc.runtime.log import make_log
from cdc.runtime.postgres import Connection, PostgresTarget
from consumers.migrate import migrate
from tests.budget_rows import Budget


class World:
    """A database with one plan and one bank item."""

    def __init__(self, target: PostgresTarget, connection: Connection) -> None:
        self.connection = connection
        self.budget = Budget(connection)
        self._target = target

    async def validate(self, level: str = "normal") -> dict[str, Any]:
        async def nothing(progress: Any, cursor: Any = None) -> None:
            """Nobody watches."""

        connect = self._target.connect
        log = make_log(libraries=False, strict=True)
        tools = Tools(connect, lambda _: connect, frozenset(), nothing, log)
        job = Job(1, "validate", {"level": level}, 1, 1, None, None)
        result = await validate.run(job, tools)
        assert result.event == "data_validation"
        return result.document

    async def open(self) -> list[tuple[str, str, str]]:
        rows = await self.connection.fetch(
            "SELECT check_name, row_id, field FROM sync.validation_issues"
            " WHERE resolved_at IS NULL ORDER BY 1, 2, 3"
        )
        return [(row["check_name"], row["row_id"], row["field"]) for row in rows]


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    target = PostgresTarget(dsn=database)
    connection = await target.connect()
    await migrate(connection)
    made = World(target, connection)
    await made.budget.feed("ynab", "plan")
    await made.budget.feed("bank", "item")
    yield made
    await connection.close()


async def test_a_sound_budget_has_no_issue_at_any_level(world: World) -> None:
    budget = world.budget
    account = await budget.account("ynab", "-4.50", cleared_balance=Decimal("10.00"))
    await budget.spend("ynab", account, "10.00", "2026-01-01", "Opening", cleared="reconciled")
    await budget.spend("ynab", account, "-14.50", "2026-01-02", "Bakery", cleared="uncleared")
    bank = await budget.account("bank", "85.50")
    await budget.spend("bank", bank, "-14.50", "2026-01-02", "Bakery")
    await budget.spend("bank", bank, "-3.00", "2026-01-03", "Kiosk", pending=True)
    for level in validate.LEVELS:
        found = await world.validate(level)
        assert found["ok"], (level, await world.open())
        assert (found["transactions"], found["accounts"]) == (4, 2)


async def test_a_cent_is_found_and_closes_itself(world: World) -> None:
    account = await world.budget.account("ynab", "-14.50")
    row = await world.budget.spend("ynab", account, "-14.49", "2026-01-02", "Bakery")
    assert (await world.validate("relaxed"))["issues"] == {"balances": 1}
    assert (await world.validate("relaxed"))["opened"] == 0
    reason = await world.connection.fetchval("SELECT reason FROM sync.validation_issues")
    assert "a difference of -0.01" in reason
    await world.connection.execute(
        "UPDATE budget.transactions SET amount = -14.50 WHERE id = $1", row
    )
    found = await world.validate("relaxed")
    assert (found["ok"], found["closed"], await world.open()) == (True, 1, [])


async def test_a_banks_opening_is_learned_once_and_pending_is_apart(world: World) -> None:
    budget = world.budget
    bank = await budget.account("bank", "100.00")
    await budget.spend("bank", bank, "-20.00", "2026-01-02", "Bakery")
    assert (await world.validate())["ok"]
    await budget.spend("bank", bank, "-5.00", "2026-01-05", "Kiosk", pending=True)
    await budget.spend("bank", bank, "-7.00", "2025-12-01", "Older: before the opening's day")
    assert (await world.validate())["ok"]
    await world.connection.execute("UPDATE budget.accounts SET balance = 95")  # pending taken in
    assert (await world.validate("relaxed"))["ok"]
    assert (await world.validate("normal"))["issues"] == {"balances": 1}
    await budget.spend("bank", bank, "-1.00", "2026-01-06", "Not in the balance")
    assert (await world.validate("relaxed"))["issues"] == {"balances": 1}


async def test_each_check_finds_its_own(world: World) -> None:
    budget = world.budget
    account = await budget.account("ynab", "-33.00", on_budget=True)
    spend = budget.spend
    lost = await spend("ynab", "nowhere", "-1.00", "2026-01-01", "A")
    line = await budget.put(
        "subtransactions", "ynab", budget_id="b", amount=Decimal(1), transaction_id="nowhere"
    )
    one = await spend("ynab", account, "-5.00", "2026-01-02", "B", transaction_hash=b"x")
    two = await spend("ynab", account, "-6.00", "2026-01-02", "C", transaction_hash=b"x")
    bare = await spend("ynab", account, "-7.00", "2026-01-02", "D", transaction_hash=None)
    split = await spend("ynab", account, "-15.00", "2026-01-02", "E", payee_id="nobody")
    await budget.put(
        "subtransactions", "ynab", budget_id="b", amount=Decimal(-14), transaction_id=split
    )
    errors = {
        ("duplicate_hashes", one, "transaction_hash"),
        ("duplicate_hashes", two, "transaction_hash"),
        ("missing_fields", bare, "transaction_hash"),
        ("orphans", line, "transaction_id"),
        ("orphans", lost, "account_id"),
        ("relations", split, "subtransaction_ids"),
    }
    assert (await world.validate("relaxed"))["issues"] == {
        "duplicate_hashes": 2,
        "missing_fields": 1,
        "orphans": 2,
        "relations": 1,
    }
    assert set(await world.open()) == errors
    examples = (await world.validate("relaxed"))["examples"]
    assert {(e["check_name"], e["row_id"], e["field"]) for e in examples} == errors
    assert all(each["reason"] and each["resolve"] for each in examples)
    await world.validate("normal")
    warned = set(await world.open())
    assert warned - errors == {("relations", split, "payee_id")}
    await world.validate("strict")
    noticed = {(check, field) for check, _, field in set(await world.open()) - warned}
    assert noticed == {("missing_fields", "category_id")}
    await world.validate("relaxed")  # leaves what it does not look for
    assert ("relations", split, "payee_id") in await world.open()


async def test_transfers_and_equal_purchases(world: World) -> None:
    budget = world.budget
    one, other = await budget.account("ynab", "-18.00"), await budget.account("ynab", "9.00")
    for _ in range(2):
        await budget.spend("ynab", one, "-4.00", "2026-01-02", "Coffee")
    out = await budget.spend(
        "ynab", one, "-10.00", "2026-01-03", "Transfer", id="out", transfer_transaction_id="in"
    )
    await budget.spend(
        "ynab", other, "9.00", "2026-01-03", "Transfer", id="in", transfer_transaction_id=out
    )
    assert (await world.validate())["issues"] == {"relations": 2}
    found = (await world.validate("strict"))["issues"]
    assert found == {"relations": 2, "duplicate_hashes": 1}


async def test_one_validation_at_a_time(world: World) -> None:
    """Two would close each other's issues."""
    await world.connection.execute("SELECT pg_advisory_lock($1)", validate.LOCK)
    with pytest.raises(Unavailable, match="another validation"):
        await world.validate()
