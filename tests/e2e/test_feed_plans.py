"""Plans that come, come back or are renamed while the daemon runs: nobody restarts it for them."""

from datetime import datetime

import pytest

from compose.simulators.ynab_household import YnabSize
from tests.ynab_world import World, world

TINY = YnabSize(name="One", transactions=60, years=1)
OTHER = YnabSize(name="Two", transactions=60, years=1)
THIRD = YnabSize(name="Three", transactions=60, years=1)
HOUR_SECONDS = 3600


def told(it: World) -> int:
    """Events about locations so far."""
    log = it.followed.broker.log
    return sum(len(found) for (topic, _), found in log.items() if "payee_locations" in topic)


async def test_a_new_plan_is_followed_within_the_hour() -> None:
    """It was only looked for when a session began: weeks after, if nothing went wrong."""
    for sizes in ([TINY], [TINY, OTHER]):
        async with world(*sizes) as it:
            await it.settled()
            it.sim.add_plan(THIRD)
            await it.settled()
            it.check()
            listed = [each for each in it.sim.requests() if each.path.endswith("/plans")]
            first, second, *_ = (datetime.fromisoformat(each.at) for each in listed)
            assert (second - first).total_seconds() <= HOUR_SECONDS * 1.5
            assert len(listed) <= 3, "once an hour, and once to begin anew"


async def test_a_plan_that_is_wanted_and_comes_later_is_followed_beside_the_others() -> None:
    async with world(TINY, plans=("One", "Three")) as it:
        await it.followed.run_until(lambda: "Three: " in it.followed.line.progress.reason)
        late = it.sim.add_plan(THIRD).plan.id
        await it.followed.run_until(lambda: late in it.followed.rows("budget.budgets"))
        await it.settled()
        it.check()
        assert it.followed.line.progress.reason == ""


@pytest.mark.parametrize("form", ["plan", "lists"])
async def test_a_plan_that_is_renamed_has_its_new_name(form: str) -> None:
    async with world(TINY, poll_seconds=300.0) as it:
        if form == "lists":
            it.sim.switch(plan_detail_rows_max=10)
        await it.settled()
        it.sim.plan().plan.name = "Ours"

        def name() -> str:
            (budget,) = it.followed.rows("budget.budgets").values()
            return str(budget["name"])

        await it.followed.run_until(lambda: name() == "Ours")
        await it.settled()
        it.check(lists=form == "lists")


async def test_locations_of_payees_come_and_go_in_a_plan_read_by_its_lists() -> None:
    """Their list has no delta: it is told whole, and compared with what was told before."""
    async with world(TINY) as it:
        it.sim.switch(plan_detail_rows_max=10)
        plan = it.sim.plan()
        payee = plan.plan.payees.live()[0].name
        kept = plan.add_payee_location(payee, "52.5200", "13.4050")
        gone = plan.add_payee_location(payee, "48.1400", "11.5800")
        await it.settled()
        it.check(lists=True)
        plan.delete_payee_location(gone)
        added = plan.add_payee_location(payee, "50.1100", "8.6800")
        plan.add_transaction("Wallet", -1_000, category="Pets")
        await it.settled()
        it.check(lists=True)
        found = it.followed.rows("budget.payee_locations").keys()
        assert {kept, added} <= found and gone not in found
        before = told(it)
        await it.followed.restart()
        await it.settled()
        assert told(it) == before, "what is as it was is not told again"
        plan.delete_payee_location(kept)  # alone: seen within the hour
        it.sim.clock.advance(HOUR_SECONDS)
        await it.settled()
        it.check(lists=True)
