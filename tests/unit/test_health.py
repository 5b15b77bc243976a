"""The three pages every process answers."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from cdc.runtime.errors import Unfit
from cdc.runtime.health import STALE_SECONDS, Condition, HealthServer, Pulse
from cdc.runtime.metrics import CONTENT_TYPE, Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Site:
    def __init__(self) -> None:
        self.clock = Clock()
        self.pulse = Pulse(self.clock)
        self.conditions: dict[str, Condition] = {}
        self.metrics = Metrics("1.2.3")
        self.server = HealthServer(
            "127.0.0.1",
            0,
            pulse=self.pulse,
            conditions=lambda: self.conditions,
            metrics=self.metrics.page,
            metrics_type=CONTENT_TYPE,
            setting="http.listen",
        )

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        host, port = self.server.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    await found.server.start()
    yield found
    await found.server.stop()


async def test_live_while_every_loop_turns(site: Site) -> None:
    site.pulse.beat("source property")
    assert (await site.get("/livez"))[0] == 200
    site.clock.now += STALE_SECONDS + 1
    status, body = await site.get("/livez")
    assert status == 503
    assert json.loads(body)["stale"] == ["source property"]
    site.pulse.beat("source property")
    assert (await site.get("/livez"))[0] == 200


async def test_ready_tells_every_dependency(site: Site) -> None:
    site.conditions = {"kafka": Condition("ok"), "source a": Condition("degraded", "paused")}
    status, body = await site.get("/readyz")
    assert status == 200
    assert json.loads(body)["dependencies"]["source a"] == {"state": "degraded", "detail": "paused"}
    site.conditions["kafka"] = Condition("down", "no answer")
    status, body = await site.get("/readyz")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "dependencies": {
            "kafka": {"state": "down", "detail": "no answer"},
            "source a": {"state": "degraded", "detail": "paused"},
        },
    }


async def test_metrics_are_there_before_the_first_event(site: Site) -> None:
    site.metrics.source("property", ["accounting.owners"])
    site.metrics.consumer(["accounting.owners"])
    status, body = await site.get("/metrics?x=1")
    assert status == 200
    assert 'cdc_build_info{version="1.2.3"} 1.0' in body
    created = 'cdc_source_events_total{entity="accounting.owners",op="c",source="property"} 0.0'
    assert created in body
    assert 'cdc_rows_total{entity="accounting.owners",outcome="parked"} 0.0' in body
    assert "cdc_commit_to_commit_seconds_bucket" in body


async def test_lag_is_computed_when_it_is_asked_for(site: Site) -> None:
    lag = [1.0]
    site.metrics.source("property", ["accounting.owners"]).watch(
        lag_seconds=lambda: lag[0],
        progress_at=lambda: 5.0,
        state=lambda: "idle",
        states=["idle", "gap"],
    )
    assert 'cdc_source_lag_seconds{source="property"} 1.0' in (await site.get("/metrics"))[1]
    lag[0] = 99.0
    page = (await site.get("/metrics"))[1]
    assert 'cdc_source_lag_seconds{source="property"} 99.0' in page
    assert 'cdc_source_state{source="property",state="idle"} 1.0' in page
    assert 'cdc_source_state{source="property",state="gap"} 0.0' in page


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/metrics", "POST", 405), ("/livez", "HEAD", 200)],
)
async def test_other_requests(site: Site, path: str, method: str, status: int) -> None:
    assert (await site.get(path, method))[0] == status


async def test_nonsense_does_not_hurt(site: Site) -> None:
    host, port = site.server.address.rsplit(":", 1)
    for nonsense in (b"\x00" * 20_000, b"GET\r\n\r\n", b"\r\n\r\n", b""):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(nonsense)
        writer.close()
    assert (await site.get("/livez"))[0] == 200


async def test_a_taken_port_is_said_with_the_way_out(site: Site) -> None:
    second = Site()
    second.server._port = int(site.server.address.rsplit(":", 1)[1])
    with pytest.raises(Unfit, match=r"the port is taken.*http\.listen"):
        await second.server.start()
    await second.server.stop()


async def test_stop_is_safe_before_start_and_twice() -> None:
    site = Site()
    await site.server.stop()
    await site.server.start()
    await site.server.start()
    await site.server.stop()
    await site.server.stop()
