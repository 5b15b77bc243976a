"""YNAB followed to its topics: whatever happens to the plan or on the way, the rows are the plan's.

The truth is read from the simulator's own rows, never through its endpoints.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import asdict

from cdc.sources.ynab import YnabSource
from cdc.sources.ynab_api import YnabApi
from cdc.sources.ynab_tables import TABLES
from cdc.whole_read import LookUp
from cdc.wishes import Resync
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize
from compose.simulators.ynab_plan import Plan
from tests.fakes import random_faults
from tests.followed import Followed, FreeQuota, differences

SMALL = YnabSize(transactions=300, years=2)
POLL_SECONDS = 30.0
UNLIKE = ("id", "deleted")


class World:
    """A simulator and what follows it."""

    def __init__(self, sim: YnabSimulator, **options: Any) -> None:
        self.sim = sim
        self.quota = FreeQuota()
        self.told: list[tuple[str, str, str]] = []
        self.token = options.pop("token", TOKEN)
        fault = options.pop("fault", None)
        self.options = {"poll_seconds": POLL_SECONDS, **options}
        self.followed = Followed(self._source, TABLES, sim.clock, fault=fault)

    def _source(self) -> YnabSource:
        def now() -> float:
            return self.sim.clock.now().timestamp()

        async def pause(seconds: float) -> None:
            await self.followed.pause(seconds)

        return YnabSource(
            "fake",
            YnabApi(self.token, self.quota, now=now, base_url=self.sim.base_url),
            now=now,
            pause=pause,
            tell=lambda *what: self.told.append(what),
            **self.options,
        )

    def polls(self) -> int:
        """Deltas asked for so far."""
        seen = self.sim.requests()
        return sum(1 for each in seen if "last_knowledge_of_server" in each.query)

    async def settled(self) -> None:
        """Until everything of now is published: cursors from after now, no whole read left."""
        await self.followed.settled(len(self.sim.books))

    def check(self, *, lists: bool = False) -> None:
        """Rows equal the truth of all plans; along every topic the order is kept."""
        self.followed.check_order()
        truth: dict[str, dict[str, Any]] = {}
        for book in self.sim.books.values():
            for entity, rows in truth_of(book.plan).items():
                truth.setdefault(entity, {}).update(rows)
        for entity, rows in truth.items():
            found = self.followed.rows(entity)
            if lists and entity == "budget.month_categories":
                found = {key: row for key, row in found.items() if key in rows}
            assert differences(found, rows) == [], entity


@asynccontextmanager
async def world(*sizes: YnabSize, seed: int = 1, **options: Any) -> AsyncIterator[World]:
    async with YnabSimulator(sizes or (SMALL,), seed=seed) as sim:
        found = World(sim, **options)
        try:
            yield found
        finally:
            await found.followed.source.close()


def truth_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Every entity's live rows, with the columns that are the same under another name."""

    def money(row: Any) -> dict[str, Any]:
        written = {name: each for name, each in asdict(row).items() if name not in UNLIKE}
        for name in getattr(row, "money", ()):
            if written[name] is not None:
                written[name] = decimals(plan, written[name])
        return {"budget_id": plan.id, **written}

    def table(rows: Any) -> dict[str, Any]:
        return {row.id: money(row) for row in rows.live()}

    def amounts(month: str, category: str) -> dict[str, Any]:
        row = plan.month_category(month, category)
        names = ("budgeted", "activity", "balance")
        return {"month": month} | {name: decimals(plan, getattr(row, name)) for name in names}

    return {
        "budget.budgets": {plan.id: {"name": plan.name, "currency": plan.currency.iso_code}},
        "budget.accounts": {
            key: {name: value for name, value in row.items() if not name.startswith("debt_")}
            for key, row in table(plan.accounts).items()
        },
        "budget.payees": table(plan.payees),
        "budget.payee_locations": table(plan.payee_locations),
        "budget.category_groups": table(plan.category_groups),
        "budget.categories": {
            row.id: {"name": row.name, **amounts(plan.current_month(), row.id)}
            for row in plan.categories.live()
        },
        "budget.months": {
            f"{plan.id}/{row.month}": {
                name: decimals(plan, getattr(row, name))
                for name in ("income", "budgeted", "activity", "to_be_budgeted")
            }
            for row in plan.months.rows.values()
        },
        "budget.month_categories": {
            f"{plan.id}/{row.month}/{row.category_id}": amounts(row.month, row.category_id)
            for row in plan.month_categories.rows.values()
            if not plan.categories[row.category_id].deleted
        },
        "budget.transactions": {
            key: {name: value or None for name, value in row.items() if name != "approved"}
            for key, row in table(plan.transactions).items()
        },
        "budget.subtransactions": table(plan.subtransactions),
        "budget.scheduled_transactions": table(plan.scheduled),
        "budget.scheduled_subtransactions": table(plan.scheduled_subs),
        "budget.money_movements": table(plan.money_movements),
        "budget.money_movement_groups": {key: {} for key in table(plan.money_movement_groups)},
    }


