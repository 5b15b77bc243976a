"""What YNAB and Plaid are known to do, each followed by the real pipeline."""

from decimal import Decimal
from typing import Any

import orjson
import pytest
from msgspec import Raw

from cdc.sources.plaid_api import SyncPage
from cdc.sources.plaid_item import Update
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.ynab import TOKEN
from compose.simulators.ynab_household import YnabSize
from tests import plaid_world, ynab_world

TINY = YnabSize(transactions=60, years=1)


async def test_two_equal_purchases_of_a_plan_are_two_rows() -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        await it.settled()
        bought = [
            plan.add_transaction("Wallet", -4_500, payee="Bakery", category="Groceries")
            for _ in range(2)
        ]
        await it.settled()
        it.check()
        rows = it.followed.rows("budget.transactions")
        same = ("date", "amount", "payee_name", "account_id")
        first, second = (rows[each] for each in bought)
        assert {name: first[name] for name in same} == {name: second[name] for name in same}


async def test_a_merged_payee_changes_thousands_of_rows_in_one_delta() -> None:
    async with ynab_world.world(YnabSize(transactions=6_000, years=2)) as it:
        plan = it.sim.plan()
        await it.settled()
        uses: dict[str, int] = {}
        for row in plan.plan.transactions.live():
            if row.payee_id and not row.transfer_account_id:
                uses[row.payee_id] = uses.get(row.payee_id, 0) + 1
        most, other = sorted(uses, key=lambda each: -uses[each])[:2]
        names = {row.id: row.name for row in plan.plan.payees.live()}
        polls = it.polls()
        assert plan.merge_payees(names[most], names[other]) >= uses[most]
        await it.settled()
        it.check()
        assert it.polls() - polls <= 2
        assert most not in it.followed.rows("budget.payees")


async def test_what_refers_to_a_deleted_category_stays() -> None:
    """Nothing cascades; hidden and closed are not deleted."""
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        bought = plan.add_transaction("Wallet", -1_000, category="Pets")
        await it.settled()
        category = it.followed.rows("budget.transactions")[bought]["category_id"]
        plan.delete_category("Pets")
        plan.edit_account("Wallet", closed=True)
        await it.settled()
        it.check()
        assert category not in it.followed.rows("budget.categories")
        assert bought in it.followed.rows("budget.transactions")


async def test_a_plan_that_disappears_keeps_its_rows() -> None:
    """Disappearance is not deletion: what is gone may have been another's to share."""
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with ynab_world.world(*sizes) as it:
        await it.settled()
        gone, kept = it.sim.books
        before = it.followed.rows("budget.transactions")
        it.sim.drop_plan(gone)
        await it.followed.restart()
        it.sim.clock.advance(60)
        now_ms = int(it.followed.now() * 1000)
        await it.followed.run_until(lambda: it.followed.cursors()[kept].position > now_ms)
        assert it.followed.rows("budget.transactions") == before
        assert gone in it.followed.rows("budget.budgets")


@pytest.mark.parametrize(
    ("error", "words"),
    [("not_authorized", "refuses the token"), ("subscription_lapsed", "refuses access (403.1)")],
)
async def test_a_credential_refused_while_running_rests_and_goes_on_when_mended(
    error: str, words: str
) -> None:
    async with ynab_world.world(TINY) as it:
        await it.settled()
        it.sim.fail_next("status", error=error, times=3)
        bought = it.sim.plan().add_transaction("Wallet", -1_000, category="Pets")
        start, before = it.sim.clock.now(), len(it.sim.requests())
        await it.followed.run_until(lambda: words in it.followed.line.progress.reason)
        await it.settled()
        it.check()
        assert bought in it.followed.rows("budget.transactions")
        seconds = (it.sim.clock.now() - start).total_seconds()
        assert seconds >= 3 * 300  # a refused credential is tried again every five minutes
        assert len(it.sim.requests()) - before <= 3 + 8
        assert TOKEN not in str(it.followed.heard.lines)


async def test_two_equal_charges_of_a_bank_are_two_rows() -> None:
    async with plaid_world.world() as it:
        edits = it.sim.item()
        await it.settled()
        charged = [edits.add_transaction("72.1", "Toll") for _ in range(2)]
        await it.settled()
        it.check()
        rows = it.followed.rows("budget.transactions")
        assert [Decimal(rows[each]["amount"]) for each in charged] == [Decimal("-72.1")] * 2


async def test_removals_and_additions_lie_on_different_pages_of_one_update() -> None:
    async with plaid_world.world(PlaidSize(transactions=1_500)) as it:
        edits = it.sim.item()
        await it.settled()
        others = edits.churn(700)
        assert others
        before = it.requests("/transactions/sync")
        await it.settled()
        it.check()
        assert it.requests("/transactions/sync") - before >= 3
        rows = it.followed.rows("budget.transactions")
        assert not others.keys() & rows.keys()
        assert set(others.values()) <= rows.keys()


def page(added: str = "", modified: str = "", removed: str = "") -> SyncPage:
    def raws(ids: str, amount: int) -> list[Raw]:
        return [Raw(orjson.dumps({"transaction_id": each, "n": amount})) for each in ids]

    return SyncPage(raws(added, 1), raws(modified, 2), raws(removed, 0), False)


def test_pages_of_an_update_are_folded_in_their_order() -> None:
    """Within a page: added, modified, removed. What came last counts."""
    update = Update(None)
    update.take(page(added="abcd"))
    update.take(page(modified="b", removed="c"))
    update.take(page(added="c", modified="d", removed="d"))
    found: dict[str, Any] = {}
    for key, change in update.transactions.items():
        found[key] = None if change.op == "d" else orjson.loads(bytes(change.raw))["n"]
    assert found == {"a": 1, "b": 2, "c": 1, "d": None}


def test_objects_without_an_id_are_faults_each_of_its_own() -> None:
    """An empty id was taken for one, so that all of them but the last were lost without a word."""
    nameless = Raw(b'{"transaction_id": "", "n": 1}')
    update = Update(None)
    update.take(SyncPage([nameless, nameless], [Raw(b"{}")], [Raw(b'{"account_id": "a"}')], False))
    assert not update.transactions
    assert [(change.op, change.id) for change in update.unusable] == [
        ("c", ""),
        ("c", ""),
        ("u", ""),
        ("d", ""),
    ]
