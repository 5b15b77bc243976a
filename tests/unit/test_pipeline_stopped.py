"""A stop while a batch is being published: it ends, in time and by itself, whatever Kafka does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from cdc.progress import State
from cdc.runtime.errors import Fenced, LedgerError, Unavailable
from cdc.sources.protocol import Checkpoint, Item, Stream
from schemas.envelope import Event
from tests.fakes import FakeBroker, FakeDatabase, FakePublisher, FakeSource
from tests.unit.test_pipeline_simulated import (
    TOPICS,
    Silent,
    check,
    fill,
    pipeline,
    quiet,
    run_until_ended,
)

END_SECONDS_MAX = 10.0


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.whole_read.REREAD_SECONDS", 0.0)


async def let_the_readers_wait() -> None:
    """Turns enough for every reader to come to where it waits for the publisher."""
    for _ in range(100):
        await asyncio.sleep(0)


class HeldPublisher(FakePublisher):
    """Publishes when it is let, or fails then; what passes before takes its time, too."""

    def __init__(self, broker: "HeldBroker") -> None:
        super().__init__(broker)
        self._held = broker

    async def publish(
        self, events: Sequence[Event], cursors: Sequence[Event], *, isolate: bool = False
    ) -> None:
        held = self._held
        if held.transactions >= held.passing:
            held.asked.set()
            await held.may.wait()
            if held.error is not None:
                raise held.error
        await let_the_readers_wait()
        await super().publish(events, cursors, isolate=isolate)


class HeldBroker(FakeBroker):
    """A broker that answers when it is let, but for the first ``passing`` transactions."""

    def __init__(self, error: Exception | None = None, passing: int = 0) -> None:
        super().__init__(tuple(TOPICS))
        self.passing = passing
        self.asked, self.may, self.error = asyncio.Event(), asyncio.Event(), error

    def publisher(self) -> HeldPublisher:
        return HeldPublisher(self)


class TwoStreams(FakeSource):
    """Everything twice. Two readers wait for one publish, and both go on when it has ended."""

    def __init__(self, database: FakeDatabase) -> None:
        super().__init__(database, ("a", "b"))
        self._other = FakeSource(database, ("a", "b"))

    async def open(self) -> tuple[Stream, ...]:
        (stream,) = await super().open()
        return (stream, replace(stream, name="other"))

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        if stream.name == "other":
            return await self._other.seek(stream, after)
        return await super().seek(stream, after)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        changes = self._other.changes if stream.name == "other" else super().changes
        async for item in changes(stream, wait_seconds=wait_seconds):
            yield item


def filled() -> FakeDatabase:
    database = FakeDatabase(1)
    fill(database, 3)
    return database


async def test_a_publish_that_never_ends_is_given_up_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdc.pipeline.STOP_SECONDS", 0.05)
    broker, seen, stop = HeldBroker(), Silent(), asyncio.Event()
    task = asyncio.create_task(pipeline(filled(), broker, seen=seen).run(stop))
    await asyncio.wait_for(broker.asked.wait(), END_SECONDS_MAX)
    stop.set()
    async with asyncio.timeout(END_SECONDS_MAX):
        await task
    assert ("batch under way is given up", {"seconds": 0.05}) in seen.lines
    assert not broker.transactions


async def test_a_pause_gives_up_a_publish_too_and_what_is_resumed_reads_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdc.pipeline.STOP_SECONDS", 0.05)
    database, broker, stop = filled(), HeldBroker(), asyncio.Event()
    line = pipeline(database, broker)
    task = asyncio.create_task(line.run(stop))
    await asyncio.wait_for(broker.asked.wait(), END_SECONDS_MAX)
    line.pause("a person said so")
    async with asyncio.timeout(END_SECONDS_MAX):
        while line.progress.state is not State.PAUSED:
            assert not task.done()
            await asyncio.sleep(0)
    broker.may.set()
    line.resume()
    await run_until_ended(line, task, stop, lambda: quiet(database, broker))
    check(database, broker)


@pytest.mark.parametrize("error", [TimeoutError("of another"), ValueError("ours")])
async def test_no_other_error_is_taken_for_a_publish_that_is_late(error: Exception) -> None:
    broker, stop = HeldBroker(error), asyncio.Event()
    task = asyncio.create_task(pipeline(filled(), broker).run(stop))
    await asyncio.wait_for(broker.asked.wait(), END_SECONDS_MAX)
    stop.set()
    await let_the_readers_wait()
    broker.may.set()
    with pytest.raises(type(error)) as caught:
        await task
    assert caught.value is error


@pytest.mark.parametrize("error", [Unavailable("gone"), Fenced("another one has started")])
async def test_a_publish_that_fails_at_a_stop_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, error: LedgerError
) -> None:
    """The batch of another stream is in the queue: nobody will take it, or the end behind it."""
    monkeypatch.setattr("cdc.pipeline.STOP_SECONDS", 3600.0)
    broker, stop = HeldBroker(error, passing=1), asyncio.Event()
    database = filled()
    line = pipeline(database, broker, source=TwoStreams(database))
    task = asyncio.create_task(line.run(stop))
    await asyncio.wait_for(broker.asked.wait(), END_SECONDS_MAX)
    await let_the_readers_wait()
    stop.set()
    await let_the_readers_wait()
    broker.may.set()
    async with asyncio.timeout(END_SECONDS_MAX):
        await asyncio.wait({task})
    found = task.exception()
    assert found is (error if isinstance(error, Fenced) else None)
    assert str(error) in line.progress.reason


async def test_a_source_that_ends_badly_leaves_no_publisher_behind() -> None:
    """Its producer would go on by itself, and keep the epoch."""
    closed: list[str] = []

    class Publisher(HeldPublisher):
        async def close(self) -> None:
            closed.append("publisher")

    class Broker(HeldBroker):
        def publisher(self) -> Publisher:
            return Publisher(self)

    class Source(FakeSource):
        async def close(self) -> None:
            raise ValueError("at the end")

    database, broker, stop = filled(), Broker(), asyncio.Event()
    line = pipeline(database, broker, source=Source(database, ("a", "b")))
    task = asyncio.create_task(line.run(stop))
    await asyncio.wait_for(broker.asked.wait(), END_SECONDS_MAX)
    stop.set()
    broker.may.set()
    with pytest.raises(ValueError, match="at the end"):
        await task
    assert closed == ["publisher"]
