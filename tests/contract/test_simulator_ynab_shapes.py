"""The YNAB simulator answers as YNAB's own OpenAPI file and client say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import ynab

from compose.simulators.openapi import SPECS, Spec
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_errors import ERRORS
from compose.simulators.ynab_household import YnabSize

FILE = SPECS / "ynab.openapi.yaml"
SIZE = YnabSize(transactions=240, years=2)
ENOUGH_REQUESTS = 10_000


@pytest.fixture(scope="module")
def spec() -> Spec:
    if not FILE.exists():
        pytest.skip("YNAB's OpenAPI file is not beside the repository")
    return Spec(FILE)


@pytest.fixture
async def simulator() -> AsyncIterator[YnabSimulator]:
    async with YnabSimulator([SIZE]) as running:
        running.quota.limit = ENOUGH_REQUESTS
        yield running


@pytest.fixture
async def client(simulator: YnabSimulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=headers) as made:
        yield made


def some_ids(simulator: YnabSimulator) -> dict[str, str]:
    """An id for every parameter in the file's paths; the transaction is a split."""
    plan = simulator.plan().plan
    return {
        "plan_id": plan.id,
        "account_id": next(iter(plan.accounts.rows)),
        "category_id": next(iter(plan.lines.values()))[0].category_id or "",
        "payee_id": next(iter(plan.payee_locations.rows.values())).payee_id,
        "payee_location_id": next(iter(plan.payee_locations.rows)),
        "month": plan.current_month(),
        "transaction_id": next(iter(plan.lines)),
        "scheduled_transaction_id": list(plan.scheduled.rows)[-1],
    }


def everything_happens(simulator: YnabSimulator) -> None:
    """Every kind of change, so that a delta holds every kind of row."""
    edits = simulator.plan()
    plan = edits.plan
    split, *others = plan.lines
    edits.edit_transaction(split, lines=[], category="Pets")
    edits.delete_transaction(others[0])
    edits.add_transaction("Visa", -5_000, transfer_to="Checking")
    edits.add_transaction(
        "Checking",
        -30_000,
        lines=[
            {"amount": -10_000, "category": "Water", "memo": "half"},
            {"amount": -20_000, "transfer_to": "Savings"},
        ],
    )
    first, second = (
        edits.add_transaction("Visa", -7_000, payee="City Transit", flag_color="red") for _ in "ab"
    )
    edits.match_transactions(first, second)
    edits.edit_scheduled(list(plan.scheduled.rows)[-1], lines=())
    edits.enter_scheduled(next(iter(plan.scheduled.rows)))
    edits.merge_payees("City Transit", into="Fibernet")
    edits.delete_category("New Roof")
    edits.edit_category_group("Family", name="Family & Friends")
    edits.edit_account("Old Bank", deleted=True)
    edits.delete_payee_location(list(plan.payee_locations.rows)[-1])
    edits.set_budgeted(plan.current_month(), "Rent", 1_234_000)
    edits.move_money("Holidays", "Rent", 5_000)
    edits.edit_month(plan.current_month(), note="tight")


