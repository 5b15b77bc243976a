"""One source in one process: standing by, running while it owns it, handing over when fenced.

    join ──owner──▶ pipeline ──another took over──▶ drain ──▶ stand by
      ▲                 └──fenced──▶ leave, join again after a minute
      └────────────────────────────────────┘

What is missing or unfit before the first change was published ends the process with the reason;
afterwards it is waited for, and said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.integration import IntegrationErrors
from cdc.kafka.ownership import Ownership
from cdc.operation.asked import RESYNC, RETRY, WINDOW, Done, Taken
from cdc.operation.windows import failing, window_look_up
from cdc.pipeline import Pipeline
from cdc.progress import Progress, State
from cdc.report import Report
from cdc.runtime.errors import Fenced, ForeignCursor, LedgerError, Refused, Unavailable, Unfit
from cdc.runtime.health import Condition, Pulse
from cdc.runtime.log import Log
from cdc.runtime.metrics import SourceMetrics
from cdc.runtime.retry import wait
from cdc.sources.protocol import Windowed
from cdc.whole_read import LookUp
from cdc.wishes import Resync

REJOIN_SECONDS = 60.0
"""A fenced source leaves its owner alone for so long."""
BEAT_SECONDS = 5.0
HISTORY_BEATS = 12
"""A look into the source's history every so many beats."""
STAND_BY_SECONDS = 10.0
"""Who is not owner by then stands by for one that is."""
WORD_SECONDS = 10.0
"""So long a person's word on a foreign cursor is looked for."""
_RESTING = frozenset({State.PAUSED, State.GAP, State.FENCED, State.FAILED})


History = Callable[[], Awaitable[tuple[float, float] | None]]


@dataclass(slots=True)
class Control:
    """What sources and the tie to the control database know of each other.

    ``wanted``: look for requests now. ``looked``: they have been looked for, or cannot be.
    """

    condition: Condition = field(default_factory=lambda: Condition("ok", "not asked yet"))
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Until one of the events, or so long."""
    tasks = [asyncio.create_task(event.wait(), name="wait") for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def loop_name(source: str) -> str:
    """How a source's loop is called where loops are counted."""
    return f"source {source}"


class StartReport(Report):
    """A report that also tells whether the source ever worked, and what kept it from that."""

    def __init__(
        self,
        log: Log,
        metrics: SourceMetrics,
        beat: Callable[[], None],
        integration: IntegrationErrors | None = None,
    ) -> None:
        super().__init__(log, metrics, integration)
        self.began = False
        self.kept_from_start: LedgerError | None = None
        self.changed = asyncio.Event()
        self._beat = beat

    def state(self, state: State, reason: str) -> None:
        self.began = self.began or state in (State.STREAMING, State.IDLE, State.READING_WHOLE)
        super().state(state, reason)

    def transaction(self, outcome: str) -> None:
        self._beat()
        super().transaction(outcome)

    def retrying(self, error: LedgerError) -> None:
        self._beat()
        if not self.began and isinstance(error, Unfit | Unavailable):
            self.kept_from_start = error  # it ends the process, which tells it
            self.changed.set()
            return
        super().retrying(error)


