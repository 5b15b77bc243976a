"""Waiting before the next try: bounded, growing, never in step, ended by the stop event."""

import asyncio

import pytest

from cdc.runtime.retry import Backoff, delay_seconds, wait

MIDDLE = 0.5
"""The random number that adds no spread."""


def test_waits_grow_and_are_bounded() -> None:
    backoff = Backoff(first_seconds=1, factor=2, seconds_max=10)
    waits = [delay_seconds(attempt, backoff, lambda: MIDDLE) for attempt in range(1, 8)]
    assert waits == [1, 2, 4, 8, 10, 10, 10]


def test_a_million_failures_neither_overflow_nor_take_time() -> None:
    assert delay_seconds(1_000_000, Backoff(seconds_max=30), lambda: MIDDLE) == 30


def test_the_spread_is_a_tenth_either_way() -> None:
    backoff = Backoff(first_seconds=10, spread_ratio=0.1)
    assert delay_seconds(1, backoff, lambda: 0.0) == pytest.approx(9)
    assert delay_seconds(1, backoff, lambda: 1.0) == pytest.approx(11)


async def test_waiting_ends_with_the_stop() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(wait(stop, 3600))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(30):
        assert await waiting


async def test_waiting_ends_with_the_time() -> None:
    assert not await wait(asyncio.Event(), 0)