def decimals(plan: Plan, milliunits: int) -> str:
    return f"{Decimal(milliunits) / 1000:.{plan.currency.decimal_digits}f}"


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
async def test_the_first_read_is_the_plan_to_the_last_digit(currency: str) -> None:
    async with world(YnabSize(transactions=300, years=2, currency=currency)) as it:
        await it.settled()
        it.check()
        assert not it.followed.dead_letters()
        assert not it.told


async def test_when_nothing_changes_a_poll_costs_one_request_and_publishes_nothing() -> None:
    async with world() as it:
        await it.settled()
        before, events = len(it.sim.requests()), it.followed.events()
        start = it.polls()
        await it.followed.run_until(lambda: it.polls() >= start + 5)
        assert len(it.sim.requests()) - before == it.polls() - start
        assert it.followed.events() == events


async def test_the_first_read_costs_few_requests() -> None:
    async with world() as it:
        await it.settled()
        whole = [each for each in it.sim.requests() if "last_knowledge_of_server" not in each.query]
        assert len(whole) <= 4, [each.path for each in whole]


async def test_every_kind_of_change_arrives() -> None:
    async with world() as it:
        plan = it.sim.plan()
        await it.settled()
        plan.add_transaction("Checking", -12_340, payee="New Shop", category="Groceries")
        split = plan.add_transaction(
            "Visa",
            -30_000,
            lines=[
                {"amount": -10_000, "category": "Groceries"},
                {"amount": -20_000, "category": "Pets"},
            ],
        )
        transfer = plan.add_transaction("Checking", -50_000, transfer_to="Savings")
        gone = plan.add_transaction("Wallet", -1_000, category="Pets")
        plan.move_money("Pets", "Groceries", 5_000, note="more food")
        scheduled = plan.add_scheduled("Checking", -9_990, "2026-12-01", payee="Films")
        location = plan.add_payee_location("New Shop", "52.5200", "13.4050")
        await it.settled()
        it.check()
        plan.edit_transaction(split, lines=[{"amount": -30_000, "category": "Pets"}])
        plan.edit_transaction(transfer, amount=-60_000)
        plan.delete_transaction(gone)
        plan.edit_scheduled(scheduled, amount=-19_990)
        plan.rename_payee("New Shop", "Shop & Söhne")
        plan.delete_payee_location(location)
        plan.edit_account("Wallet", closed=True)
        plan.edit_category("Pets", hidden=True)
        await it.settled()
        it.check()
        plan.edit_transaction(split, lines=[], category="Pets")
        plan.enter_scheduled(scheduled)
        plan.delete_scheduled(scheduled)
        plan.delete_category("Hobbies")
        plan.merge_payees("Shop & Söhne", "Landlord") if "Landlord" in str(
            plan.plan.payees.rows
        ) else None
        await it.settled()
        it.check()
        assert not it.followed.dead_letters()


async def test_a_tombstone_never_seen_before_is_no_harm() -> None:
    async with world() as it:
        plan = it.sim.plan()
        await it.settled()
        born_and_gone = plan.add_transaction("Wallet", -1_000, category="Pets")
        plan.delete_transaction(born_and_gone)
        await it.settled()
        it.check()
        assert born_and_gone not in it.followed.rows("budget.transactions")


