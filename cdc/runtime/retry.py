"""How long to wait before trying again: one pure function, used at one level of every loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounded exponential growth; ``spread_ratio`` keeps a fleet from trying in step."""

    first_seconds: float = 0.2
    factor: float = 2.0
    seconds_max: float = 30.0
    spread_ratio: float = 0.1

    def __post_init__(self) -> None:
        assert 0 < self.first_seconds <= self.seconds_max
        assert self.factor >= 1
        assert 0 <= self.spread_ratio < 1


def delay_seconds(attempt: int, backoff: Backoff, random: Callable[[], float]) -> float:
    """The wait after the ``attempt``-th failure in a row (1 is the first).

    ``random`` gives [0, 1). The result is within ± ``spread_ratio`` of the bounded growth.
    """
    assert attempt >= 1
    seconds = backoff.first_seconds
    for _ in range(attempt - 1):
        if seconds >= backoff.seconds_max:
            break
        seconds *= backoff.factor
    spread = 1 + backoff.spread_ratio * (2 * random() - 1)
    return min(seconds, backoff.seconds_max) * spread


async def wait(stop: asyncio.Event, seconds: float) -> bool:
    """Waits that long, or until ``stop``; whether it was ``stop``."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True
