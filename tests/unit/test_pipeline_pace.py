"""How fast the source's loop goes: at once where it may, no faster than the broker takes it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from cdc.progress import State
from cdc.sources.protocol import Item, Stream
from schemas.envelope import Event
from tests.fakes import FakeBroker, FakeDatabase, FakePublisher, FakeSource
from tests.unit.test_pipeline_simulated import (
    STEPS_MAX,
    TOPICS,
    check,
    fill,
    pipeline,
    quiet,
    run_until,
    run_until_ended,
)


class WaitingSource(FakeSource):
    """Where nothing is ready it waits as long as it may."""

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        if self._index == len(self.database.history):
            await asyncio.sleep(wait_seconds)
        async for item in super().changes(stream, wait_seconds=wait_seconds):
            yield item


async def test_where_nothing_happens_a_start_says_so_at_once() -> None:
    """An operator who starts or resumes a quiet source does not wait for its first change."""
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    again = pipeline(
        database, broker, source=WaitingSource(database, ("a", "b")), idle_seconds=3600.0
    )
    await run_until(again, lambda: again.progress.state is State.IDLE)


class HeldBroker(FakeBroker):
    """Takes nothing while it is held."""

    def __init__(self, topics: Sequence[str]) -> None:
        super().__init__(topics)
        self.free = asyncio.Event()

    def publisher(self) -> FakePublisher:
        return HeldPublisher(self)


class HeldPublisher(FakePublisher):
    def __init__(self, broker: HeldBroker) -> None:
        super().__init__(broker)
        self._free = broker.free

    async def publish(
        self, events: Sequence[Event], cursors: Sequence[Event], *, isolate: bool = False
    ) -> None:
        await self._free.wait()
        await super().publish(events, cursors, isolate=isolate)


async def test_a_slow_broker_stops_the_reading_and_memory_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch in each stage and no more, however much is waiting at the source."""
    batch_events, waiting = 30, 3000
    monkeypatch.setattr("cdc.stream_reader.BATCH_EVENTS", batch_events)
    database, broker = FakeDatabase(1), HeldBroker(tuple(TOPICS))
    broker.free.set()
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    broker.free.clear()
    fill(database, waiting)
    source = FakeSource(database, ("a", "b"))
    line, stop = pipeline(database, broker, source=source), asyncio.Event()
    task = asyncio.create_task(line.run(stop))
    for _ in range(STEPS_MAX):
        await asyncio.sleep(0)
    assert source.asked * source.reply_events <= 4 * batch_events
    broker.free.set()
    await run_until_ended(line, task, stop, lambda: quiet(database, broker))
    check(database, broker)
