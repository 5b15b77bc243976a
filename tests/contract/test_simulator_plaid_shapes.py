"""The Plaid simulator answers as Plaid's own OpenAPI file and client say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import httpx
import plaid
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid.model.accounts_balance_get_request import AccountsBalanceGetRequest
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.transactions_get_request import TransactionsGetRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions

from compose.simulators.openapi import SPECS, Spec
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_errors import ERRORS
from compose.simulators.plaid_requests import TAKES

FILE = SPECS / "plaid.openapi.yaml"
KEYS = {"plaid-client-id": CLIENT_ID, "plaid-secret": SECRET}
SIZES = (
    PlaidSize(name="Dollars", transactions=120, persistent_ids=True),
    PlaidSize(name="Coins", transactions=60, currency=None, unofficial_currency="BTC"),
    PlaidSize(name="Yen", transactions=60, currency="JPY"),
)


@pytest.fixture(scope="module")
def spec() -> Spec:
    if not FILE.exists():
        pytest.skip("Plaid's OpenAPI file is not beside the repository")
    return Spec(FILE)


@pytest.fixture
async def simulator() -> AsyncIterator[PlaidSimulator]:
    async with PlaidSimulator(SIZES) as running:
        yield running


@pytest.fixture
async def client(simulator: PlaidSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=KEYS) as made:
        yield made


def bodies(token: str) -> list[tuple[str, dict[str, Any]]]:
    """Every endpoint, with a request to it. The last ones change the item for good."""
    item = {"access_token": token}
    window = {"start_date": "2024-01-01", "end_date": "2026-11-15"}
    described = {"include_original_description": True, "personal_finance_category_version": "v1"}
    drop = {
        "date_transacted": "2026-11-10",
        "date_posted": "2026-11-11",
        "amount": 12.5,
        "description": "drop",
    }
    return [
        ("/transactions/sync", item | {"count": 500, "options": {"days_requested": 730}}),
        ("/transactions/sync", item | {"count": 3, "options": described}),
        ("/transactions/get", item | window),
        ("/transactions/get", item | window | {"options": {"offset": 20, "count": 10}}),
        ("/transactions/refresh", item),
        ("/accounts/get", item),
        ("/accounts/balance/get", item),
        ("/item/get", item),
        ("/institutions/get_by_id", {"institution_id": "ins_1", "country_codes": ["US"]}),
        ("/sandbox/transactions/create", item | {"transactions": [drop]}),
        ("/sandbox/item/reset_login", item),
        ("/item/get", item),
        ("/item/remove", item | {"reason_code": "OTHER"}),
    ]


async def test_every_answer_is_as_the_file_says(
    spec: Spec, simulator: PlaidSimulator, client: httpx.AsyncClient
) -> None:
    faults, seen = [], set()

    async def check(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        seen.add(path)
        schema = spec.answer_schema("post", path, 200)
        faults.extend(f"{path}: {each}" for each in spec.faults(schema, answer.json()))
        return dict(answer.json())

    for token in list(simulator.items):
        for path, body in bodies(token):
            await check(path, body)
    wanted = {"institution_id": "ins_2", "initial_products": ["transactions"]}
    public = await check("/sandbox/public_token/create", wanted)
    own = {"public_token": public["public_token"]}
    exchanged = await check("/item/public_token/exchange", own)
    await check("/item/get", {"access_token": exchanged["access_token"]})
    assert faults == []
    assert seen == set(TAKES)
    assert seen <= set(spec.paths)


async def test_requests_are_those_of_the_file(spec: Spec) -> None:
    """A field that the file allows is not an unknown one here."""
    for path, body in bodies("access-sandbox-x"):
        asked = spec.paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert spec.faults(asked, body) == []


async def test_every_error_is_as_the_file_says(
    spec: Spec, simulator: PlaidSimulator, client: httpx.AsyncClient
) -> None:
    (token, *_) = simulator.items
    schema = {"$ref": "#/components/schemas/PlaidError"}
    for code, (status, kind, _) in ERRORS.items():
        simulator.advance_clock(60)
        simulator.fail_next("status", error=code)
        answer = await client.post("/item/get", json={"access_token": token})
        body = answer.json()
        assert (answer.status_code, body["error_code"], body["error_type"]) == (status, code, kind)
        assert spec.faults(schema, body) == []


@contextmanager
def official(simulator: PlaidSimulator) -> Iterator[PlaidApi]:
    keys = {"clientId": CLIENT_ID, "secret": SECRET}
    made = plaid.ApiClient(plaid.Configuration(host=simulator.base_url, api_key=keys))
    yield PlaidApi(made)
    made.rest_client.pool_manager.clear()
    made.close()


def read_all(api: PlaidApi, token: str) -> dict[str, Any]:
    cursor, added, removed = "", [], []
    while True:
        options = TransactionsSyncRequestOptions(days_requested=730)
        page = api.transactions_sync(
            TransactionsSyncRequest(access_token=token, cursor=cursor, count=50, options=options)
        )
        added += page.added
        removed += page.removed
        cursor = page.next_cursor
        if not page.has_more:
            break
    window = TransactionsGetRequest(
        access_token=token, start_date=date(2024, 1, 1), end_date=date(2026, 11, 15)
    )
    return {
        "added": added,
        "removed": removed,
        "got": api.transactions_get(window),
        "accounts": api.accounts_get(AccountsGetRequest(access_token=token)).accounts,
        "balances": api.accounts_balance_get(
            AccountsBalanceGetRequest(access_token=token)
        ).accounts,
        "item": api.item_get(ItemGetRequest(access_token=token)).item,
    }


async def test_the_official_client_reads_everything(simulator: PlaidSimulator) -> None:
    for token, size in zip(list(simulator.items), SIZES, strict=True):
        with official(simulator) as api:
            read = await asyncio.to_thread(read_all, api, token)
        assert len(read["added"]) == size.transactions == read["got"].total_transactions
        assert read["item"].item_id == simulator.item(token).item.item_id
        assert len(read["accounts"]) == len(read["balances"]) == 3
        codes = {(each.iso_currency_code, each.unofficial_currency_code) for each in read["added"]}
        assert codes == {(size.currency, size.unofficial_currency)}


async def test_the_official_client_reads_the_errors(simulator: PlaidSimulator) -> None:
    (token, *_) = simulator.items
    simulator.item(token).fail_item(reason="OAUTH_CONSENT_EXPIRED")

    def read() -> None:
        with official(simulator) as api:
            api.accounts_get(AccountsGetRequest(access_token=token))

    with pytest.raises(plaid.ApiException) as seen:
        await asyncio.to_thread(read)
    assert seen.value.status == 400
    assert "OAUTH_CONSENT_EXPIRED" in seen.value.body
