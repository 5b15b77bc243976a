"""The Plaid simulator refuses what Plaid refuses: fields, keys, tokens, and calls too many."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_limits import CODES, LIMITS

KEYS = {"plaid-client-id": CLIENT_ID, "plaid-secret": SECRET}
SYNC, GET = "/transactions/sync", "/transactions/get"
WINDOW = {"start_date": "2026-10-01", "end_date": "2026-11-01"}


@pytest.fixture
async def simulator() -> AsyncIterator[PlaidSimulator]:
    async with PlaidSimulator([PlaidSize(transactions=20), PlaidSize(transactions=20)]) as running:
        yield running


@pytest.fixture
async def client(simulator: PlaidSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=KEYS) as made:
        yield made


@pytest.fixture
def tokens(simulator: PlaidSimulator) -> list[str]:
    return list(simulator.items)


async def refusal(client: httpx.AsyncClient, path: str, **sent: Any) -> tuple[int, str]:
    answer = await client.post(path, **sent)
    body = answer.json()
    assert {"error_type", "error_message", "display_message", "request_id"} <= body.keys()
    return answer.status_code, body["error_code"]


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        (SYNC, {"cursors": ""}, "UNKNOWN_FIELDS"),
        (SYNC, {"options": {"days": 30}}, "UNKNOWN_FIELDS"),
        (SYNC, {"count": 501}, "INVALID_FIELD"),
        (SYNC, {"count": 0}, "INVALID_FIELD"),
        (SYNC, {"count": "100"}, "INVALID_FIELD"),
        (SYNC, {"cursor": None}, "INVALID_FIELD"),
        (SYNC, {"options": {"days_requested": 731}}, "INVALID_FIELD"),
        (GET, {}, "MISSING_FIELDS"),
        (GET, {**WINDOW, "count": 10}, "UNKNOWN_FIELDS"),
        (GET, {**WINDOW, "start_date": "1/10/2026"}, "INVALID_FIELD"),
        (GET, {**WINDOW, "options": {"offset": -1}}, "INVALID_FIELD"),
        (GET, {"start_date": "2026-11-02", "end_date": "2026-11-01"}, "INVALID_FIELD"),
        (GET, {**WINDOW, "options": {"account_ids": ["nobody"]}}, "INVALID_ACCOUNT_ID"),
        ("/accounts/get", {"options": {"account_ids": ["nobody"]}}, "INVALID_ACCOUNT_ID"),
        ("/item/get", {"item_id": "x"}, "UNKNOWN_FIELDS"),
    ],
)
async def test_fields(
    client: httpx.AsyncClient, tokens: list[str], path: str, fields: dict[str, Any], code: str
) -> None:
    assert await refusal(client, path, json={"access_token": tokens[0], **fields}) == (400, code)


async def test_bodies_and_paths(client: httpx.AsyncClient, tokens: list[str]) -> None:
    typed = {"content-type": "application/json"}
    assert await refusal(client, SYNC, content=b"{", headers=typed) == (400, "INVALID_BODY")
    assert await refusal(client, SYNC, content=b"[]", headers=typed) == (400, "INVALID_BODY")
    assert await refusal(client, SYNC, content=b"{}") == (400, "INVALID_HEADERS")
    assert await refusal(client, SYNC, json={}) == (400, "MISSING_FIELDS")
    assert await refusal(client, "/nowhere", json={}) == (404, "NOT_FOUND")
    got = await client.get("/item/get")
    assert (got.status_code, got.json()["error_code"]) == (404, "NOT_FOUND")


async def test_keys_and_tokens(simulator: PlaidSimulator, tokens: list[str]) -> None:
    about = {"access_token": tokens[0]}
    async with httpx.AsyncClient(base_url=simulator.base_url) as bare:
        assert await refusal(bare, SYNC, json=about) == (400, "MISSING_FIELDS")
        wrong = {"client_id": CLIENT_ID, "secret": "other"}
        assert await refusal(bare, SYNC, json=about | wrong) == (400, "INVALID_API_KEYS")
        right = {"client_id": CLIENT_ID, "secret": SECRET}
        assert (await bare.post(SYNC, json=about | right)).status_code == 200
        unknown = right | {"access_token": "access-sandbox-0"}
        assert await refusal(bare, SYNC, json=unknown) == (400, "INVALID_ACCESS_TOKEN")
        await bare.post("/item/remove", json=about | right)
        assert await refusal(bare, SYNC, json=about | right) == (400, "ITEM_NOT_FOUND")


@pytest.mark.parametrize("environment", list(LIMITS))
@pytest.mark.parametrize("path", sorted(CODES))
async def test_calls_per_minute_and_item(
    simulator: PlaidSimulator,
    client: httpx.AsyncClient,
    tokens: list[str],
    path: str,
    environment: str,
) -> None:
    simulator.switch(limits=environment)
    simulator.item(tokens[0]).make_ready()
    simulator.item(tokens[1]).make_ready()
    body = {"access_token": tokens[0]} | (WINDOW if path == GET else {})
    limit, _ = LIMITS[environment][path]
    assert limit is not None
    for _ in range(limit):
        assert (await client.post(path, json=body)).status_code == 200
    simulator.advance_clock(59)
    assert await refusal(client, path, json=body) == (429, CODES[path])
    other = await client.post(path, json=body | {"access_token": tokens[1]})
    assert other.status_code == 200
    simulator.advance_clock(1)
    assert (await client.post(path, json=body)).status_code == 200


async def test_calls_per_minute_and_client(
    simulator: PlaidSimulator, client: httpx.AsyncClient
) -> None:
    """The balance limit of a sandbox client is 100 a minute over all its items."""
    simulator.switch(limits="sandbox")
    tokens = [simulator.new_item(transactions=0) for _ in range(5)]
    answers = [
        await client.post("/accounts/balance/get", json={"access_token": token})
        for token in tokens
        for _ in range(21)
    ]
    assert [answer.status_code for answer in answers] == [200] * 100 + [429] * 5
    assert answers[-1].json()["error_type"] == "RATE_LIMIT_EXCEEDED"
    assert "retry-after" not in answers[-1].headers
