"""The YNAB simulator behaves as is known of YNAB: deltas, windows, the hour, what is deleted."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_edits import PlanEdits
from compose.simulators.ynab_household import YnabSize

EVER = "2000-01-01"


class Reader:
    """Reads one plan over HTTP."""

    def __init__(self, client: httpx.AsyncClient, plan_id: str) -> None:
        self.client = client
        self.plan_id = plan_id

    async def get(self, path: str = "", after: int | None = None, **query: Any) -> dict[str, Any]:
        if after is not None:
            query["last_knowledge_of_server"] = after
        answer = await self.client.get(f"/plans/{self.plan_id}{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def status(self, path: str, **query: Any) -> int:
        answer = await self.client.get(f"/plans/{self.plan_id}{path}", params=query)
        return answer.status_code


@pytest.fixture
async def simulator() -> AsyncIterator[YnabSimulator]:
    async with YnabSimulator([YnabSize(transactions=300)]) as running:
        yield running


@pytest.fixture
def edits(simulator: YnabSimulator) -> PlanEdits:
    return simulator.plan()


@pytest.fixture
async def reader(simulator: YnabSimulator) -> AsyncIterator[Reader]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=headers) as client:
        yield Reader(client, simulator.plan().plan.id)


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows}


async def test_a_delta_holds_what_changed_and_what_follows_from_it(
    reader: Reader, edits: PlanEdits
) -> None:
    before = (await reader.get())["server_knowledge"]
    nothing = await reader.get("", after=before)
    lists = {key: rows for key, rows in nothing["plan"].items() if isinstance(rows, list)}
    assert nothing["server_knowledge"] == before
    assert not any(lists.values())

    made = edits.add_transaction("Checking", -12_340, payee="New Shop", category="Groceries")
    plan = (await reader.get("", after=before))["plan"]
    assert [row["id"] for row in plan["transactions"]] == [made]
    assert [row["name"] for row in plan["payees"]] == ["New Shop"]
    assert [row["name"] for row in plan["accounts"]] == ["Checking"]
    assert [row["name"] for row in plan["categories"]] == ["Groceries"]
    current = edits.plan.current_month()
    months = {row["month"]: row for row in plan["months"]}
    assert current in months
    assert [row["name"] for row in months[current]["categories"]] == ["Groceries"]


async def test_balances_and_months_are_the_sums_of_the_transactions(
    reader: Reader, edits: PlanEdits
) -> None:
    split = next(iter(edits.plan.lines))
    edits.edit_transaction(split, lines=[], category="Water", account="Visa")
    edits.add_transaction("Savings", 7_000, date="2021-01-05", category="Rent")
    doomed = edits.add_transaction("Visa", -9_990, transfer_to="Checking")
    edits.edit_transaction(doomed, amount=-20_000, cleared="uncleared")
    edits.delete_transaction(doomed)
    moved = edits.add_transaction("Checking", -3_330, category="Phone")
    edits.edit_transaction(moved, date="2020-06-30")
    plan = (await reader.get())["plan"]
    for account in plan["accounts"]:
        own = [row for row in plan["transactions"] if row["account_id"] == account["id"]]
        cleared = sum(row["amount"] for row in own if row["cleared"] != "uncleared")
        assert account["balance"] == sum(row["amount"] for row in own)
        assert account["cleared_balance"] == cleared
    on_budget = {row["id"] for row in plan["accounts"] if row["on_budget"]}
    budgeted = {row["id"]: row for row in plan["transactions"] if row["account_id"] in on_budget}
    spent: dict[tuple[str, str], int] = {}
    for row in budgeted.values():
        key = (row["date"][:7], row["category_id"])
        spent[key] = spent.get(key, 0) + row["amount"]
    for line in plan["subtransactions"]:
        key = (budgeted[line["transaction_id"]]["date"][:7], line["category_id"])
        spent[key] = spent.get(key, 0) + line["amount"]
    left: dict[str, int] = {}
    for month in plan["months"]:
        for category in month["categories"]:
            assert category["activity"] == spent.get((month["month"][:7], category["id"]), 0)
            change = category["activity"] + category["budgeted"]
            left[category["id"]] = left.get(category["id"], 0) + change
            assert category["balance"] == left[category["id"]]
    assert min(spent)[0] == "2020-06"
    assert plan["months"][0]["month"] == "2020-06-01"


async def test_deleted_rows_appear_in_deltas_only(reader: Reader, edits: PlanEdits) -> None:
    split = next(iter(edits.plan.lines))
    lines = {line.id for line in edits.plan.lines[split]}
    before = edits.plan.knowledge
    edits.delete_transaction(split)
    born_and_gone = edits.add_transaction("Wallet", -1_000)
    edits.delete_transaction(born_and_gone)
    delta = (await reader.get("", after=before))["plan"]
    gone = {row["id"] for row in delta["transactions"] if row["deleted"]}
    assert gone == {split, born_and_gone}
    assert {row["id"] for row in delta["subtransactions"] if row["deleted"]} == lines
    listed = await reader.get("/transactions", after=before, since_date=EVER)
    shown = by_id(listed["transactions"])[split]
    assert shown["deleted"]
    assert {line["id"] for line in shown["subtransactions"] if line["deleted"]} == lines
    whole = (await reader.get())["plan"]
    assert not gone & {row["id"] for row in whole["transactions"]}
    assert not any(row["deleted"] for key in whole for row in rows_of(whole[key]))


def rows_of(part: Any) -> list[dict[str, Any]]:
    return [row for row in part if "deleted" in row] if isinstance(part, list) else []


async def test_editing_a_split_replaces_its_lines(reader: Reader, edits: PlanEdits) -> None:
    split = next(iter(edits.plan.lines))
    kept, dropped = edits.plan.lines[split]
    before = edits.plan.knowledge
    edits.edit_transaction(
        split,
        lines=[
            {"id": kept.id, "amount": kept.amount, "category": "Rent"},
            {"amount": dropped.amount, "category": "Water"},
        ],
    )
    delta = await reader.get("/transactions", after=before, since_date=EVER)
    (row,) = delta["transactions"]
    lines = by_id(row["subtransactions"])
    assert lines[dropped.id]["deleted"]
    assert not lines[kept.id]["deleted"]
    assert row["category_name"] == "Split"
    assert sum(line["amount"] for line in lines.values() if not line["deleted"]) == row["amount"]
    (alone,) = (await reader.get("/transactions", after=edits.plan.knowledge - 1, since_date=EVER))[
        "transactions"
    ]
    assert alone["id"] == split
    edits.edit_transaction(split, lines=[], category="Rent")
    (row,) = (await reader.get("/transactions", after=edits.plan.knowledge - 1, since_date=EVER))[
        "transactions"
    ]
    assert row["category_name"] == "Rent"
    assert all(line["deleted"] for line in row["subtransactions"])


async def test_both_sides_of_a_transfer_change_together(reader: Reader, edits: PlanEdits) -> None:
    here = edits.add_transaction("Checking", -40_000, transfer_to="Savings")
    before = edits.plan.knowledge
    edits.edit_transaction(here, amount=-45_000, date="2026-11-02")
    rows = (await reader.get("/transactions", after=before))["transactions"]
    assert len(rows) == 2
    one, other = rows
    assert one["transfer_transaction_id"] == other["id"]
    assert other["transfer_transaction_id"] == one["id"]
    assert one["amount"] == -other["amount"]
    assert one["date"] == other["date"] == "2026-11-02"
    edits.delete_transaction(here)
    rows = (await reader.get("/transactions", after=before))["transactions"]
    assert [row["deleted"] for row in rows] == [True, True]


async def test_a_line_can_be_a_transfer(reader: Reader, edits: PlanEdits) -> None:
    before = edits.plan.knowledge
    lines = [{"amount": -1_000, "category": "Rent"}, {"amount": -2_000, "transfer_to": "Savings"}]
    split = edits.add_transaction("Checking", -3_000, lines=lines)
    plan = (await reader.get("", after=before))["plan"]
    line = next(row for row in plan["subtransactions"] if row["transfer_account_id"])
    other = by_id(plan["transactions"])[line["transfer_transaction_id"]]
    assert other["amount"] == 2_000
    assert other["transfer_transaction_id"] == line["id"]
    edits.delete_transaction(split)
    plan = (await reader.get("", after=before))["plan"]
    assert all(row["deleted"] for row in plan["transactions"])


async def test_the_window_is_a_year_in_deltas_too_while_the_number_moves_on(
    reader: Reader, edits: PlanEdits
) -> None:
    old = edits.add_transaction("Checking", -1_000, date="2025-11-14")
    edge = edits.add_transaction("Checking", -1_000, date="2025-11-15")
    before = edits.plan.knowledge
    edits.edit_transaction(old, memo="late")
    edits.edit_transaction(edge, memo="late")
    delta = await reader.get("/transactions", after=before)
    assert [row["id"] for row in delta["transactions"]] == [edge]
    assert delta["server_knowledge"] == before + 2
    told = await reader.get("/transactions", after=before, since_date=EVER)
    assert {row["id"] for row in told["transactions"]} == {old, edge}
    in_plan = await reader.get("", after=before)
    assert {row["id"] for row in in_plan["plan"]["transactions"]} == {old, edge}
    whole = (await reader.get("/transactions"))["transactions"]
    assert min(row["date"] for row in whole) >= "2025-11-15"
    until = await reader.get("/transactions", since_date=EVER, until_date="2025-11-14")
    assert max(row["date"] for row in until["transactions"]) == "2025-11-14"


async def test_lists_read_again_show_new_names_and_lines(reader: Reader, edits: PlanEdits) -> None:
    split = next(iter(edits.plan.lines))
    account = edits.plan.accounts[edits.plan.transactions[split].account_id].name

    async def shown() -> dict[str, Any]:
        rows = (await reader.get("/transactions", since_date=EVER))["transactions"]
        return by_id(rows)[split]

    lines = (await shown())["subtransactions"]
    edits.edit_account(account, name="Renamed")
    edits.edit_category(lines[0]["category_id"], name="Recategorised")
    edits.rename_payee((await shown())["payee_id"], "Repaid")
    row = await shown()
    assert (row["account_name"], row["payee_name"]) == ("Renamed", "Repaid")
    assert row["subtransactions"][0]["category_name"] == "Recategorised"
    edits.edit_transaction(split, lines=[{"amount": row["amount"], "memo": "one"}])
    assert [line["memo"] for line in (await shown())["subtransactions"]] == ["one"]


async def test_hybrid_lists_show_lines_in_place_of_their_split(
    reader: Reader, edits: PlanEdits
) -> None:
    split = edits.add_transaction(
        "Checking",
        -3_000,
        lines=[{"amount": -1_000, "category": "Rent"}, {"amount": -2_000, "category": "Water"}],
    )
    category = next(row.id for row in edits.plan.categories.live() if row.name == "Rent")
    listed = await reader.get(f"/categories/{category}/transactions")
    (row,) = (row for row in listed["transactions"] if row["parent_transaction_id"] == split)
    assert (row["type"], row["amount"], row["category_name"]) == ("subtransaction", -1_000, "Rent")


async def test_kinds_of_transactions_can_be_asked_for(reader: Reader, edits: PlanEdits) -> None:
    bare = edits.add_transaction("Checking", -1, approved=False)
    for kind in ("uncategorized", "unapproved"):
        rows = (await reader.get("/transactions", type=kind))["transactions"]
        assert bare in by_id(rows)
        assert len(rows) < 100
    assert await reader.status("/transactions", type="odd") == 400


async def test_a_new_month_changes_what_category_amounts_mean_and_stamps_nothing(
    simulator: YnabSimulator, reader: Reader, edits: PlanEdits
) -> None:
    edits.set_budgeted("2026-11-01", "Rent", 111_000)
    edits.set_budgeted("2026-12-01", "Rent", 222_000)
    before = (await reader.get("/categories"))["server_knowledge"]

    def rent(data: dict[str, Any]) -> int:
        rows = [row for group in data["category_groups"] for row in group["categories"]]
        return next(row["budgeted"] for row in rows if row["name"] == "Rent")

    assert rent(await reader.get("/categories")) == 111_000
    simulator.set_clock("2026-12-01T00:00:00Z")
    assert (await reader.get("/categories", after=before))["category_groups"] == []
    assert rent(await reader.get("/categories")) == 222_000
    months = (await reader.get("/months", after=before))["months"]
    assert [row["month"] for row in months] == ["2027-01-01"]
    assert (await reader.get("/months/current"))["month"]["month"] == "2026-12-01"


async def test_ids_of_scheduled_ones_carry_their_day(reader: Reader, edits: PlanEdits) -> None:
    scheduled = edits.add_scheduled("Checking", -5_000, "2026-11-14", payee="Gym")
    made = edits.enter_scheduled(scheduled)
    assert made == f"{scheduled}_2026-11-14"
    assert (await reader.get(f"/transactions/{made}"))["transaction"]["payee_name"] == "Gym"


async def test_merged_payees_come_as_one_burst(reader: Reader, edits: PlanEdits) -> None:
    before = edits.plan.knowledge
    moved = edits.merge_payees("City Transit", into="Café Zoë")
    delta = await reader.get("", after=before)
    assert delta["server_knowledge"] == before + 1
    assert len(delta["plan"]["transactions"]) == moved > 10
    assert [row["name"] for row in delta["plan"]["payees"] if row["deleted"]] == ["City Transit"]


async def test_the_hour_rolls(simulator: YnabSimulator, reader: Reader) -> None:
    for _ in range(100):
        await reader.get("/settings")
    simulator.advance_clock(1800)
    for _ in range(100):
        await reader.get("/settings")
    refused = await reader.client.get("/plans")
    assert refused.status_code == 429
    assert refused.json() == {
        "error": {"id": "429", "name": "too_many_requests", "detail": "Too many requests"}
    }
    assert "retry-after" not in refused.headers
    simulator.advance_clock(1799)
    assert await reader.status("/settings") == 429
    simulator.advance_clock(1)
    for _ in range(100):
        await reader.get("/settings")
    assert await reader.status("/settings") == 429
    assert simulator.counters()["by_status"] == {"200": 300, "429": 3}


async def test_refused_requests_may_count_too(simulator: YnabSimulator, reader: Reader) -> None:
    simulator.switch(counts_429=True)
    for _ in range(201):
        await reader.status("/settings")
    simulator.advance_clock(3599)
    assert await reader.status("/settings") == 429
    simulator.advance_clock(1)
    assert simulator.quota.used(TOKEN, simulator.clock.now()) == 1


async def test_the_rate_header_is_there_only_if_switched_on(
    simulator: YnabSimulator, reader: Reader
) -> None:
    assert "x-rate-limit" not in (await reader.client.get("/plans")).headers
    simulator.switch(rate_limit_header=True)
    assert (await reader.client.get("/plans")).headers["x-rate-limit"] == "2/200"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({"error": "not_authorized"}, (401, "401")),
        ({"expires_at": "2026-11-15T12:00:00Z"}, (401, "401")),
        ({"error": "subscription_lapsed"}, (403, "403.1")),
        ({"error": "trial_expired"}, (403, "403.2")),
        ({"error": "data_limit_reached"}, (403, "403.4")),
    ],
)
async def test_tokens_are_refused_by_name(
    simulator: YnabSimulator, reader: Reader, token: dict[str, Any], expected: tuple[int, str]
) -> None:
    simulator.set_token(TOKEN, **token)
    answer = await reader.client.get("/plans")
    assert (answer.status_code, answer.json()["error"]["id"]) == expected


async def test_wrong_tokens_and_paths_are_told_apart(
    simulator: YnabSimulator, reader: Reader
) -> None:
    async def error(path: str, token: str = TOKEN) -> tuple[int, str]:
        answer = await reader.client.get(path, headers={"authorization": f"Bearer {token}"})
        return answer.status_code, answer.json()["error"]["id"]

    assert await error("/plans", "nobody") == (401, "401")
    assert await error("/nowhere") == (404, "404.1")
    assert await error("/plans/00000000-0000-4000-8000-000000000000") == (404, "404.2")
    assert await error("/plans/default") == (404, "404.2")
    assert await error(f"/plans/{reader.plan_id}/transactions/none") == (404, "404.2")
    assert await error(f"/plans/{reader.plan_id}/months/1999-01-01") == (404, "404.2")
    simulator.drop_plan("Household")
    assert await error(f"/plans/{reader.plan_id}") == (404, "404.2")


async def test_last_used_is_the_plan_changed_last(simulator: YnabSimulator, reader: Reader) -> None:
    other = simulator.new_plan(name="Cabin", transactions=20, currency="EUR")
    simulator.advance_clock(60)
    simulator.do("add_account", plan="Cabin", name="Tin box", type="cash")
    reader.plan_id = "last-used"
    assert (await reader.get())["plan"]["id"] == other
    simulator.default_plan = other
    reader.plan_id = "default"
    assert (await reader.get())["plan"]["name"] == "Cabin"
