"""Rolling limits: at most so many requests of one credential in any window of time."""

from collections import defaultdict, deque
from datetime import datetime, timedelta


class RollingQuota:
    """Counts per key; a request is refused while the window behind it is full."""

    def __init__(self, limit: int, window_seconds: float, *, counts_refused: bool = False) -> None:
        self.limit = limit
        self.counts_refused = counts_refused
        self._window = timedelta(seconds=window_seconds)
        self._taken: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def take(self, key: str, now: datetime) -> bool:
        """True if the request may pass; refused ones count only if told so."""
        taken = self._recent(key, now)
        allowed = len(taken) < self.limit
        if allowed or self.counts_refused:
            taken.append(now)
        return allowed

    def used(self, key: str, now: datetime) -> int:
        """Requests that count in the window that ends now."""
        return len(self._recent(key, now))

    def clear(self) -> None:
        """Forget every request."""
        self._taken.clear()

    def _recent(self, key: str, now: datetime) -> deque[datetime]:
        taken = self._taken[key]
        while taken and taken[0] <= now - self._window:
            taken.popleft()
        return taken