class SourceRunner:
    """See the module's docstring. ``document`` is what ``sync.observed`` shows of it."""

    def __init__(
        self,
        source: str,
        *,
        ownership: Ownership,
        topics_fit: Callable[[], Awaitable[None]],
        pipeline: Pipeline,
        collections: Callable[[], Collection[str]],
        report: StartReport,
        metrics: SourceMetrics,
        totals: Callable[[], Mapping[str, int]],
        history_seconds: History,
        pulse: Pulse,
        log: Log,
        control: Control | None,
        windowed: Windowed | None = None,
    ) -> None:
        """``topics_fit`` raises where topics are not as declared. ``totals``: values mended so far.

        ``history_seconds``: how far the source's history reaches back, and behind our position.
        ``control`` None: there is no control database. ``windowed``: the source, if it can be
        asked for days of its history.
        """
        self.source = source
        self._ownership = ownership
        self._topics_fit = topics_fit
        self._pipeline = pipeline
        self._progress = pipeline.progress
        self._collections = collections
        self._report = report
        self._metrics = metrics
        self._totals = totals
        self._history_seconds = history_seconds
        self._pulse = pulse
        self._log = log
        self._control = control
        self._windowed = windowed
        self._began_at = self._progress.clock()
        self._accepted = False

    @property
    def owned(self) -> bool:
        return self._ownership.owned

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; raises what ends the process."""
        await self._topics_fit()  # before any client that would make a missing topic by its asking
        await self._ownership.start()
        try:
            while not stop.is_set():
                if await self._become_owner(stop):
                    await self._own(stop)
        finally:
            await self._ownership.stop()

    async def _become_owner(self, stop: asyncio.Event) -> bool:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        owning = asyncio.create_task(self._ownership.wait_owned(), name=f"own {self.source}")
        try:
            await asyncio.wait({stopping, owning}, return_when=asyncio.FIRST_COMPLETED)
            if not owning.done():
                return False
            owning.result()
            if self._stood_by():  # not a start any more: what is missing now is waited for
                self._report.began = True
        except (Unfit, Unavailable) as error:
            if not self._report.began:
                raise
            self._report.retrying(error)
            return False
        finally:
            stopping.cancel()
            owning.cancel()
        return True

    @property
    def integration(self) -> IntegrationErrors:
        return self._report.integration

    def _stood_by(self) -> bool:
        return self._progress.clock() - self._began_at >= STAND_BY_SECONDS

    async def _own(self, stop: asyncio.Event) -> None:
        """Runs the pipeline until ``stop``, or until another has the source."""
        self._log.info("source is run here")
        self._watch(self._progress)
        ended = asyncio.Event()
        running = asyncio.create_task(self._pipeline.run(ended), name=f"pipeline {self.source}")
        lost = asyncio.create_task(self._ownership.wait_lost(), name=f"lose {self.source}")
        ends = {
            lost,
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(self._report.changed.wait(), name=f"start {self.source}"),
        }
        try:
            await asyncio.wait({running, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                lost.result()  # raises what the membership died of, if that is why
            if (reason := self._report.kept_from_start) is not None:
                raise reason
            if not running.done() and not stop.is_set():
                self._log.warning("source was taken over by another process")
            ended.set()
            await running
        except Fenced:
            await self._ownership.leave_and_rejoin(REJOIN_SECONDS)
        except ForeignCursor as error:
            await self._ask_a_person(error)
        finally:
            self._metrics.unwatch()
            await _cancelled({running, *ends})

    def _watch(self, progress: Progress) -> None:
        progress.started_at = progress.clock()
        progress.caught_up_at = None
        self._metrics.watch(
            lag_seconds=progress.lag_seconds,
            progress_at=lambda: progress.caught_up_at or 0.0,
            state=lambda: progress.state.value,
            states=[state.value for state in State],
        )

    async def _ask_a_person(self, error: ForeignCursor) -> None:
        """Goes on only where a request says that the other cluster is meant."""
        if self._control is None:
            raise error
        self._control.looked.clear()
        self._control.wanted.set()
        await first_of(self._control.looked, seconds=WORD_SECONDS)
        if not self._accepted:
            raise error

    async def beat(self, stop: asyncio.Event) -> None:
        """A service beside ``run``: what rests for a reason, or stands by, is alive."""
        turn = 0
        while True:
            if not self.owned or self._progress.state in _RESTING:
                self._pulse.beat(loop_name(self.source))
            self._metrics.reading({k: v.rows_done for k, v in self._progress.reads.items()})
            self._metrics.mended(self._totals())
            if self.owned and self._report.began:
                if turn % HISTORY_BEATS == 0:
                    self._metrics.history(await self._history_seconds())
                turn += 1
            if await wait(stop, BEAT_SECONDS):
                return

    def take(self, request: Taken, done: Done) -> None:
        """Begins what was asked for; raises ``Refused`` for what is no request."""
        said = request.parameters
        collection = said.get("collection")
        if collection is not None and collection not in self._collections():
            known = ", ".join(sorted(self._collections()))
            raise Refused(f"no collection {collection} is mapped", hint=f"mapped are {known}")
        if request.kind == RESYNC:
            wish = Resync(
                str(request.id),
                collection,
                bool(said.get("accept")),
                bool(said.get("allow_deletes")),
                done,
            )
            self._accepted = self._accepted or wish.accept
            self._pipeline.resync(wish)
        elif request.kind == RETRY:
            ids = tuple(str(each) for each in said.get("ids", ()))
            self._pipeline.look_up(LookUp(str(collection), ids, done, on_failed=failing(done)))
        elif request.kind == WINDOW:
            trouble = self._progress.troubles.get(str(collection).rpartition("/")[0])
            if trouble is not None:
                done(trouble, {"may_pass": True})
            else:
                self._pipeline.look_up(window_look_up(self._windowed, said, done))
        else:
            raise Refused(f"no such kind of request: {request.kind}")

    def condition(self) -> Condition:
        """For ``/readyz``."""
        state, reason = self._progress.state, self._progress.reason
        if state is State.FAILED:
            return Condition("down", reason)
        if state in _RESTING and (self.owned or state is State.FENCED):
            return Condition("degraded", f"{state.value}: {reason}" if reason else state.value)
        if not self.owned:
            stands_by = self._report.began or self._stood_by()
            return Condition("ok", "stands by") if stands_by else Condition("down", "joining")
        if state is State.STARTING:
            return Condition("down", reason or state.value)
        return Condition("ok", state.value)

    def progress(self) -> dict[str, Any]:
        """How far its whole reads are."""
        now = self._progress.clock()
        return {
            name: {
                "rows_done": read.rows_done,
                "rows_total": read.rows_total,
                "rows_per_second": round(read.rate(now), 1),
                "remaining_seconds": read.remaining_seconds(now),
            }
            for name, read in self._progress.reads.items()
        }

    def document(self) -> dict[str, Any]:
        """For ``sync.observed``: plain JSON."""
        progress = self._progress
        return {
            "state": progress.state.value,
            "reason": progress.reason,
            "lag_seconds": round(progress.lag_seconds(), 3),
            "last_event_at": progress.last_event_at,
            "events_total": progress.events_total,
            "reading": self.progress(),
        }


async def _cancelled(tasks: "set[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
