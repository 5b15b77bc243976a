"""YNAB followed to its topics: whatever happens to the plan, the rows are the plan's."""

import pytest

from compose.simulators.ynab_household import YnabSize
from tests.ynab_world import SMALL, world


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
async def test_the_first_read_is_the_plan_to_the_last_digit(currency: str) -> None:
    async with world(YnabSize(transactions=300, years=2, currency=currency)) as it:
        await it.settled()
        it.check()
        assert not it.followed.dead_letters()
        assert not it.integration.open


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
