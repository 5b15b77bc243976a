"""The simulators' time: windows, quotas and month ends must be reachable without waiting."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

FROZEN_START = datetime(2026, 11, 15, 12, tzinfo=UTC)


class Clock:
    """Time that stands still, or runs on from its start; either way it can be moved."""

    def __init__(self, start: datetime = FROZEN_START, *, running: bool = False) -> None:
        self._at = start
        self._running = running
        self._read_at = time.monotonic()

    def now(self) -> datetime:
        """Aware UTC."""
        if self._running:
            read_at = time.monotonic()
            self._at += timedelta(seconds=read_at - self._read_at)
            self._read_at = read_at
        return self._at

    def today(self) -> date:
        """The UTC calendar day."""
        return self.now().date()

    def advance(self, seconds: float) -> datetime:
        """Move on by ``seconds`` and tell the new time."""
        self._at = self.now() + timedelta(seconds=seconds)
        return self._at

    def set(self, at: datetime) -> datetime:
        """Jump to ``at`` (aware)."""
        self.now()
        self._at = at.astimezone(UTC)
        return self._at


class BorrowedClock(Clock):
    """The time of somebody else's clock, as a test's own virtual one."""

    def __init__(self, read: Callable[[], datetime]) -> None:
        super().__init__(read())
        self._read = read

    def now(self) -> datetime:
        return self._read().astimezone(UTC)

    def advance(self, seconds: float) -> datetime:
        raise ValueError("this time belongs to another clock: move that one")

    def set(self, at: datetime) -> datetime:
        raise ValueError("this time belongs to another clock: move that one")


def instant(at: datetime) -> str:
    """As the APIs write a time: `2026-03-01T12:00:00Z`, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def years_before(day: date, years: int) -> date:
    """The same day ``years`` earlier; 29 February becomes 28."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)