async def test_an_edit_of_something_older_than_a_year_arrives() -> None:
    """YNAB's lists leave it out silently, and their knowledge moves on all the same."""
    async with world() as it:
        await it.settled()
        oldest = min(it.sim.plan().plan.transactions.live(), key=lambda row: row.date)
        it.sim.plan().edit_transaction(oldest.id, memo="found the receipt")
        await it.settled()
        it.check()
        assert it.followed.rows("budget.transactions")[oldest.id]["memo"] == "found the receipt"


async def test_moving_to_another_account_keeps_the_id() -> None:
    async with world() as it:
        plan = it.sim.plan()
        moved = plan.add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        plan.edit_transaction(moved, account="Visa")
        await it.settled()
        it.check()


async def test_a_new_month_tells_all_categories_anew() -> None:
    async with world() as it:
        await it.settled()
        it.sim.set_clock("2026-11-30T23:59:50+00:00")
        await it.settled()
        it.sim.set_clock("2026-12-01T00:03:00+00:00")
        await it.settled()
        it.check()
        months = {row["month"] for row in it.followed.rows("budget.categories").values()}
        assert months == {"2026-12-01"}


async def test_knowledge_that_goes_back_is_a_gap_mended_by_a_whole_read() -> None:
    async with world() as it:
        plan = it.sim.plan()
        gone = plan.add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        plan.delete_transaction(gone)
        plan.lose_knowledge()
        await it.settled()
        it.check()
        assert gone not in it.followed.rows("budget.transactions")


@pytest.mark.parametrize("answer", ["empty", "full", "bad_request"])
async def test_a_number_the_server_never_gave_out_is_a_gap_whatever_it_answers(answer: str) -> None:
    async with world() as it:
        it.sim.switch(high_knowledge=answer)
        await it.settled()
        it.sim.plan().lose_knowledge()
        it.sim.plan().add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        it.check()


async def test_after_a_long_absence_the_plan_is_read_whole() -> None:
    """YNAB may have forgotten what was deleted: nobody knows how long it remembers."""
    async with world() as it:
        plan = it.sim.plan()
        gone = plan.add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        plan.delete_transaction(gone)
        it.sim.switch(knowledge_floor=plan.plan.knowledge)
        it.sim.advance_clock(30 * 86_400)
        await it.followed.restart()
        await it.settled()
        it.check()


async def test_a_plan_too_large_for_one_answer_is_read_by_its_lists() -> None:
    async with world() as it:
        it.sim.switch(plan_detail_rows_max=100, list_rows_max=60)
        await it.settled()
        it.check(lists=True)
        plan = it.sim.plan()
        oldest = min(plan.plan.transactions.live(), key=lambda row: row.date)
        plan.edit_transaction(oldest.id, memo="found the receipt")
        split = plan.add_transaction(
            "Visa", -3_000, lines=[{"amount": -1_000}, {"amount": -2_000, "category": "Pets"}]
        )
        await it.settled()
        plan.edit_transaction(split, lines=[{"amount": -3_000, "category": "Pets"}])
        await it.settled()
        it.check(lists=True)
        asked = list(it.sim.requests("/transactions"))
        assert all("since_date" in each.query for each in asked if "scheduled" not in each.path)


async def test_counters_of_their_own_for_every_endpoint_lose_nothing() -> None:
    async with world() as it:
        it.sim.switch(plan_detail_rows_max=100, per_endpoint_counters=True)
        await it.settled()
        plan = it.sim.plan()
        plan.add_transaction("Wallet", -7_000, payee="Somebody New", category="Pets")
        await it.settled()
        it.check(lists=True)


async def test_deleted_rows_in_a_full_answer_are_not_revived() -> None:
    async with world() as it:
        it.sim.switch(deleted_in_full=True, plan_detail_rows_max=100)
        plan = it.sim.plan()
        gone = plan.add_transaction("Wallet", -7_000, category="Pets")
        plan.delete_transaction(gone)
        await it.settled()
        it.check(lists=True)


