"""Backfill over a bank's simulator: only gaps are fetched, whatever dies, and live polling wins."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from cdc.jobs import runner
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_item import INITIAL
from tests.backfill_world import GET, World, until, world

YEARS = PlaidSize(transactions=900)
"""Two years: 25 windows."""
SHORT = PlaidSize(transactions=120, days=100)
WINDOWS = 25


async def test_24_months_are_told_again_in_windows(database: str) -> None:
    async with world(database, YEARS) as it:
        it.forget_transactions()
        job = await it.run()
        assert job["state"] == "done", job["errors"]
        it.bank.check()  # every row is there, though the topic had lost them all
        assert len(it.fetched()) == len(set(it.fetched())) == WINDOWS
        assert (
            job["progress"] | {"done": WINDOWS, "total": WINDOWS, "failed": 0} == (job["progress"])
        )
        assert job["result"]["rows"] == sum(
            each["transactions"] for each in await it.coverage("fetched")
        )
        assert [each["gaps"] for each in job["result"]["accounts"]] == [[]] * 3
        again = await it.run()
        assert (again["state"], again["result"]["windows"]) == ("done", 0)
        assert len(it.fetched()) == WINDOWS


async def test_killed_at_every_window_no_finished_one_is_fetched_again(database: str) -> None:
    async with world(database, YEARS) as it:
        it.forget_transactions()
        job_id = await it.ask()
        kills: list[tuple[int, set[tuple[str, str]]]] = []
        while not await ended(it, job_id):
            known = len(await it.finished())
            async with it.daemon():
                await until(partial(further, it, job_id, known))
                for _ in range(len(kills) % 5):  # not always at the same step of the next one
                    await it.finished()
            kills.append((len(it.fetched()), await it.finished()))
        job = await it.job(job_id)
        assert job["state"] == "done", job["errors"]
        assert len(kills) > WINDOWS // 5  # two are fetched at a time, and more may end meanwhile
        for asked, finished in kills:
            assert not finished & set(it.fetched(asked))
        assert len(set(it.fetched())) == WINDOWS
        it.bank.check()


async def further(it: World, job_id: int, windows: int) -> bool:
    return len(await it.finished()) > windows or await ended(it, job_id)


async def ended(it: World, job_id: int) -> bool:
    return (await it.job(job_id))["finished_at"] is not None


async def test_live_polling_goes_on_beside_it_and_wins(database: str) -> None:
    async with world(database, YEARS) as it:
        edits = it.bank.sim.item()
        rows = sorted(edits.transactions(limit=900), key=lambda row: row.date, reverse=True)
        today = it.bank.sim.clock.today()
        job_id = await it.ask()
        for number in range(8):  # one row of every second window, while that window is read
            middle = str(today - timedelta(days=60 * number + 15))
            row = next(row for row in rows if row.date <= middle)
            change: dict[str, Any] = {"id": row.transaction_id}
            order = "remove_transaction" if number % 2 else "modify_transaction"
            if not number % 2:
                change["amount"] = "77.77"
            # When the bank has made its answer, and nobody has got it yet.
            it.bank.sim.script(order, args=change, match=GET, when="after", skip=2 * number)
        async with it.daemon():
            await it.until(job_id, lambda job: bool(job["result"]))
        assert len(it.fetched()) == WINDOWS
        it.bank.check()


async def test_progress_can_be_read_while_it_runs(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HOLD_SECONDS", 0.1)
    async with world(database, SHORT) as it:
        it.bank.sim.fail_next("delay", match=GET, skip=2, seconds=7)
        job_id = await it.ask(months="4")
        async with it.daemon():
            job = await it.until(job_id, lambda job: job["progress"].get("done", 0) >= 2)
            progress = job["progress"]
            assert (job["state"], progress["total"]) == ("running", 5)
            assert progress["rows"] > 0
            assert progress["rows_per_second"] > 0
            assert progress["remaining_seconds"] > 0


async def test_what_the_bank_does_not_have_is_not_available_and_no_gap(database: str) -> None:
    async with world(database, SHORT) as it:
        job = await it.run()
        rows = it.bank.followed.rows("budget.transactions").values()
        oldest = min(str(row["date"]) for row in rows)
        for each in job["result"]["accounts"]:
            ((first, last),) = each["not_available"]
            assert first == job["result"]["from"]
            ((start, end),) = each["fetched"]
            assert (start, end) == (oldest, job["result"]["to"])
            assert each["gaps"] == []
        before = len(it.fetched())
        again = await it.run()
        assert (again["result"]["windows"], len(it.fetched())) == (0, before)
        view = await it.connection.fetchrow(
            "SELECT fetched_from::text, not_available_to::text, gaps::text, transactions"
            " FROM budget.account_history ORDER BY transactions DESC LIMIT 1"
        )
        assert view is not None
        assert (view["fetched_from"], view["not_available_to"]) == (oldest, last)
        assert view["gaps"] == "{}"
        assert view["transactions"] > 0


async def test_history_that_plaid_has_not_read_yet_is_not_called_unavailable(
    database: str,
) -> None:
    async with world(database, PlaidSize(transactions=100, days=300)) as it:
        it.bank.item.status, it.bank.item.historical_seconds = INITIAL, 1e9
        job_id = await it.ask(months="10")
        async with it.daemon():
            asked = "SELECT count(*) FROM sync.requests WHERE state = 'failed'"
            await until(partial(it.connection.fetchval, asked))
        assert it.fetched() == []
        assert await it.coverage("not_available") == await it.coverage("fetched") == []
        assert not await ended(it, job_id)


async def test_only_what_failed_is_fetched_again(database: str) -> None:
    async with world(database, SHORT) as it:
        it.bank.sim.fail_next("status", match=GET, skip=1, status=400, error="INVALID_FIELD")
        job = await it.run(months="4")
        assert job["state"] == "failed"
        assert "1 of 5 windows failed" in job["errors"][-1]["error"]
        failed = await it.coverage("failed")
        assert {(str(each["from_date"]), str(each["to_date"])) for each in failed} == {
            it.fetched()[1]
        }
        assert "INVALID_FIELD" in failed[0]["detail"]
        before = len(it.fetched())
        again = await it.run(months="4")
        assert (again["state"], again["result"]["windows"]) == ("done", 1)
        assert it.fetched(before) == [it.fetched()[1]]
        assert await it.coverage("failed") == []


async def test_days_that_have_shrunk_are_fetched_again(database: str) -> None:
    async with world(database, SHORT) as it:
        await it.run(months="4")
        await it.apply("transactions")
        await it.connection.execute(
            "INSERT INTO sync.offsets VALUES ('g', '.budget.transactions', 0, 'id', 1, NULL, now())"
        )
        await it.connection.execute(
            "UPDATE budget.coverage SET fetched_at = now() - interval '2 minutes'"
        )
        lost = (await it.coverage("fetched"))[-1]
        at = "SELECT id FROM budget.transactions WHERE account_id = $1 AND date BETWEEN $2 AND $3"
        place = (lost["account_id"], lost["from_date"], lost["to_date"])
        (row_id, *_) = [row["id"] for row in await it.connection.fetch(at, *place)]
        await it.connection.execute("DELETE FROM budget.transactions WHERE id = $1", row_id)
        told = await it.run(months="4", dry_run="true")
        assert (told["state"], told["result"]["windows"]) == ("done", 1)
        before = len(it.fetched())
        job = await it.run(months="4")
        assert job["result"]["rows"] == lost["transactions"]
        assert it.fetched(before) == [(str(lost["from_date"]), str(lost["to_date"]))]
        assert [each["shrunk"] for each in job["result"]["accounts"]] == [[]] * 3


async def test_what_is_known_to_be_gone_does_not_come_back(database: str) -> None:
    """A bank's answer may be older than what it has told its pollers."""
    async with world(database, SHORT) as it:
        await it.apply("transactions")
        row_id = next(iter(it.bank.followed.rows("budget.transactions")))
        await it.connection.execute(
            "UPDATE budget.transactions SET deleted = true WHERE id = $1", row_id
        )
        it.forget_transactions()
        await it.run(months="4")
        told = it.bank.followed.rows("budget.transactions")
        assert len(told) == SHORT.transactions - 1
        assert row_id not in told


