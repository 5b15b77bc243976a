"""Faults on order, edits around requests, the control over HTTP, and a simulator as a process."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from compose.simulators.clock import BorrowedClock
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize

HEADERS = {"authorization": f"Bearer {TOKEN}"}
START_SECONDS_MAX = 30


@pytest.fixture
async def simulator() -> AsyncIterator[YnabSimulator]:
    async with YnabSimulator([YnabSize(transactions=60)]) as running:
        yield running


@pytest.fixture
async def client(simulator: YnabSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=HEADERS) as made:
        yield made


async def test_a_fault_meets_the_request_it_was_ordered_for(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    simulator.fail_next("status", match="/plans", skip=1, times=2, error="service_unavailable")
    statuses = [(await client.get(path)).status_code for path in ("/plans", "/user", "/plans")]
    statuses += [(await client.get("/plans")).status_code for _ in range(2)]
    assert statuses == [200, 200, 503, 503, 200]
    assert [each.fault for each in simulator.requests()] == [None, None, "status", "status", None]


async def test_status_body_and_headers_can_be_given(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    simulator.fail_next("status", error="too_many_requests", headers={"retry-after": "7"})
    answer = await client.get("/plans")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["name"] == "too_many_requests"
    simulator.fail_next("status", status=200, body="not json")
    assert (await client.get("/plans")).text == "not json"
    simulator.fail_next("html")
    answer = await client.get("/plans")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "reset"}, (httpx.ReadError, httpx.RemoteProtocolError)),
        ({"kind": "reset_after"}, (httpx.ReadError, httpx.RemoteProtocolError)),
        ({"kind": "truncated"}, httpx.RemoteProtocolError),
        ({"kind": "truncated", "keep_bytes": 0}, httpx.RemoteProtocolError),
        ({"kind": "timeout"}, httpx.ReadTimeout),
        ({"kind": "timeout", "seconds": 0.01}, httpx.RemoteProtocolError),
        ({"kind": "timeout_after"}, httpx.ReadTimeout),
    ],
)
async def test_connections_break(
    simulator: YnabSimulator,
    client: httpx.AsyncClient,
    fault: dict[str, Any],
    error: type[Exception],
) -> None:
    simulator.fail_next(**fault)
    patience_seconds = 0.3 if error is httpx.ReadTimeout else 30
    with pytest.raises(error):
        await client.get("/plans", timeout=httpx.Timeout(30, read=patience_seconds))
    (seen,) = simulator.requests()
    assert seen.fault == fault["kind"]
    assert (seen.status == 0) == (fault["kind"] in ("reset", "timeout"))
    assert (await client.get("/plans")).status_code == 200


async def test_a_write_whose_answer_is_lost_was_carried_out(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    plan = simulator.plan().plan
    for kind, made in (("reset", 0), ("reset_after", 1)):
        before = len(plan.payees)
        simulator.fail_next(kind, method="POST")
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post(f"/plans/{plan.id}/payees", json={"payee": {"name": "X"}})
        assert len(plan.payees) - before == made


async def test_slow_delayed_and_endless_answers(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    whole = (await client.get("/plans")).content
    simulator.fail_next("slow", bytes_per_second=len(whole) * 4)
    begun = time.monotonic()
    assert (await client.get("/plans")).content == whole
    assert time.monotonic() - begun > 0.15
    simulator.fail_next("delay", seconds=0.2)
    begun = time.monotonic()
    assert (await client.get("/plans")).content == whole
    assert time.monotonic() - begun > 0.15
    simulator.fail_next("endless")
    read = 0
    async with client.stream("GET", "/plans") as answer:
        async for piece in answer.aiter_raw():
            read += len(piece)
            if read > 5_000_000:
                break


async def test_an_answer_can_be_bent(simulator: YnabSimulator, client: httpx.AsyncClient) -> None:
    changes = [["data.plans.0.name", 7], ["-data.plans.0.id", None], ["data.new", [1]]]
    simulator.fail_next("patch", changes=changes)
    data = (await client.get("/plans")).json()["data"]
    assert (data["plans"][0]["name"], data["new"]) == (7, [1])
    assert "id" not in data["plans"][0]


async def test_an_answer_can_be_compressed_and_blown_up(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    whole = (await client.get("/plans")).json()
    simulator.fail_next("gzip", pad_bytes=1_000_000)
    answer = await client.get("/plans")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == whole
    assert int(answer.headers["content-length"]) < 10_000 < len(answer.content)


async def test_an_order_that_fails_late_fails_the_test() -> None:
    for order in ({"kind": "patch", "changes": [["data.none.x", 1]]}, None):
        with pytest.raises(ExceptionGroup):
            async with (
                YnabSimulator([YnabSize(transactions=20)]) as simulator,
                httpx.AsyncClient(base_url=simulator.base_url, headers=HEADERS) as client,
            ):
                if order:
                    simulator.fail_next(**order)
                else:
                    simulator.script("rename_payee", args={"payee": "nobody", "name": "x"})
                assert (await client.get("/plans")).status_code == 500


async def test_edits_happen_before_or_after_an_answer_is_made(
    simulator: YnabSimulator, client: httpx.AsyncClient
) -> None:
    path = f"/plans/{simulator.plan().plan.id}/payees"

    async def names() -> set[str]:
        return {row["name"] for row in (await client.get(path)).json()["data"]["payees"]}

    simulator.script("add_payee", args={"name": "early"}, match="/payees", skip=1)
    simulator.script("add_payee", args={"name": "late"}, match="/payees", when="after", skip=1)
    assert not {"early", "late"} & await names()
    assert {"early", "late"} & await names() == {"early"}
    assert {"early", "late"} <= await names()


async def test_everything_can_be_ordered_over_http(simulator: YnabSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.host_url, headers=HEADERS) as client:

        async def order(do: str, **args: Any) -> Any:
            answer = await client.post("/_control", json={"do": do, "args": args})
            assert answer.status_code == 200, answer.text
            return answer.json()["result"]

        made = await order(
            "add_transaction", account="Checking", amount=-1_000, payee="Bus", category="Transport"
        )
        await order("edit_transaction", id=made, memo="two zones")
        assert simulator.plan().plan.transactions[made].memo == "two zones"
        await order("delete_transaction", id=made)
        assert await order("advance_clock", seconds=60) == "2026-11-15T12:01:00Z"
        await order("set_clock", at="2026-12-24T18:00:00+01:00")
        assert simulator.clock.now() == datetime(2026, 12, 24, 17, tzinfo=UTC)
        await order("switch", rate_limit_header=True)
        await order("fail_next", kind="status", error="conflict", match="/user")
        assert (await client.get("/v1/user")).status_code == 409
        assert (await order("requests", match="/user"))[0]["fault"] == "status"
        assert (await order("counters"))["by_path"] == {"GET /v1/user": 1}
        assert (await order("plans_summary"))[0]["name"] == "Household"
        await order("forget_requests")
        assert (await order("counters"))["requests"] == 0


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"do": "dance"},
        {"do": "delete_transaction", "args": {"id": "none"}},
        {"do": "add_transaction", "args": {"account": "Checking"}},
        {"do": "add_transaction", "args": {"account": "Checking", "amount": 1, "colour": "red"}},
        {"do": "fail_next", "args": {"kind": "explode"}},
        {"do": "fail_next", "args": {"kind": "reset", "maybe": True}},
        {"do": "script", "args": {"do": "dance"}},
        {"do": "switch", "args": {"colour": "red"}},
        {"do": "set_clock", "args": {"at": "noon"}},
    ],
)
async def test_orders_that_make_no_sense_are_told(
    simulator: YnabSimulator, order: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=simulator.host_url) as client:
        answer = await client.post("/_control", json=order)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_the_log_keeps_no_secret(client: httpx.AsyncClient, simulator: YnabSimulator) -> None:
    await client.get("/plans")
    assert TOKEN not in str(simulator.do("requests"))
    async with (
        PlaidSimulator() as bank,
        httpx.AsyncClient(base_url=bank.base_url) as other,
    ):
        (token,) = bank.items
        keys = {"client_id": CLIENT_ID, "secret": SECRET, "access_token": token}
        await other.post("/transactions/sync", json={**keys, "count": 5})
        (seen,) = bank.requests("/transactions/sync")
    assert seen.body == {"client_id": CLIENT_ID, "count": 5}
    assert SECRET not in str(seen)
    assert token not in str(seen)


async def test_another_clock_can_be_borrowed() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC)]
    async with YnabSimulator(
        [YnabSize(transactions=20)], clock=BorrowedClock(lambda: moments[-1])
    ) as simulator:
        path = f"/plans/{simulator.plan().plan.id}/months/current"
        async with httpx.AsyncClient(base_url=simulator.base_url, headers=HEADERS) as client:
            for month in ("2026-01-01", "2026-02-01"):
                answer = await client.get(path)
                assert answer.json()["data"]["month"]["month"] == month
                moments.append(datetime(2026, 2, 1, tzinfo=UTC))


async def test_a_bug_of_the_simulator_fails_the_test_that_met_it() -> None:
    with pytest.raises(ExceptionGroup) as seen:
        async with (
            YnabSimulator([YnabSize(transactions=20)]) as simulator,
            httpx.AsyncClient(base_url=simulator.base_url, headers=HEADERS) as client,
        ):
            simulator.plan().plan.months.rows.clear()
            assert (await client.get("/plans")).status_code == 500
    assert len(seen.value.exceptions) == 1


def test_the_same_seed_makes_the_same_household_and_bank() -> None:
    for kind in (YnabSimulator, PlaidSimulator):
        one, same, other = (kind(seed=seed) for seed in (7, 7, 8))
        told = [str(each.do(summary(each))) for each in (one, same, other)]
        assert told[0] == told[1] != told[2]


def summary(simulator: YnabSimulator | PlaidSimulator) -> str:
    return "plans_summary" if isinstance(simulator, YnabSimulator) else "items_summary"


@pytest.mark.parametrize("api", ["ynab", "plaid"])
async def test_a_simulator_runs_as_a_process(api: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "compose.simulators",
        api,
        "--transactions",
        "50",
        "--seed",
        "3",
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS_MAX):
            told = json.loads(await process.stdout.readline())
        async with httpx.AsyncClient() as client:
            order = {"do": "counters"}
            control = httpx.URL(told["base_url"]).join("/_control")
            answer = await client.post(control, json=order)
        assert answer.json()["result"]["requests"] == 0
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_SECONDS_MAX):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
