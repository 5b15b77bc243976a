"""What a consumer is doing, as operators see it; its log lines and metrics, in one place."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from cdc.runtime.errors import LedgerError
from consumers.apply import Outcome
from consumers.batch import Batch
from consumers.metrics import APPLIED, DUPLICATE, PARKED, STALE, ConsumerMetrics
from consumers.offsets import GapReason, Start
from consumers.parked import APPLY
from consumers.rows import Place

GAPS_KEPT = 20
PARKED_LINES_MAX = 20
REBUILD_HINT = (
    "deletes that were not applied yet are lost, their rows stay live; to be rid of them: stop the "
    "consumers, TRUNCATE the table, delete the topic's rows of sync.offsets, start again"
)


class State(StrEnum):
    """The states of a consumer. *waiting*: for a server or a person; the reason says which."""

    STARTING = "starting"
    CONSUMING = "consuming"
    IDLE = "idle"
    WAITING = "waiting"
    STOPPED = "stopped"


class Log(Protocol):
    """A structlog logger, bound to its target."""

    def info(self, event: str, **keys: object) -> object: ...
    def warning(self, event: str, **keys: object) -> object: ...
    def error(self, event: str, **keys: object) -> object: ...


@dataclass(slots=True)
class Progress:
    """One consumer's progress. Times are seconds since 1970, by ``clock``."""

    target: str
    clock: Callable[[], float]
    log: Log
    metrics: ConsumerMetrics
    state: State = State.STARTING
    reason: str = ""
    turns: int = 0
    """Grows with every turn of the loop, whatever comes of it: a loop that lives moves it."""
    events_total: int = 0
    parked_total: int = 0
    last_commit_at: float | None = None
    offsets: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int | None] = field(default_factory=dict)
    behind_since: dict[Place, float] = field(default_factory=dict)
    gaps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=GAPS_KEPT))

    def enter(self, state: State, reason: str = "") -> None:
        """Told once, when it changes; going between consuming and idle is no news."""
        self.turns += 1
        quiet = {State.CONSUMING, State.IDLE}
        news = (state, reason) != (self.state, self.reason) and not {state, self.state} <= quiet
        self.state, self.reason = state, reason
        if news:
            tell = self.log.warning if state is State.WAITING else self.log.info
            tell("consumer state changed", state=state.value, reason=reason)

    def retrying(self, error: LedgerError) -> None:
        """The loop failed, and goes on from the offsets in Postgres."""
        self.metrics.retried(self.target, type(error).__name__)
        self.enter(State.WAITING, str(error))

    def placed(self, starts: Mapping[Place, Start]) -> None:
        """These partitions, and no others, are read from here."""
        self.offsets = {place: start.offset for place, start in starts.items()}
        self.behind_since = {}

    def settled(self, starts: Mapping[Place, Start]) -> None:
        """The offset rows are so now; each gap among them is seen this once."""
        for place, start in starts.items():
            if start.gap is None:
                continue
            self.metrics.gap(self.target, place.topic, start.gap.value)
            gap = {"topic": place.topic, "partition": place.partition, "reason": start.gap.value}
            self.gaps.append(gap | {"at": self.clock(), "position": start.offset})
            hint = REBUILD_HINT if start.gap in (GapReason.RECREATED, GapReason.TRUNCATED) else ""
            self.log.error(
                "stored offset cannot be trusted", **gap, position=start.offset, hint=hint
            )

    def committed(self, batch: Batch, outcome: Outcome) -> None:
        """A batch stands in Postgres."""
        now = self.clock()
        self.last_commit_at = now
        self.events_total += batch.events
        self.parked_total += len(outcome.parked)
        for place, move in batch.moves.items():
            self.offsets[place] = move.next
        for place, written_ms in batch.last_written_ms.items():
            self.behind_since[place] = written_ms / 1000
        for name, counts in (
            (APPLIED, outcome.applied),
            (DUPLICATE, outcome.duplicate),
            (STALE, outcome.stale),
        ):
            for entity, count in counts.items():
                if count:
                    self.metrics.rows(entity, name, count)
        for entity, count in batch.replaced_texts.items():
            self.metrics.replaced_text(entity, count)
        happened = Counter(ms for fold in batch.folds.values() for ms in fold.source_ms)
        self.metrics.committed({now - ms / 1000: count for ms, count in happened.items()})
        for index, letter in enumerate(outcome.parked):
            if letter.stage == APPLY:  # the others never were events
                self.metrics.rows(letter.entity, PARKED, 1)
            if index < PARKED_LINES_MAX:
                self.log.warning(
                    "dead letter",
                    entity=letter.entity,
                    stage=letter.stage,
                    document_id=letter.document_id,
                    topic=letter.topic,
                    partition=letter.partition,
                    offset=letter.offset,
                    reason=letter.reason,
                )

    def lag(self, place: Place) -> int | None:
        """Committed records that are not yet applied; None: not known."""
        end = self.ends.get(place)
        return None if end is None else max(0, end - self.offsets.get(place, 0))

    def measure(self) -> None:
        """The lag metrics, as the offsets and ends now stand."""
        now, ages = self.clock(), dict.fromkeys((place.topic for place in self.offsets), 0.0)
        for place in self.offsets:
            lag = self.lag(place)
            if lag is None:
                continue
            self.metrics.lag(self.target, *place, lag)
            if lag == 0:
                self.behind_since[place] = now
            age = now - self.behind_since.setdefault(place, now)
            ages[place.topic] = max(ages[place.topic], age)
        for topic, age in ages.items():
            self.metrics.lag_seconds(self.target, topic, max(0.0, age))

    def document(self) -> dict[str, Any]:
        """For ``sync.observed``: plain JSON."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "events_total": self.events_total,
            "parked_total": self.parked_total,
            "last_commit_at": self.last_commit_at,
            "partitions": [
                {
                    "topic": place.topic,
                    "partition": place.partition,
                    "next_offset": offset,
                    "end_offset": self.ends.get(place),
                    "lag_records": self.lag(place),
                }
                for place, offset in sorted(self.offsets.items())
            ],
            "gaps": list(self.gaps),
        }
