"""The Plaid simulator behaves as is known of Plaid: updates, pages, pendings, limits, errors."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_edits import ItemEdits

KEYS = {"plaid-client-id": CLIENT_ID, "plaid-secret": SECRET}
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


class Bank:
    """Talks to one item over HTTP."""

    def __init__(self, client: httpx.AsyncClient, edits: ItemEdits) -> None:
        self.client = client
        self.edits = edits
        self.token = edits.item.access_token

    async def ask(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(path, json={"access_token": self.token, **body})

    async def told(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.ask(path, **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def error(self, path: str, **body: Any) -> tuple[int, str]:
        answer = await self.ask(path, **body)
        return answer.status_code, answer.json()["error_code"]

    async def page(self, cursor: str = "", count: int = 500, **options: Any) -> dict[str, Any]:
        return await self.told("/transactions/sync", cursor=cursor, count=count, options=options)

    async def pages(
        self, cursor: str = "", count: int = 500, **options: Any
    ) -> list[dict[str, Any]]:
        """All pages of an update."""
        found = [await self.page(cursor, count, **options)]
        while found[-1]["has_more"]:
            found.append(await self.page(found[-1]["next_cursor"], count, **options))
        return found


def ids(pages: list[dict[str, Any]], kind: str) -> list[str]:
    return [row["transaction_id"] for page in pages for row in page[kind]]


@pytest.fixture
async def simulator() -> AsyncIterator[PlaidSimulator]:
    async with PlaidSimulator([PlaidSize(transactions=250)]) as running:
        yield running


@pytest.fixture
async def bank(simulator: PlaidSimulator) -> AsyncIterator[Bank]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=KEYS) as client:
        yield Bank(client, simulator.item())


async def test_an_update_comes_in_pages_and_then_nothing(bank: Bank) -> None:
    pages = await bank.pages(count=100, days_requested=730)
    assert [len(page["added"]) for page in pages] == [100, 100, 50]
    assert len(set(ids(pages, "added"))) == 250
    last = pages[-1]["next_cursor"]
    assert len(last) <= 256
    (nothing,) = await bank.pages(last)
    assert [nothing[kind] for kind in ("added", "modified", "removed")] == [[], [], []]


async def test_days_requested_are_fixed_by_the_first_call(bank: Bank) -> None:
    first = await bank.pages(days_requested=60)
    earliest = (date(2026, 11, 15) - timedelta(days=60)).isoformat()
    rows = [row for page in first for row in page["added"]]
    assert min(row["date"] for row in rows) >= earliest
    again = await bank.pages(days_requested=730)
    assert ids(again, "added") == ids(first, "added")


async def test_without_asking_there_are_90_days(bank: Bank) -> None:
    rows = [row for page in await bank.pages() for row in page["added"]]
    earliest = (date(2026, 11, 15) - timedelta(days=90)).isoformat()
    assert 0 < len(rows) < 100
    assert min(row["date"] for row in rows) >= earliest


async def test_history_arrives_in_stages(simulator: PlaidSimulator, bank: Bank) -> None:
    bank.edits.stage(initial_seconds=10, historical_seconds=60)
    window = {"start_date": "2024-01-01", "end_date": "2026-11-15"}
    page = await bank.page(days_requested=730)
    assert (page["transactions_update_status"], page["next_cursor"]) == ("NOT_READY", "")
    assert await bank.error("/transactions/get", **window) == (400, "PRODUCT_NOT_READY")
    simulator.switch(not_ready_cursor="null")
    assert (await bank.page())["next_cursor"] is None
    simulator.advance_clock(10)
    page = await bank.page()
    assert page["transactions_update_status"] == "INITIAL_UPDATE_COMPLETE"
    assert min(row["date"] for row in page["added"]) >= "2026-10-16"
    got = await bank.told("/transactions/get", **window)
    assert got["total_transactions"] == len(page["added"]) < 30
    simulator.advance_clock(50)
    rest = await bank.page(page["next_cursor"])
    assert rest["transactions_update_status"] == "HISTORICAL_UPDATE_COMPLETE"
    assert len(rest["added"]) + len(page["added"]) == 250


async def test_a_log_that_grows_between_pages_refuses_the_next_one(
    simulator: PlaidSimulator, bank: Bank
) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    bank.edits.add_purchases(30)
    first = await bank.page(begun, count=10)
    bank.edits.add_purchases(1)
    refused = await bank.ask("/transactions/sync", cursor=first["next_cursor"], count=10)
    assert (refused.status_code, refused.json()["error_code"]) == (400, MUTATION)
    assert refused.json()["error_type"] == "TRANSACTIONS_ERROR"
    again = await bank.pages(begun, count=10)
    assert len(ids(again, "added")) == 31
    simulator.switch(mutation_raises=False)
    first = await bank.page(begun, count=10)
    bank.edits.add_purchases(1)
    assert len((await bank.page(first["next_cursor"], count=10))["added"]) == 10


async def test_scripts_change_the_log_while_it_is_read(
    simulator: PlaidSimulator, bank: Bank
) -> None:
    bank.edits.make_ready()
    simulator.script("add_purchases", args={"count": 1}, match="/transactions/sync", skip=1)
    first = await bank.page(count=20)
    body = {"cursor": first["next_cursor"], "count": 20}
    assert await bank.error("/transactions/sync", **body) == (400, MUTATION)


async def test_a_pending_one_that_posts_is_removed_and_added(bank: Bank) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    (pending, *others) = bank.edits.transactions(pending=True)
    posted = bank.edits.post_pending(pending.transaction_id, amount="71.10", name="WITH TIP")
    unlinked = bank.edits.post_pending(others[0].transaction_id, link=False)
    (page,) = await bank.pages(begun)
    rows = {row["transaction_id"]: row for row in page["added"]}
    assert rows[posted]["pending_transaction_id"] == pending.transaction_id
    assert (rows[posted]["amount"], rows[posted]["pending"]) == (71.1, False)
    assert rows[unlinked]["pending_transaction_id"] is None
    gone = {pending.transaction_id, others[0].transaction_id}
    assert {row["transaction_id"] for row in page["removed"]} == gone


@pytest.mark.parametrize("added_first", [False, True])
async def test_the_halves_of_posting_may_lie_on_different_pages(
    bank: Bank, added_first: bool
) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    (pending, *_) = bank.edits.transactions(pending=True)
    posted = bank.edits.post_pending(pending.transaction_id, between=8, added_first=added_first)
    first, second = await bank.pages(begun, count=5)
    halves = [("removed", pending.transaction_id), ("added", posted)]
    for page, (kind, key) in zip(
        (first, second), reversed(halves) if added_first else halves, strict=True
    ):
        assert ids([page], kind) == [key]
    assert len(ids([first, second], "modified")) == 8


async def test_an_update_tells_the_last_state_once_or_every_step(
    simulator: PlaidSimulator, bank: Bank
) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    (known, also_known, *_) = bank.edits.transactions(pending=False)
    bank.edits.modify_transaction(known.transaction_id, amount="1.00")
    bank.edits.modify_transaction(known.transaction_id, amount="2.00")
    bank.edits.remove_transaction(also_known.transaction_id)
    new = bank.edits.add_transaction("5.00", "new")
    bank.edits.modify_transaction(new, name="newer")
    bank.edits.remove_transaction(bank.edits.add_transaction("6.00", "never seen"))
    (page,) = await bank.pages(begun)
    assert [row["amount"] for row in page["modified"]] == [2.0]
    assert [row["name"] for row in page["added"]] == ["newer"]
    assert ids([page], "removed") == [also_known.transaction_id]
    simulator.switch(collapse_log=False)
    (page,) = await bank.pages(begun)
    assert [row["name"] for row in page["added"]] == ["new", "never seen"]
    assert [row["amount"] for row in page["modified"]] == [1.0, 2.0, 5.0]
    assert len(page["removed"]) == 2


async def test_an_account_filter_is_a_stream_of_its_own(bank: Bank) -> None:
    bank.edits.make_ready()
    (account, *_) = bank.edits.item.accounts
    pages = await bank.pages(account_id=account)
    assert {row["account_id"] for page in pages for row in page["added"]} == {account}
    last = pages[-1]["next_cursor"]
    assert (await bank.page(last, account_id=account))["added"] == []
    assert await bank.error("/transactions/sync", cursor=last) == (400, "INVALID_FIELD")


async def test_now_skips_history_and_tells_its_later_changes_as_added(bank: Bank) -> None:
    bank.edits.make_ready()
    (old, *_) = bank.edits.transactions(pending=False)
    begun = await bank.page("now")
    assert begun["added"] == []
    bank.edits.modify_transaction(old.transaction_id, amount="3.00")
    page = await bank.page(begun["next_cursor"])
    assert ids([page], "added") == [old.transaction_id]
    bank.edits.modify_transaction(old.transaction_id, amount="4.00")
    page = await bank.page(page["next_cursor"])
    assert ids([page], "modified") == [old.transaction_id]


@pytest.mark.parametrize("cursor", ["rubbish", "cnViYmlzaA==", "é"])
async def test_cursors_that_we_never_gave_out_are_refused(bank: Bank, cursor: str) -> None:
    assert await bank.error("/transactions/sync", cursor=cursor) == (400, "INVALID_FIELD")


async def test_stored_cursors_may_be_refused_for_ever(bank: Bank) -> None:
    last = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    bank.edits.refuse_cursors()
    for _ in range(2):
        assert await bank.error("/transactions/sync", cursor=last) == (400, MUTATION)
    again = (await bank.pages())[-1]["next_cursor"]
    assert (await bank.page(again))["added"] == []


async def test_get_pages_by_offset_newest_first(bank: Bank) -> None:
    bank.edits.make_ready()
    bank.edits.item.vault.clear()
    window = {"start_date": "2026-09-01", "end_date": "2026-11-15"}
    whole = await bank.told("/transactions/get", **window, options={"count": 500})
    days = [row["date"] for row in whole["transactions"]]
    assert days == sorted(days, reverse=True)
    assert whole["total_transactions"] == len(days) > 5
    parts = []
    for offset in range(0, len(days), 5):
        page = await bank.told(
            "/transactions/get", **window, options={"count": 5, "offset": offset}
        )
        parts += page["transactions"]
    assert parts == whole["transactions"]
    edge = {"start_date": days[-1], "end_date": days[-1]}
    assert (await bank.told("/transactions/get", **edge))["total_transactions"] == days.count(
        days[-1]
    )
    bank.edits.remove_transaction(parts[0]["transaction_id"])
    less = await bank.told("/transactions/get", **window)
    assert less["total_transactions"] == len(days) - 1


async def test_balances_follow_transactions_and_the_bank_is_asked_only_on_demand(
    bank: Bank,
) -> None:
    bank.edits.make_ready()

    async def balances(path: str = "/accounts/get") -> list[dict[str, Any]]:
        return [row["balances"] for row in (await bank.told(path))["accounts"]]

    checking, card, _ = await balances()
    bank.edits.add_transaction("10.25", "out", account="Everyday Checking")
    bank.edits.add_transaction("4.50", "held", account="Everyday Checking", pending=True)
    bank.edits.add_transaction("20.00", "shoes", account="Rewards Card")
    now, owed, _ = await balances()
    assert now["current"] == pytest.approx(checking["current"] - 10.25)
    assert now["available"] == pytest.approx(checking["available"] - 14.75)
    assert owed["current"] == pytest.approx(card["current"] + 20)
    assert owed["available"] == pytest.approx(owed["limit"] - owed["current"])
    bank.edits.set_balance("Everyday Checking", told=False, current="1.00")
    assert (await balances())[0]["current"] == now["current"]
    assert (await balances("/accounts/balance/get"))[0]["current"] == 1
    assert (await balances())[0]["current"] == 1


async def test_an_item_in_trouble_says_so_and_recovers(bank: Bank) -> None:
    await bank.told("/sandbox/item/reset_login")
    for path in ("/transactions/sync", "/accounts/get"):
        assert await bank.error(path) == (400, "ITEM_LOGIN_REQUIRED")
    item = await bank.told("/item/get")
    assert item["item"]["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert item["status"]["transactions"]["last_failed_update"] == "2026-11-15T12:00:00Z"
    bank.edits.repair_item()
    assert (await bank.told("/item/get"))["item"]["error"] is None
    await bank.page()


async def test_a_new_connection_has_new_ids_for_everything(
    simulator: PlaidSimulator, bank: Bank
) -> None:
    before = await bank.pages(days_requested=730)
    old_token, masks = bank.token, [row["mask"] for row in before[-1]["accounts"]]
    bank.token = simulator.relink_item()
    after = await bank.pages(days_requested=730)
    assert len(ids(after, "added")) == 250
    assert not set(ids(after, "added")) & set(ids(before, "added"))
    assert [row["mask"] for row in after[-1]["accounts"]] == masks
    bank.token = old_token
    assert await bank.error("/item/get") == (400, "ITEM_NOT_FOUND")


async def test_refresh_moves_things_as_the_sandbox_does(bank: Bank) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    pendings = {row.transaction_id for row in bank.edits.transactions(pending=True)}
    await bank.told("/transactions/refresh")
    (page,) = await bank.pages(begun)
    assert {row["transaction_id"] for row in page["removed"]} == pendings
    linked = {row["pending_transaction_id"] for row in page["added"]} - {None}
    assert linked == pendings
    assert sum(row["pending"] for row in page["added"]) == 2
    assert len(page["modified"]) == 1


async def test_churn_tells_known_ones_anew(bank: Bank) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    renamed = bank.edits.churn(5)
    (page,) = await bank.pages(begun)
    assert set(ids([page], "removed")) == set(renamed)
    assert set(ids([page], "added")) == set(renamed.values())
    assert {row["pending_transaction_id"] for row in page["added"]} == {None}


async def test_changes_come_in_the_order_of_the_last_ones(bank: Bank) -> None:
    begun = (await bank.pages(days_requested=730))[-1]["next_cursor"]
    first, second, *_ = (row.transaction_id for row in bank.edits.transactions(pending=False))
    for each in (first, second, first):
        bank.edits.modify_transaction(each, amount="1.00")
    (page,) = await bank.pages(begun)
    assert ids([page], "modified") == [second, first]


async def test_the_banks_text_and_the_taxonomy_are_as_asked_for(bank: Bank) -> None:
    bank.edits.make_ready()
    plain = (await bank.page())["added"]
    assert {row["original_description"] for row in plain} == {None}
    assert {row["personal_finance_category"]["version"] for row in plain} == {"v2"}
    asked = {"include_original_description": True, "personal_finance_category_version": "v1"}
    full = (await bank.page(**asked))["added"]
    assert all(row["original_description"] for row in full)
    assert {row["personal_finance_category"]["version"] for row in full} == {"v1"}
