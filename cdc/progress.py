"""What a source is doing, as operators see it: state, reason, lag, how far a whole read is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """The states of a source (``design.md`` 2.6)."""

    STARTING = "starting"
    READING_WHOLE = "reading whole"
    STREAMING = "streaming"
    IDLE = "idle"
    GAP = "gap"
    PAUSED = "paused"
    FENCED = "fenced"
    FAILED = "failed"


@dataclass(slots=True)
class ReadProgress:
    """A whole read under way: documents done, about how many there are, since when."""

    rows_done: int
    rows_total: int | None
    started_at: float
    rows_at_start: int = 0

    def rate(self, now: float) -> float:
        """Documents a second since the start."""
        return (self.rows_done - self.rows_at_start) / max(now - self.started_at, 0.001)

    def remaining_seconds(self, now: float) -> float | None:
        """An estimate; None where the total is not known or nothing is done yet."""
        rate = self.rate(now)
        if self.rows_total is None or not rate:
            return None
        return max(0, self.rows_total - self.rows_done) / rate


@dataclass(slots=True)
class Progress:
    """One source's progress. Times are seconds since 1970, by ``clock``."""

    source: str
    clock: Callable[[], float]
    wait_seconds: float = 1.0
    state: State = State.STARTING
    reason: str = ""
    last_event_at: float | None = None
    caught_up_at: float | None = None
    started_at: float = 0.0
    events_total: int = 0
    reads: dict[str, ReadProgress] = field(default_factory=dict)
    totals: dict[str, int | None] = field(default_factory=dict)
    """About how many documents the collections hold."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Why single streams of several do not go on, by their names."""

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    def enter(self, state: State, reason: str = "") -> bool:
        """Whether this is news: going between streaming and idle is none."""
        changed = (state, reason) != (self.state, self.reason)
        usual = reason == self.reason and {state, self.state} <= {State.STREAMING, State.IDLE}
        self.state, self.reason = state, reason
        return changed and not usual

    def note_reads(self, rows_by_collection: dict[str, int]) -> None:
        """The whole reads under way, with the documents published so far."""
        now = self.clock()
        for name in self.reads.keys() - rows_by_collection.keys():
            del self.reads[name]
        for name, rows in rows_by_collection.items():
            known = self.reads.get(name)
            if known is None or rows < known.rows_done:
                self.reads[name] = ReadProgress(rows, self.totals.get(name), now, rows)
            else:
                known.rows_done = rows

    def lag_seconds(self) -> float:
        """How long ago everything was last known to be published; grows while stuck."""
        since = self.caught_up_at if self.caught_up_at is not None else self.started_at
        return max(0.0, self.clock() - since - self.wait_seconds)