async def test_split_lines_that_do_not_add_up_are_told_and_kept() -> None:
    async with world() as it:
        split = it.sim.plan().add_transaction(
            "Visa", -3_000, lines=[{"amount": -1_000}], unbalanced=True
        )
        await it.settled()
        it.check()
        assert ("split_sum", "transactions", split) in it.told


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "error": "service_unavailable"},
    {"kind": "status", "error": "too_many_requests"},
    {"kind": "status", "status": 429, "headers": {"retry-after": "40"}},
    {"kind": "status", "status": 500},
    {"kind": "html"},
    {"kind": "reset"},
    {"kind": "reset_after"},
    {"kind": "truncated", "keep_bytes": 300},
    {"kind": "patch", "changes": [["-data.server_knowledge", None]]},
    {"kind": "patch", "changes": [["data.server_knowledge", "many"]]},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:60])
@pytest.mark.parametrize("skip", [0, 1, 2, 3, 4])
async def test_a_failing_answer_moves_nothing(fault: dict[str, Any], skip: int) -> None:
    """At the list of plans, the whole read, the movements, the first and the second delta."""
    async with world(YnabSize(transactions=60, years=1)) as it:
        it.sim.fail_next(skip=skip, times=2, **fault)
        await it.settled()
        it.sim.plan().add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        it.check()


async def test_a_broken_object_is_a_dead_letter_and_its_neighbours_arrive() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        first = it.sim.plan().plan.transactions.live()[0].id
        it.sim.fail_next(
            "patch",
            match="/plans/",
            changes=[
                ["data.plan.transactions.0.amount", "ten"],
                ["data.plan.payees.0.id", None],
                ["data.plan.accounts.0.type", "cryptoVault"],
                ["data.plan.accounts.0.mood", "fine"],
            ],
        )
        await it.settled()
        letters = it.followed.dead_letters()
        assert {(each["path"], each["document_id"]) for each in letters} == {
            ("amount", first),
            ("id", None),
        }
        rows = it.followed.rows("budget.transactions")
        assert len(rows) == len(it.sim.plan().plan.transactions.live()) - 1
        account = next(
            row for row in it.followed.rows("budget.accounts").values() if row["details"]
        )
        assert (account["type"], account["details"]) == ("cryptoVault", {"mood": "fine"})


async def test_a_wrong_token_is_told_at_once_and_uses_nothing_up() -> None:
    async with world(token="wrong") as it:
        await it.followed.run_until(lambda: it.followed.line.progress.reason != "")
        assert "refuses the token" in it.followed.line.progress.reason
        start = it.sim.clock.now()

        def hours() -> float:
            return (it.sim.clock.now() - start).total_seconds() / 3600

        await it.followed.run_until(lambda: hours() > 1)
        assert len(it.sim.requests()) <= 13 * (hours() + 1)
        assert "wrong" not in str(it.followed.heard.lines)


async def test_plans_are_chosen_by_name_and_an_unknown_one_is_told() -> None:
    sizes = (SMALL, YnabSize(name="Holiday House", transactions=50, years=1))
    async with world(*sizes, plans=("Holiday House",)) as it:
        await it.followed.settled()
        (budget,) = it.followed.rows("budget.budgets").values()
        assert budget["name"] == "Holiday House"
    async with world(plans=("Nowhere",)) as it:
        await it.followed.run_until(lambda: it.followed.line.progress.reason != "")
        assert "no plan Nowhere" in it.followed.line.progress.reason
        assert "Household" in it.followed.line.progress.reason


async def test_two_plans_side_by_side() -> None:
    sizes = (SMALL, YnabSize(name="Holiday House", transactions=100, years=1, currency="JPY"))
    async with world(*sizes) as it:
        await it.settled()
        it.sim.plan("Household").add_transaction("Wallet", -1_000, category="Pets")
        it.sim.plan("Holiday House").add_transaction("Wallet", -1_000_000, category="Pets")
        await it.settled()
        it.check()


