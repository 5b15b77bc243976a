"""One object of an answer that cannot be read is a fault of it alone: its neighbours arrive."""

from typing import Any

import pytest

from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.ynab_household import YnabSize
from tests import plaid_world, ynab_world

TINY = YnabSize(transactions=60, years=1)
BANK = PlaidSize(transactions=60, days=90)
MARK = "find-this"

UNREADABLE = [
    ("\xff\xfe", "is no valid UTF-8"),
    ("\xed\xa0\x80", "is no valid UTF-8"),
]
"""Bytes that no encoder would write."""
BLOTTED = [r"half \ud83d", r"\ude00 other half", r"none \u0000", r"\ud83d\ud83d\ude00", r"\\\ud83d"]
"""What is JSON, and what no database can hold."""


@pytest.mark.parametrize(("written", "reason"), UNREADABLE)
async def test_a_transaction_of_a_plan_that_is_no_text(written: str, reason: str) -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        await it.settled()
        it.sim.fail_next("bytes", match="/plans/", changes=[[MARK, written]])
        broken = plan.add_transaction("Wallet", -1_000, category="Pets", memo=MARK)
        other = plan.add_transaction("Wallet", -2_000, category="Pets")
        await it.settled()
        rows = it.followed.rows("budget.transactions")
        assert other in rows and broken not in rows
        (letter,) = it.followed.dead_letters()
        assert (letter["document_id"], letter["path"]) == (broken, "memo")
        assert letter["reason"] == reason


@pytest.mark.parametrize("written", BLOTTED)
async def test_text_of_a_plan_that_no_database_holds_is_blotted(written: str) -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        it.sim.fail_next("bytes", match="/plans/", changes=[[MARK, written]])
        odd = plan.add_transaction("Wallet", -1_000, category="Pets", memo=MARK)
        await it.settled()
        row = it.followed.rows("budget.transactions")[odd]
        assert "\ufffd" in row["memo"] and row["memo"].isprintable()
        assert ("😀" in row["memo"]) == (r"\ude00" in written and written.startswith(r"\ud83d"))
        assert row["amount"] == "-1.00"
        assert not it.followed.dead_letters()


@pytest.mark.parametrize(
    ("written", "path", "reason"),
    [
        ('1e99999999999999999999, "id": "@"', "", "cannot be read"),
        ("9" * 5_000 + ', "id": "@"', "", "cannot be read"),
        ('null, "id": "@\\u0000"', "id", "missing or not usable"),
        ('null, "id": ""', "id", "missing or not usable"),
        ('null, "amount": 1e400, "id": "@"', "amount", "not milliunits"),
        ('null, "date": "2026-W01-1", "id": "@"', "date", "not a date"),
    ],
)
async def test_values_of_a_plan_that_cannot_be(written: str, path: str, reason: str) -> None:
    async with ynab_world.world(TINY) as it:
        plan = it.sim.plan()
        await it.settled()
        broken = plan.add_transaction("Wallet", -1_000, category="Pets", memo=MARK)
        changes = [[f'"memo":"{MARK}"', f'"memo":{written.replace("@", broken)}']]
        it.sim.fail_next("bytes", match="/plans/", changes=changes)
        await it.settled()
        (letter,) = it.followed.dead_letters()
        assert letter["path"] == path and letter["reason"].startswith(reason)
        assert letter["document_id"] == (None if path == "id" else broken)


@pytest.mark.parametrize("field", ["iso_code", "decimal_digits"])
@pytest.mark.parametrize("value", ["many", 5_000_000_000, -1, {"a": 1}])
async def test_a_currency_that_is_none_is_told_and_stops_its_plan_alone(
    field: str, value: Any
) -> None:
    if field == "iso_code" and value == "many":
        value = 1
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with ynab_world.world(*sizes) as it:
        await it.settled()
        odd = next(iter(it.sim.books))
        it.sim.fail_next(
            "patch",
            match=f"/plans/{odd}",
            changes=[[f"data.plan.currency_format.{field}", value]],
            times=3,
        )
        await it.followed.run_until(lambda: bool(it.integration.open))
        ((stream, endpoint, category, subject),) = it.integration.open
        assert (stream, category, subject) == (odd, "shape", "")
        assert endpoint == f"GET /plans/{odd}"
        added = it.sim.plan("Two").add_transaction("Wallet", -1_000, category="Pets")
        await it.followed.run_until(lambda: added in it.followed.rows("budget.transactions"))
        await it.settled()
        it.check()


async def test_a_plan_of_the_list_that_is_none_does_not_stop_another() -> None:
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with ynab_world.world(*sizes) as it:
        it.sim.fail_next(
            "patch",
            match="/plans",
            changes=[["data.plans.0.id", 5], ["data.plans.1.name", ["Two"]]],
        )
        kept = list(it.sim.books)[1]
        await it.followed.run_until(
            lambda: any(
                row["budget_id"] == kept for row in it.followed.rows("budget.transactions").values()
            )
        )
        assert sum(each.path.endswith("/plans") for each in it.sim.requests()) == 1


async def test_an_answer_about_another_plan_is_not_this_ones() -> None:
    sizes = [YnabSize(name=name, transactions=60, years=1) for name in ("One", "Two")]
    async with ynab_world.world(*sizes) as it:
        await it.settled()
        one, two = it.sim.books
        it.sim.fail_next("patch", match=f"/plans/{one}", changes=[["data.plan.id", two]])
        await it.followed.run_until(lambda: bool(it.integration.open))
        assert {kind.category for kind in it.integration.open} == {"contradiction"}
        await it.settled()
        it.check()


