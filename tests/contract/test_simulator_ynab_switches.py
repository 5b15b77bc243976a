"""What YNAB does not document can be switched; what people write over the API happens."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize

EVER = "2000-01-01"


@pytest.fixture
async def simulator() -> AsyncIterator[YnabSimulator]:
    async with YnabSimulator([YnabSize(transactions=120)]) as running:
        yield running


@pytest.fixture
async def client(simulator: YnabSimulator) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{simulator.base_url}/plans/{simulator.plan().plan.id}"
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=base, headers=headers) as made:
        yield made


async def transactions(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/transactions", params={"since_date": EVER, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["transactions"]


async def test_knowledge_zero(simulator: YnabSimulator, client: httpx.AsyncClient) -> None:
    gone = simulator.plan().add_transaction("Wallet", -1)
    simulator.plan().delete_transaction(gone)
    rows = await transactions(client, last_knowledge_of_server=0)
    assert [row["id"] for row in rows if row["deleted"]] == [gone]
    simulator.switch(zero_knowledge="full")
    assert not any(row["deleted"] for row in await transactions(client, last_knowledge_of_server=0))


async def test_knowledge_too_high(simulator: YnabSimulator, client: httpx.AsyncClient) -> None:
    high = {"last_knowledge_of_server": simulator.plan().plan.knowledge + 1}
    assert await transactions(client, **high) == []
    simulator.switch(high_knowledge="full")
    assert len(await transactions(client, **high)) == 120
    simulator.switch(high_knowledge="bad_request")
    assert (await client.get("/transactions", params=high)).status_code == 400


@pytest.mark.parametrize("text", ["-1", "many", ""])
async def test_knowledge_that_is_no_number(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.get("/accounts", params={"last_knowledge_of_server": text})
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, "bad_request")


async def test_knowledge_too_old_or_lost(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    edits = simulator.plan()
    before = edits.plan.knowledge
    edits.delete_transaction(edits.add_transaction("Wallet", -1))
    simulator.switch(knowledge_floor=before + 1)
    assert len(await transactions(client, last_knowledge_of_server=before)) == 120
    simulator.do("lose_knowledge", knowledge=5)
    answer = await client.get("/accounts", params={"last_knowledge_of_server": before})
    assert answer.json()["data"] == {"accounts": [], "server_knowledge": 5}
    assert len(await transactions(client)) == 120


async def test_each_endpoint_may_have_its_own_counter(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    simulator.switch(per_endpoint_counters=True)

    async def read(path: str, after: int | None = None) -> dict[str, Any]:
        query = {"since_date": EVER} | (
            {} if after is None else {"last_knowledge_of_server": after}
        )
        return (await client.get(path, params=query)).json()["data"]

    number = {path: (await read(path))["server_knowledge"] for path in ("/accounts", "/payees")}
    assert number["/accounts"] != number["/payees"]
    simulator.plan().add_payee("New")
    assert len((await read("/payees", number["/payees"]))["payees"]) == 1
    assert len((await read("/payees", number["/accounts"]))["payees"]) > 1


async def test_long_answers_may_end_in_503(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    before = simulator.plan().plan.knowledge
    simulator.switch(plan_detail_rows_max=200)
    answer = await client.get("")
    assert (answer.status_code, answer.json()["error"]["id"]) == (503, "503")
    delta = await client.get("", params={"last_knowledge_of_server": before})
    assert delta.status_code == 200
    simulator.switch(list_rows_max=100)
    assert (await client.get("/transactions", params={"since_date": EVER})).status_code == 503
    part = {"since_date": "2025-11-01", "until_date": "2026-02-01"}
    assert (await client.get("/transactions", params=part)).status_code == 200


async def test_the_old_paths_answer_with_the_old_keys(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    old = f"{simulator.base_url}/budgets"
    plan_id = simulator.plan().plan.id
    assert set((await client.get(old)).json()["data"]) == {"budgets", "default_budget"}
    detail = (await client.get(f"{old}/{plan_id}")).json()["data"]
    assert set(detail) == {"budget", "server_knowledge"}
    accounts = (await client.get(f"{old}/{plan_id}/accounts")).json()["data"]
    assert set(accounts) == {"accounts", "server_knowledge"}
    simulator.switch(budgets_alias=False)
    assert (await client.get(old)).status_code == 404


async def test_derived_amounts_may_change_unmarked(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    simulator.switch(derived_stamps=False)
    before = simulator.plan().plan.knowledge
    old = (await client.get("/accounts")).json()["data"]["accounts"]
    simulator.plan().add_transaction("Checking", -5_000)
    delta = await client.get("/accounts", params={"last_knowledge_of_server": before})
    assert delta.json()["data"]["accounts"] == []
    new = (await client.get("/accounts")).json()["data"]["accounts"]
    assert new[0]["balance"] == old[0]["balance"] - 5_000


async def test_a_changed_month_may_come_with_all_its_categories(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    edits = simulator.plan()
    before = edits.plan.knowledge
    edits.set_budgeted(edits.plan.current_month(), "Rent", 1_000)

    async def shown() -> int:
        answer = await client.get("", params={"last_knowledge_of_server": before})
        return len(answer.json()["data"]["plan"]["months"][0]["categories"])

    assert await shown() == 1
    simulator.switch(month_delta="all")
    assert await shown() == len(edits.plan.categories)


async def test_full_answers_may_carry_deleted_ones(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    gone = simulator.plan().add_transaction("Wallet", -1)
    simulator.plan().delete_transaction(gone)
    assert gone not in {row["id"] for row in await transactions(client)}
    simulator.switch(deleted_in_full=True)
    assert gone in {row["id"] for row in await transactions(client)}


async def test_money_movements_may_be_a_delta(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    before = simulator.plan().plan.knowledge
    simulator.plan().move_money("Holidays", "Rent", 1_000)

    async def count() -> int:
        answer = await client.get("/money_movements", params={"last_knowledge_of_server": before})
        return len(answer.json()["data"]["money_movements"])

    assert await count() == 3
    simulator.switch(money_movement_delta=True)
    assert await count() == 1


def test_wrong_switches_are_refused() -> None:
    simulator = YnabSimulator([])
    with pytest.raises(ValueError, match="no switch 'colour'"):
        simulator.switch(colour="red")
    with pytest.raises(ValueError, match="enum"):
        simulator.switch(high_knowledge="sometimes")


def entry(simulator: YnabSimulator, **fields: Any) -> dict[str, Any]:
    account = simulator.plan().plan.accounts.live()[0].id
    return {"account_id": account, "date": "2026-11-10", "amount": -2_500, **fields}


async def test_transactions_can_be_written(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    rent = next(row.id for row in simulator.plan().plan.categories.live() if row.name == "Rent")
    lines = [{"amount": -500, "category_id": rent}, {"amount": -2_000, "memo": "rest"}]
    wanted = entry(simulator, payee_name="Kiosk", subtransactions=lines)
    made = await client.post("/transactions", json={"transaction": wanted})
    assert made.status_code == 201
    row = made.json()["data"]["transaction"]
    assert (row["payee_name"], len(row["subtransactions"])) == ("Kiosk", 2)
    change = {"transaction": {"memo": "edited", "approved": True}}
    put = await client.put(f"/transactions/{row['id']}", json=change)
    assert put.json()["data"]["transaction"]["memo"] == "edited"
    assert len(put.json()["data"]["transaction"]["subtransactions"]) == 2
    gone = await client.delete(f"/transactions/{row['id']}")
    assert gone.json()["data"]["transaction"]["deleted"]
    assert (await client.delete(f"/transactions/{row['id']}")).status_code == 404


async def test_import_ids_make_nothing_twice(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    wanted = entry(simulator, import_id="YNAB:-2500:2026-11-10:1")
    assert (await client.post("/transactions", json={"transaction": wanted})).status_code == 201
    assert (await client.post("/transactions", json={"transaction": wanted})).status_code == 409
    many = await client.post("/transactions", json={"transactions": [wanted, entry(simulator)]})
    data = many.json()["data"]
    assert data["duplicate_import_ids"] == [wanted["import_id"]]
    assert len(data["transaction_ids"]) == 1
    change = {"transactions": [{"import_id": wanted["import_id"], "amount": -9_000}]}
    patched = await client.patch("/transactions", json=change)
    assert patched.json()["data"]["transactions"][0]["amount"] == -9_000


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"date": "2026-11-16"}, "date must not be in the future or over 5 years ago (index: 0)"),
        ({"date": "2021-11-14"}, "date must not be in the future or over 5 years ago (index: 0)"),
        (
            {"subtransactions": [{"amount": -1}]},
            "amount must equal the sum of subtransaction amounts (index: 0)",
        ),
        (
            {"account_id": "Checking"},
            "account must be formatted as a uuid (universally unique identifier)",
        ),
    ],
)
async def test_wrong_writes_are_refused_in_ynabs_words(
    simulator: YnabSimulator, client: httpx.AsyncClient, fields: dict[str, Any], detail: str
) -> None:
    wanted = entry(simulator, **fields)
    answer = await client.post("/transactions", json={"transaction": wanted})
    assert (answer.status_code, answer.json()["error"]["detail"]) == (400, detail)


async def test_other_things_can_be_written(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    plan = simulator.plan().plan
    rent = next(row.id for row in plan.categories.live() if row.name == "Rent")
    amount = {"category": {"budgeted": 77_000}}
    answer = await client.patch(f"/months/current/categories/{rent}", json=amount)
    assert answer.json()["data"]["category"]["budgeted"] == 77_000
    named = await client.patch(f"/categories/{rent}", json={"category": {"name": "Home"}})
    assert named.json()["data"]["category"]["name"] == "Home"
    payee = (await client.post("/payees", json={"payee": {"name": "A"}})).json()["data"]["payee"]
    await client.patch(f"/payees/{payee['id']}", json={"payee": {"name": "B"}})
    assert plan.payees[payee["id"]].name == "B"
    account = {"account": {"name": "Jar", "type": "cash", "balance": 5_000}}
    opened = await client.post("/accounts", json=account)
    assert opened.json()["data"]["account"]["balance"] == 5_000


async def test_a_read_only_token_cannot_write(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    simulator.set_token(TOKEN, read_only=True)
    answer = await client.post("/transactions", json={"transaction": entry(simulator)})
    assert (answer.status_code, answer.json()["error"]["id"]) == (403, "403.3")
    assert (await client.get("/settings")).status_code == 200