async def test_every_read_is_as_the_file_says_whole_and_as_a_delta(
    spec: Spec, simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    before = simulator.plan().plan.knowledge
    faults = []
    for knowledge in (None, before):
        if knowledge is not None:
            everything_happens(simulator)
        for path, methods in spec.paths.items():
            if "get" not in methods:
                continue
            query = {} if knowledge is None else {"last_knowledge_of_server": knowledge}
            address = path.format(**some_ids(simulator))
            answer = await client.get(address, params=query)
            assert answer.status_code == 200, (path, answer.text)
            schema = spec.answer_schema("get", path, 200)
            faults += [f"{path}: {each}" for each in spec.faults(schema, answer.json())]
    assert faults == []


async def test_lists_in_the_answers_are_not_empty(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    """Otherwise the validation of their items proves nothing."""
    before = simulator.plan().plan.knowledge
    path = f"/plans/{simulator.plan().plan.id}"
    whole = (await client.get(path)).json()["data"]["plan"]
    everything_happens(simulator)
    delta = (await client.get(path, params={"last_knowledge_of_server": before})).json()
    for plan in (whole, delta["data"]["plan"]):
        empty = [key for key, part in plan.items() if part == []]
        assert empty == []


async def test_every_error_is_as_the_file_says(
    spec: Spec, simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    schema = {"$ref": "#/components/schemas/ErrorResponse"}
    for name, (status, code, _) in ERRORS.items():
        simulator.fail_next("status", error=name)
        answer = await client.get("/plans")
        error = answer.json()["error"]
        assert (answer.status_code, error["id"], error["name"]) == (status, code, name)
        assert spec.faults(schema, answer.json()) == []


async def test_the_check_itself_sees_wrong_and_unknown_fields(
    spec: Spec, client: httpx.AsyncClient
) -> None:
    body = (await client.get("/plans")).json()
    schema = spec.answer_schema("get", "/plans", 200)
    assert spec.faults(schema, body) == []
    body["data"]["plans"][0]["name"] = 7
    body["data"]["plans"][0]["nickname"] = "home"
    assert len(spec.faults(schema, body)) == 2


@contextmanager
def official(simulator: YnabSimulator) -> Iterator[ynab.ApiClient]:
    settings = ynab.Configuration(access_token=TOKEN, host=simulator.base_url, retries=0)
    with ynab.ApiClient(settings) as made:
        yield made
        made.rest_client.pool_manager.clear()


def read_all(made: ynab.ApiClient, ids: dict[str, str], knowledge: int | None) -> dict[str, Any]:
    plan = ids["plan_id"]
    since = {"last_knowledge_of_server": knowledge}
    account = ids["account_id"]
    transactions = ynab.TransactionsApi(made)
    categories = ynab.CategoriesApi(made)
    movements = ynab.MoneyMovementsApi(made)
    return {
        "plans": ynab.PlansApi(made).get_plans(include_accounts=True).data.plans,
        "plan": ynab.PlansApi(made).get_plan_by_id(plan, **since).data.plan,
        "settings": ynab.PlansApi(made).get_plan_settings_by_id(plan).data.settings,
        "user": ynab.UserApi(made).get_user().data.user,
        "accounts": ynab.AccountsApi(made).get_accounts(plan, **since).data.accounts,
        "categories": categories.get_categories(plan, **since).data.category_groups,
        "payees": ynab.PayeesApi(made).get_payees(plan, **since).data.payees,
        "locations": ynab.PayeeLocationsApi(made).get_payee_locations(plan).data,
        "months": ynab.MonthsApi(made).get_plan_months(plan, **since).data.months,
        "month": ynab.MonthsApi(made).get_plan_month(plan, ids["month"]).data.month,
        "transactions": transactions.get_transactions(
            plan, since_date="2000-01-01", **since
        ).data.transactions,
        "of_account": transactions.get_transactions_by_account(plan, account, **since).data,
        "of_category": transactions.get_transactions_by_category(
            plan, ids["category_id"], **since
        ).data,
        "of_payee": transactions.get_transactions_by_payee(plan, ids["payee_id"], **since).data,
        "scheduled": ynab.ScheduledTransactionsApi(made)
        .get_scheduled_transactions(plan, **since)
        .data.scheduled_transactions,
        "movements": movements.get_money_movements(plan).data.money_movements,
        "groups": movements.get_money_movement_groups(plan).data.money_movement_groups,
    }


async def test_the_official_client_reads_everything(simulator: YnabSimulator) -> None:
    before = simulator.plan().plan.knowledge
    with official(simulator) as made:
        ids = some_ids(simulator)
        whole = await asyncio.to_thread(read_all, made, ids, None)
        assert len(whole["transactions"]) == SIZE.transactions
        assert len(whole["plan"].transactions) == SIZE.transactions
        assert {each.amount for each in whole["transactions"]} == {
            each.amount for each in whole["plan"].transactions
        }
        everything_happens(simulator)
        delta = await asyncio.to_thread(read_all, made, ids, before)
    assert 0 < len(delta["transactions"]) < SIZE.transactions // 2
    assert any(each.deleted for each in delta["transactions"])


async def test_the_official_client_reads_the_errors(simulator: YnabSimulator) -> None:
    def read() -> None:
        with official(simulator) as made:
            ynab.PlansApi(made).get_plans()

    simulator.set_token(TOKEN, error="subscription_lapsed")
    with pytest.raises(ynab.exceptions.ForbiddenException) as seen:
        await asyncio.to_thread(read)
    assert '"403.1"' in str(seen.value.body)


@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY", "KWD"])
async def test_amounts_fit_the_currency(spec: Spec, currency: str) -> None:
    size = YnabSize(transactions=120, currency=currency)
    async with YnabSimulator([size]) as simulator:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=simulator.base_url, headers=headers) as client:
            path = f"/plans/{simulator.plan().plan.id}/transactions"
            body = (await client.get(path, params={"since_date": "2000-01-01"})).json()
    assert spec.faults(spec.answer_schema("get", "/plans/{plan_id}/transactions", 200), body) == []
    digits = simulator.plan().plan.currency.decimal_digits
    rows = body["data"]["transactions"]
    assert all(row["amount"] % 10 ** (3 - digits) == 0 for row in rows)
    for row in rows:
        shown = "".join(sign for sign in row["amount_formatted"] if sign in "-0123456789")
        assert int(shown) * 10 ** (3 - digits) == row["amount"]
        assert round(row["amount_currency"] * 1000) == row["amount"]