async def test_one_account_and_certain_days(database: str) -> None:
    async with world(database, SHORT) as it:
        account = next(iter(it.bank.item.accounts))
        today = it.bank.sim.clock.today()
        days = {"from": str(today - timedelta(days=50)), "to": str(today - timedelta(days=11))}
        told = await it.run(account=account, dry_run="yes", **days)
        assert it.fetched() == []
        assert (told["result"]["dry_run"], told["result"]["windows"]) == (True, 2)
        assert told["result"]["accounts"][0]["gaps"] == [[days["from"], days["to"]]]
        await it.run(account=account, **days)
        assert {seen.body["options"]["account_ids"][0] for seen in it.bank.sim.requests(GET)} == {
            account
        }
        covered = await it.connection.fetch("SELECT DISTINCT account_id FROM budget.coverage")
        assert [row["account_id"] for row in covered] == [account]


async def test_a_plan_is_read_whole_and_its_days_are_known(database: str) -> None:
    async with world(database, SHORT) as it:
        await it.connection.execute(
            "UPDATE budget.budgets SET kind = 'plan', id = 'p', first_month = '2026-01-01'"
        )
        await it.connection.execute("UPDATE budget.accounts SET budget_id = 'p'")
        job_id = await it.ask()
        async with it.daemon():
            asked = (
                "SELECT array_agg(parameters->>'collection') FROM sync.requests"
                " WHERE kind = 'resync' HAVING count(*) = 2"
            )
            found = await until(partial(it.connection.fetchval, asked))
            await it.connection.execute("UPDATE sync.requests SET state = 'done'")
            job = await it.until(job_id, lambda job: job["state"] != "running")
        assert set(found) == {"p/transactions", "p/subtransactions"}
        assert job["state"] == "done", job["errors"]
        for each in job["result"]["accounts"]:
            assert each["not_available"][0][1] == "2025-12-31"
            assert each["gaps"] == []


async def test_without_accounts_it_says_so(database: str) -> None:
    async with world(database, SHORT) as it:
        job = await it.run(account="none")
        assert job["state"] == "failed"
        assert "no account none of fake" in job["errors"][0]["error"]
