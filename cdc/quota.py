"""Never more requests than an API allows, over restarts and among all processes of one token.

YNAB allows 200 requests in any rolling hour per token and tells nobody how many are left, so every
request is written down before it is made (``sync.api_requests``). The log's hour is longer than an
hour by what a request may take, so a late arrival at the server cannot make 201.

While the database is away each process may make a few requests, far apart, out of a reserve that
is never given out otherwise. The first is made only after a full gap: a process that restarts all
the time makes none.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from cdc.runtime.errors import LedgerError, Unavailable
from cdc.runtime.postgres import Connect, session, transaction
from schemas.sql import query

ALLOWED = 200
"""YNAB's own limit, per token in any rolling hour."""
RESERVE = 20
"""Kept back for processes that cannot read the log: three of them at most."""
ALONE = 6
"""So many of the reserve may each of them make."""
HOUR_SECONDS = 3600.0
LATE_SECONDS = 120.0
"""What one request may take (``http.Limits.total_seconds``)."""
WINDOW_SECONDS = HOUR_SECONDS + LATE_SECONDS
ALONE_GAP_SECONDS = WINDOW_SECONDS / ALONE
DATABASE_SECONDS = 3.0
DATABASE_RETRY_SECONDS = 30.0


class QuotaSpent(Unavailable):
    """No request is left for now."""


class Quota(Protocol):
    """How many requests a credential may still make."""

    async def take(self) -> None:
        """Takes one; raises ``QuotaSpent`` with the time until there is one again."""

    @property
    def left(self) -> int:
        """As of the last request."""


class HourlyQuota:
    """The log of one credential. ``now``: seconds since 1970, the same for all processes."""

    def __init__(
        self,
        credential: str,
        connect: Connect,
        *,
        now: Callable[[], float],
        allowed: int = ALLOWED,
        reserve: int = RESERVE,
    ) -> None:
        self.left = allowed - reserve
        self._limit = allowed - reserve
        self._key = sha256(b"ledger-cdc/quota/" + credential.encode()).hexdigest()[:32]
        self._connect = connect
        self._now = now
        self._alone_since: float | None = None
        self._alone: deque[float] = deque()
        self._unwritten: list[float] = []
        self._ask_again_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def alone(self) -> bool:
        """Whether the log cannot be reached, so that requests are made from the reserve."""
        return self._alone_since is not None

    async def take(self) -> None:
        async with self._lock:
            now = self._now()
            if self._alone_since is None or now >= self._ask_again_at:
                try:
                    async with asyncio.timeout(DATABASE_SECONDS):
                        oldest = await self._log(now)
                except (LedgerError, TimeoutError):
                    self._ask_again_at = now + DATABASE_RETRY_SECONDS
                else:
                    self._alone_since = None
                    self._decide(oldest, now)
                    return
            self._take_alone(now)

    def _decide(self, oldest: float, now: float) -> None:
        if self.left < 0:
            self.left = 0
            wait = max(1.0, oldest + WINDOW_SECONDS - now)
            raise QuotaSpent(
                f"the hour's {self._limit} requests are used up",
                operation="take quota",
                retry_after_seconds=wait,
            )

    async def _log(self, now: float) -> float:
        """Writes the request down if there is room; sets ``left`` (-1: none); the oldest's time."""
        async with session(self._connect) as connection:
            async with transaction(connection, "take quota"):
                await connection.execute(query("lock_api_requests"), self._key)
                if self._unwritten:
                    await connection.execute(query("note_api_requests"), self._key, self._unwritten)
                row = await connection.fetchrow(
                    query("take_api_request"), self._key, now, WINDOW_SECONDS, self._limit
                )
            self._unwritten.clear()
        assert row is not None  # an aggregate
        self.left = self._limit - row["requests"] - 1
        return float(row["oldest"]) if row["oldest"] is not None else now

    def _take_alone(self, now: float) -> None:
        if self._alone_since is None:
            self._alone_since = now
        while self._alone and self._alone[0] <= now - WINDOW_SECONDS:
            self._alone.popleft()
        last = self._alone[-1] if self._alone else self._alone_since
        self.left = ALONE - len(self._alone)
        if now - last < ALONE_GAP_SECONDS:
            raise QuotaSpent(
                "the log of requests cannot be read",
                operation="take quota",
                retry_after_seconds=last + ALONE_GAP_SECONDS - now,
                hint="requests are few until the control database is back",
            )
        self._alone.append(now)
        self._unwritten.append(now)
        self.left -= 1
