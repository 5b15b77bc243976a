"""How thick requests may follow each other while changes come in handfuls.

Every reply that is not full becomes a transaction, and one costs some 15 ms of CPU over all five
processes: at 2,000 single inserts a second two cores were full of them, and rows late. So after
some handfuls in a row a request waits a moment and takes many. A lonely change never waits.
"""

HANDFULS_MAX = 5
THICK_SECONDS = 0.04
PACE_SECONDS = 0.025


class Pace:
    """Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._handfuls = 0
        self._replied_at = 0.0

    def replied(self, now: float, *, handful: bool) -> None:
        """``handful``: the reply had changes, and was not full."""
        if handful and now - self._replied_at < THICK_SECONDS:
            self._handfuls = min(self._handfuls + 1, 2 * HANDFULS_MAX)
        else:
            self._handfuls //= 2  # one late reply does not end the pace
        self._replied_at = now

    def rest_seconds(self, now: float) -> float:
        """So long the next request waits."""
        if self._handfuls < HANDFULS_MAX:
            return 0.0
        return max(0.0, self._replied_at + PACE_SECONDS - now)
