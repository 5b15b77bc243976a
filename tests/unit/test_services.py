"""Start, drain, deadline, second signal, death: how a process of ours ends."""

import asyncio
import os
import signal
from typing import Any

import pytest

from cdc.runtime.errors import BrokenPromise, Unavailable, Unfit
from cdc.runtime.services import Services


class Lines:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **keys: object) -> None:
        self.lines.append((event, keys))

    warning = error = info

    def said(self, event: str) -> list[dict[str, Any]]:
        return [keys for line, keys in self.lines if line == event]


async def until_stopped(stop: asyncio.Event) -> None:
    await stop.wait()


def make(drain_seconds: float = 5.0) -> tuple[Services, Lines]:
    lines = Lines()
    return Services(lines, drain_seconds=drain_seconds), lines


async def test_a_signal_drains_and_ends_with_0() -> None:
    services, _ = make()
    finished = []

    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.sleep(0)
        finished.append("batch")

    services.add("work", work)
    running = asyncio.create_task(services.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert finished == ["batch"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
async def test_a_second_signal_ends_at_once(number: signal.Signals, code: int) -> None:
    services, lines = make(drain_seconds=3600)
    cancelled = asyncio.Event()

    async def slow(stop: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    services.add("slow", slow)
    services.start()
    waiting = asyncio.create_task(services.wait())
    await asyncio.sleep(0)
    services.signalled(number)
    await asyncio.sleep(0)
    services.signalled(number)
    async with asyncio.timeout(30):
        assert await waiting == code
    assert cancelled.is_set()
    (cut,) = [each for each in lines.said("task is cut short") if each["task"] == "slow"]
    assert any("test_services.py" in line and "slow" in line for line in cut["stack"])


async def test_the_deadline_ends_what_does_not_drain() -> None:
    services, lines = make(drain_seconds=0.01)

    async def deaf(_: asyncio.Event) -> None:
        await asyncio.Event().wait()

    services.add("deaf", deaf)
    services.add("good", until_stopped)
    services.start()
    waiting = asyncio.create_task(services.wait())
    await asyncio.sleep(0)
    services.signalled(signal.SIGTERM)
    assert await waiting == 143
    told = [each["task"] for each in lines.said("task is cut short")]
    assert "deaf" in told
    assert "good" not in told


async def test_the_death_of_one_drains_the_others_and_is_raised() -> None:
    services, lines = make()
    drained = asyncio.Event()

    async def good(stop: asyncio.Event) -> None:
        await stop.wait()
        drained.set()

    async def bad(_: asyncio.Event) -> None:
        raise Unfit("no rights")

    services.add("good", good)
    services.add("bad", bad)
    services.start()
    with pytest.raises(Unfit, match="no rights"):
        await services.wait()
    assert drained.is_set()
    assert lines.said("task died")[0]["task"] == "bad"


async def test_a_death_of_several_reasons_is_logged_with_each() -> None:
    """It said ``ExceptionGroup`` where two servers were missing."""
    services, lines = make()

    async def bad(_: asyncio.Event) -> None:
        missing = [Unavailable("nobody listens"), Unfit("not migrated", hint="run `cdc migrate`")]
        raise ExceptionGroup("cannot start", [*missing, ValueError("a payload")])

    services.add("bad", bad)
    services.start()
    with pytest.raises(ExceptionGroup):
        await services.wait()
    assert lines.said("task died") == [
        {
            "task": "bad",
            "error_class": "Unavailable, Unfit, ValueError",
            "error": "nobody listens; not migrated; run `cdc migrate`",
        }
    ]


async def test_a_service_that_just_returns_is_a_death() -> None:
    services, _ = make()

    async def short(_: asyncio.Event) -> None:
        return

    services.add("short", short)
    services.add("good", until_stopped)
    services.start()
    with pytest.raises(BrokenPromise, match="short"):
        await services.wait()


async def test_a_death_while_draining_is_not_hidden() -> None:
    services, _ = make()

    async def clumsy(stop: asyncio.Event) -> None:
        await stop.wait()
        raise ValueError("broke while stopping")

    services.add("clumsy", clumsy)
    services.start()
    waiting = asyncio.create_task(services.wait())
    await asyncio.sleep(0)
    services.signalled(signal.SIGTERM)
    with pytest.raises(ValueError, match="broke while stopping"):
        await waiting


async def test_stop_is_safe_before_start_and_twice() -> None:
    services, _ = make()
    services.add("good", until_stopped)
    await services.stop()
    services.start()  # nothing starts any more
    await services.stop()
    assert services.stopping


async def test_start_and_stop_in_every_order_many_times() -> None:
    for _ in range(50):
        services, _ = make()
        ended = []

        async def work(stop: asyncio.Event, ended: list[int] = ended) -> None:
            await stop.wait()
            ended.append(1)

        for name in ("a", "b", "c"):
            services.add(name, work)
        services.start()
        services.start()
        await asyncio.gather(services.stop(), services.stop())
        assert len(ended) in (0, 3)  # stopped before their first step, or drained
