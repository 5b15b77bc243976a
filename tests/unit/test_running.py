"""One source in one process: who owns it runs it, and what is missing ends only a start."""

import asyncio
import io
from collections.abc import Callable
from typing import Any, cast

import pytest

from cdc.kafka.ownership import Ownership
from cdc.operation.asked import RESYNC, RETRY, Taken
from cdc.operation.running import (
    REJOIN_SECONDS,
    STAND_BY_SECONDS,
    Control,
    SourceRunner,
    StartReport,
    loop_name,
)
from cdc.pipeline import Pipeline
from cdc.progress import Progress, State
from cdc.runtime.errors import Fenced, ForeignCursor, LedgerError, Refused, Unavailable, Unfit
from cdc.runtime.health import Pulse
from cdc.runtime.log import make_log
from cdc.runtime.metrics import Metrics
from cdc.whole_read import LookUp
from cdc.wishes import Resync


class FakeOwnership:
    """A group whose assignments the test decides."""

    def __init__(self) -> None:
        self.away: list[float] = []
        self.started = self.stopped = 0
        self.fault: LedgerError | None = None
        self._owned, self._lost = asyncio.Event(), asyncio.Event()
        self._lost.set()

    @property
    def owned(self) -> bool:
        return self._owned.is_set()

    def give(self) -> None:
        self._lost.clear()
        self._owned.set()

    def take_away(self) -> None:
        self._owned.clear()
        self._lost.set()

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1
        self.take_away()

    async def wait_owned(self) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        await self._owned.wait()

    async def wait_lost(self) -> None:
        await self._lost.wait()

    async def leave_and_rejoin(self, after_seconds: float) -> None:
        self.away.append(after_seconds)
        self.take_away()