@pytest.mark.parametrize("form", ["plan", "lists"])
async def test_lines_that_cannot_be_told_are_not_taken_for_gone(form: str) -> None:
    """Of a split whose lines cannot all be read nobody knows the set: none of them is deleted."""
    async with ynab_world.world(TINY) as it:
        if form == "lists":
            it.sim.switch(plan_detail_rows_max=10)
        plan = it.sim.plan()
        lines = [{"amount": -1_000, "memo": MARK}, {"amount": -2_000, "category": "Pets"}]
        split = plan.add_transaction("Visa", -3_000, lines=lines, memo="the split")
        path = f'"memo":"{MARK}"'
        spoilt = '"memo":null,"id":7' if form == "lists" else '"memo":null,"transaction_id":7'
        it.sim.fail_next(
            "bytes",
            match="/transactions" if form == "lists" else "/plans/",
            changes=[[path, spoilt]],
            times=3,
        )
        await it.settled()
        row = it.followed.rows("budget.transactions")[split]
        assert row["subtransaction_ids"] is None
        assert it.followed.dead_letters()


async def test_a_transaction_whose_lines_are_no_list_has_not_lost_them() -> None:
    """It was published with an empty set of lines, which would have deleted those it has."""
    async with ynab_world.world(TINY) as it:
        it.sim.switch(plan_detail_rows_max=10)
        lines = [{"amount": -1_000}, {"amount": -2_000, "category": "Pets"}]
        split = it.sim.plan().add_transaction("Visa", -3_000, lines=lines, memo=MARK)
        broken = [['"subtransactions"', '"were"'], [f'"{MARK}"', '"","subtransactions":7']]
        it.sim.fail_next("bytes", match="/transactions", changes=broken, times=20)
        await it.settled()
        assert split not in it.followed.rows("budget.transactions")
        found = [each for each in it.followed.dead_letters() if each["document_id"] == split]
        assert {each["path"] for each in found} == {"subtransactions"}


@pytest.mark.parametrize(
    ("written", "path", "reason"),
    [
        ("\xff\xfe", "name", "is no valid UTF-8"),
        (MARK + '", "amount": 1e99999999999999999999, "x": "', "", "cannot be read"),
        (MARK + '", "transaction_id": "\\u0000", "x": "', "id", "missing or not usable"),
        (MARK + '", "transaction_id": "", "x": "', "id", "missing or not usable"),
    ],
)
async def test_a_transaction_of_a_bank_that_cannot_be_read(
    written: str, path: str, reason: str
) -> None:
    async with plaid_world.world(BANK) as it:
        edits = it.sim.item()
        await it.settled()
        it.sim.fail_next("bytes", match="/transactions/sync", changes=[[MARK, written]])
        broken = edits.add_transaction("1.00", MARK)
        other = edits.add_transaction("2.00", "Kiosk")
        await it.settled()
        rows = it.followed.rows("budget.transactions")
        assert other in rows and broken not in rows
        (letter,) = it.followed.dead_letters()
        assert letter["path"] == path and letter["reason"].startswith(reason)


async def test_half_a_character_of_a_bank_is_blotted() -> None:
    async with plaid_world.world(BANK) as it:
        it.sim.fail_next("bytes", match="/transactions/sync", changes=[[MARK, r"Cafe \ud83c"]])
        added = it.sim.item().add_transaction("1.00", MARK)
        await it.settled()
        assert it.followed.rows("budget.transactions")[added]["name"] == "Cafe \ufffd"


ACCOUNT = "Rewards Card"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ([ACCOUNT, "\xff\xfe"], "name"),
        (['"type":"credit"', '"type":5'], "type"),
        ([ACCOUNT, ACCOUNT + '","account_id":5,"x":"'], "id"),
    ],
)
async def test_an_account_that_cannot_be_read_is_not_taken_for_gone(
    written: list[str], path: str
) -> None:
    async with plaid_world.world(BANK) as it:
        await it.settled()
        before = it.followed.rows("budget.accounts")
        it.sim.fail_next("bytes", match="/accounts/get", changes=[written], times=2)
        it.sim.clock.advance(600)
        await it.settled()
        assert {letter["path"] for letter in it.followed.dead_letters()} == {path}
        assert it.followed.rows("budget.accounts") == before
        it.sim.clock.advance(600)
        await it.settled()
        it.check()


async def test_numbers_of_an_account_may_be_of_any_length() -> None:
    async with plaid_world.world(BANK) as it:
        long = ACCOUNT + '", "points": 123456789012345678901234567890, "x": "'
        it.sim.fail_next("bytes", match="/accounts/get", changes=[[ACCOUNT, long]], times=2)
        await it.settled()
        assert len(it.followed.rows("budget.accounts")) >= 2


@pytest.mark.parametrize(
    "change",
    [["item.error", "broken"], ["item.item_id", 5], ["status.transactions", "yesterday"]],
    ids=str,
)
async def test_an_item_that_is_none_is_told_and_asked_again(change: list[Any]) -> None:
    async with plaid_world.world(BANK, BANK) as it:
        await it.settled()
        it.sim.fail_next("patch", match="/item/get", changes=[change], times=2)
        it.sim.item().add_transaction("1.00", "Kiosk")
        it.sim.clock.advance(600)
        await it.followed.run_until(lambda: bool(it.followed.integration.open))
        assert {kind.category for kind in it.followed.integration.open} == {"shape"}
        await it.settled()
        it.check()


async def test_fractions_and_large_numbers_of_an_item_do_no_harm_to_its_cursor() -> None:
    async with plaid_world.world(BANK) as it:
        odd = [["item.billed_products", [1.5, 10**30]]]
        it.sim.fail_next("patch", match="/item/get", changes=odd, times=3)
        await it.settled()
        await it.followed.restart()
        await it.settled()
        it.check()