@pytest.mark.parametrize("seed", range(8))
async def test_killed_at_random_points_of_a_poll(seed: int) -> None:
    """Lives cut off without a word, while people go on editing: nothing lost, twice or revived."""
    chance = random.Random(seed)
    async with world(YnabSize(transactions=60, years=1), seed=seed) as it:
        plan = it.sim.plan()
        ours: list[str] = []
        for _ in range(30):
            ours.append(plan.add_transaction("Wallet", -1_000, category="Pets"))
            if chance.random() < 0.4:
                plan.delete_transaction(ours.pop(chance.randrange(len(ours))))
            if chance.random() < 0.3:
                plan.move_money("Pets", "Groceries", 1_000)
            if chance.random() < 0.05:
                plan.lose_knowledge()
            await it.followed.killed_after(chance.randrange(10, 400))
            it.sim.clock.advance(chance.choice([0.0, 5.0, 40.0]))
            await it.followed.restart()
        await it.settled()
        it.check()


@pytest.mark.parametrize("seed", range(4))
async def test_commits_that_fail_or_stay_in_doubt(seed: int) -> None:
    async with world(
        YnabSize(transactions=60, years=1), seed=seed, fault=random_faults(seed, 0.3)
    ) as it:
        for _ in range(6):
            it.sim.plan().add_transaction("Wallet", -1_000, category="Pets")
            it.sim.plan().move_money("Pets", "Groceries", 1_000)
            await it.settled()
            it.check()


async def test_a_resync_beside_the_stream_repairs_and_deletes() -> None:
    """Amounts may change without a mark: only a whole read tells them."""
    async with world() as it:
        await it.settled()
        it.sim.switch(derived_stamps=False)
        it.sim.plan().add_transaction("Wallet", -7_000, category="Pets")
        await it.settled()
        done: list[bool] = []
        it.followed.line.resync(Resync("1", done=lambda: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        it.check()


async def test_a_dead_letter_is_tried_again_from_the_plan_as_it_is() -> None:
    async with world(YnabSize(transactions=60, years=1)) as it:
        first = it.sim.plan().plan.transactions.live()[0].id
        it.sim.fail_next(
            "patch", match="/plans/", changes=[["data.plan.transactions.0.amount", "ten"]]
        )
        await it.settled()
        assert first not in it.followed.rows("budget.transactions")
        done: list[bool] = []
        collection = f"{it.sim.plan().plan.id}/transactions"
        it.followed.line.look_up(LookUp(collection, (first,), lambda: done.append(True)))
        await it.followed.run_until(lambda: bool(done))
        it.check()


@pytest.mark.parametrize("form", ["plan", "lists"])
async def test_edits_while_pages_of_a_whole_read_are_published(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole read is old as soon as it is there: a delta must win over its later pages."""
    monkeypatch.setattr("cdc.stream_reader.PAGE_ROWS", 10)
    async with world(poll_seconds=0.01) as it:
        if form == "lists":
            it.sim.switch(plan_detail_rows_max=100)
        plan = it.sim.plan()
        rows = sorted(plan.plan.transactions.live(), key=lambda row: row.id)
        plain = [row for row in rows if not row.transfer_transaction_id and row.date > "2026"]
        edited = [row.id for row in plain if row.id not in plan.plan.lines][-12:]
        match = f"/plans/{plan.plan.id}" if form == "plan" else "/transactions"
        for number, row_id in enumerate(edited[:10]):
            order = ("edit_transaction", {"id": row_id, "memo": f"edit {number}"})
            if number % 3 == 2:
                order = ("delete_transaction", {"id": row_id})
            it.sim.script(order[0], args=order[1], match=match, when="after", skip=number // 2)
        await it.settled()
        await it.settled()  # the last edits came after requests of the first
        it.check(lists=form == "lists")
        gone = [row_id for row_id in edited if plan.plan.transactions[row_id].deleted]
        assert gone
        memos = {row["memo"] for row in it.followed.rows("budget.transactions").values()}
        assert "edit 0" in memos