class FakePipeline:
    """Runs until told to stop, or raises what the test put in."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.errors: list[LedgerError] = []
        self.runs = 0
        self.running = asyncio.Event()
        self.resyncs: list[Resync] = []
        self.look_ups: list[LookUp] = []

    async def run(self, stop: asyncio.Event) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        self.running.set()
        await stop.wait()
        self.running.clear()

    def resync(self, wish: Resync) -> None:
        self.resyncs.append(wish)

    def look_up(self, wish: LookUp) -> None:
        self.look_ups.append(wish)


class World:
    def __init__(self, *, control: Control | None = None) -> None:
        self.now = 1000.0
        self.ownership = FakeOwnership()
        self.progress = Progress("property", lambda: self.now)
        self.pipeline = FakePipeline(self.progress)
        self.metrics = Metrics("1")
        self.unfit: LedgerError | None = None
        self.pulse = Pulse(lambda: self.now)
        metrics = self.metrics.source("property", [])
        self.logged = io.StringIO()
        log = make_log(stream=self.logged, strict=True, libraries=False)
        self.report = StartReport(log, metrics, lambda: self.pulse.beat(loop_name("property")))
        self.runner = SourceRunner(
            "property",
            ownership=cast(Ownership, self.ownership),
            topics_fit=self._topics_fit,
            pipeline=cast(Pipeline, self.pipeline),
            collections=lambda: ["payments"],
            report=self.report,
            metrics=metrics,
            totals=dict,
            history_seconds=self._history,
            pulse=self.pulse,
            log=log,
            control=control,
        )
        self.stop = asyncio.Event()

    async def _topics_fit(self) -> None:
        if self.unfit is not None:
            raise self.unfit

    async def _history(self) -> tuple[float, float]:
        return 3600.0, 1800.0

    def start(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.runner.run(self.stop))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - a turn of the loop, not a wait
                await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_owner_runs_it_and_hands_it_over(world: World) -> None:
    running = world.start()
    await world.until(lambda: world.ownership.started)
    assert world.pipeline.runs == 0
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.ownership.take_away()
    await world.until(lambda: not world.pipeline.running.is_set())
    world.ownership.give()
    await world.until(lambda: world.pipeline.runs == 2)
    world.stop.set()
    await running
    assert world.ownership.stopped == 1
    assert not world.pipeline.running.is_set()


async def test_unfit_topics_end_the_start_before_anybody_joins(world: World) -> None:
    world.unfit = Unfit("topics do not exist")
    with pytest.raises(Unfit, match="topics do not exist"):
        await world.runner.run(world.stop)
    assert world.ownership.started == 0


@pytest.mark.parametrize("error", [Unavailable("no answer"), Unfit("no rights")])
async def test_what_is_missing_ends_a_start(world: World, error: LedgerError) -> None:
    running = world.start()
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.report.retrying(error)
    with pytest.raises(type(error)):
        await running
    assert "try again" not in world.logged.getvalue(), "nobody will"


async def test_what_is_missing_later_is_waited_for(world: World) -> None:
    running = world.start()
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.report.state(State.STREAMING, "")
    world.report.retrying(Unavailable("no answer"))
    await asyncio.sleep(0)
    assert not running.done()
    assert "try again" in world.logged.getvalue()
    world.stop.set()
    await running


async def test_who_stood_by_waits_for_what_is_missing_when_its_turn_comes(world: World) -> None:
    running = world.start()
    await world.until(lambda: world.ownership.started)
    world.now += STAND_BY_SECONDS
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.report.retrying(Unavailable("no answer"))
    await asyncio.sleep(0)
    assert not running.done()
    world.stop.set()
    await running


async def test_a_group_that_cannot_be_joined_ends_only_a_start(world: World) -> None:
    world.ownership.fault = Unavailable("no answer")
    with pytest.raises(Unavailable):
        await world.runner.run(world.stop)
    later = World()
    later.report.began = True
    later.ownership.fault = Unavailable("no answer")
    running = later.start()
    later.ownership.give()
    await later.until(later.pipeline.running.is_set)
    later.stop.set()
    await running


async def test_fenced_it_leaves_and_comes_back(world: World) -> None:
    world.pipeline.errors = [Fenced("another took over")]
    running = world.start()
    world.ownership.give()
    await world.until(lambda: world.ownership.away)
    assert world.ownership.away == [REJOIN_SECONDS]
    assert not running.done()
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.stop.set()
    await running


async def test_a_foreign_cursor_ends_it_where_nobody_can_be_asked(world: World) -> None:
    world.pipeline.errors = [ForeignCursor("was another")]
    world.ownership.give()
    with pytest.raises(ForeignCursor):
        await world.runner.run(world.stop)


@pytest.mark.parametrize("accept", [True, False])
async def test_a_foreign_cursor_waits_for_a_persons_word(accept: bool) -> None:
    control = Control()
    world = World(control=control)
    world.pipeline.errors = [ForeignCursor("was another")]
    running = world.start()
    world.ownership.give()
    await world.until(control.wanted.is_set)
    world.runner.take(Taken(7, "property", RESYNC, {"accept": accept}), lambda: None)
    control.looked.set()
    if accept:
        await world.until(world.pipeline.running.is_set)
        assert world.pipeline.resyncs[0].accept
        world.stop.set()
        await running
    else:
        with pytest.raises(ForeignCursor):
            await running


async def test_requests_become_wishes(world: World) -> None:
    done: list[str] = []
    said = {"collection": "payments", "allow_deletes": True}
    world.runner.take(Taken(7, "property", RESYNC, said), lambda: done.append("resync"))
    (wish,) = world.pipeline.resyncs
    assert (wish.name, wish.collection, wish.deletes_allowed, wish.accept) == (
        "7",
        "payments",
        True,
        False,
    )
    retry = Taken(8, "property", RETRY, {"collection": "payments", "ids": ["a", "b"]})
    world.runner.take(retry, lambda: done.append("retry"))
    (look_up,) = world.pipeline.look_ups
    assert (look_up.collection, look_up.ids) == ("payments", ("a", "b"))
    wish.done()
    look_up.on_published()
    assert done == ["resync", "retry"]


@pytest.mark.parametrize(
    "request_",
    [
        Taken(1, "property", RESYNC, {"collection": "none"}),
        Taken(1, "property", RETRY, {"collection": "none", "ids": []}),
        Taken(1, "property", "dance", {}),
    ],
)
async def test_what_cannot_be_done_is_refused(world: World, request_: Taken) -> None:
    with pytest.raises(Refused):
        world.runner.take(request_, lambda: None)


async def test_its_condition_follows_ownership_and_state(world: World) -> None:
    def seen() -> tuple[str, str]:
        found = world.runner.condition()
        return found.state, found.detail

    assert seen() == ("down", "joining")
    world.now += STAND_BY_SECONDS
    assert seen() == ("ok", "stands by")
    world.ownership.give()
    assert seen() == ("down", "starting")
    for state, expected in (
        (State.READING_WHOLE, ("ok", "reading whole")),
        (State.IDLE, ("ok", "idle")),
        (State.GAP, ("degraded", "gap: why")),
        (State.PAUSED, ("degraded", "paused: why")),
        (State.STARTING, ("down", "why")),
        (State.FAILED, ("down", "why")),
    ):
        world.progress.enter(state, "why")
        assert seen() == expected
    world.progress.enter(State.IDLE)
    world.ownership.take_away()
    assert seen() == ("ok", "stands by")
    world.progress.enter(State.FENCED, "why")
    assert seen() == ("degraded", "fenced: why")


async def test_how_far_a_whole_read_is(world: World) -> None:
    world.progress.totals = {"payments": 1000}
    world.progress.note_reads({"payments": 100})
    world.now += 10
    world.progress.note_reads({"payments": 300})
    assert world.runner.document()["reading"] == {
        "payments": {
            "rows_done": 300,
            "rows_total": 1000,
            "rows_per_second": 20.0,
            "remaining_seconds": 35.0,
        }
    }


async def test_lag_is_told_by_the_owner_alone(world: World) -> None:
    series = 'cdc_source_lag_seconds{source="property"}'
    running = world.start()
    world.ownership.give()
    await world.until(world.pipeline.running.is_set)
    world.now += 100
    assert f"{series} 99.0" in world.metrics.page().decode()
    world.ownership.take_away()
    await world.until(lambda: not world.pipeline.running.is_set())
    await world.until(lambda: series not in world.metrics.page().decode())
    world.stop.set()
    await running


async def test_what_rests_is_alive_and_the_history_is_measured(world: World) -> None:
    world.ownership.give()
    world.report.began = True
    world.progress.enter(State.PAUSED)
    beating = asyncio.create_task(world.runner.beat(world.stop))
    await world.until(lambda: loop_name("property") in world.pulse.turns)
    page = world.metrics.page().decode()
    assert 'cdc_oplog_window_seconds{source="property"} 3600.0' in page
    assert 'cdc_resume_headroom_seconds{source="property"} 1800.0' in page
    world.stop.set()
    await beating
