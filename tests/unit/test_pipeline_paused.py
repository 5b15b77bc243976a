"""A person's pause holds whatever the source is doing, or waiting for."""

import asyncio

import pytest

from cdc.progress import State
from cdc.runtime.errors import Gap, LedgerError, Unavailable
from cdc.sources.protocol import Stream
from tests.fakes import FakeBroker, FakeDatabase, FakeSource
from tests.unit.test_pipeline_simulated import (
    STEPS_MAX,
    TOPICS,
    check,
    fill,
    pipeline,
    quiet,
    run_until_ended,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.whole_read.REREAD_SECONDS", 0.0)


class Troubled(FakeSource):
    """Cannot be opened while it has an error."""

    error: LedgerError | None = None

    async def open(self) -> tuple[Stream, ...]:
        if self.error is not None:
            raise self.error
        return await super().open()


@pytest.mark.parametrize(
    "error",
    [Gap("images are missing", needs_person=True), Unavailable("gone", retry_after_seconds=3600)],
    ids=["a gap that needs a person", "a server that asked to be left alone"],
)
async def test_a_source_that_waits_can_be_paused_and_resumed(error: LedgerError) -> None:
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    fill(database, 3)
    source = Troubled(database, ("a", "b"))
    source.error = error
    line, stop = pipeline(database, broker, source=source), asyncio.Event()
    line._backoff = lambda attempt, least: 3600.0
    task = asyncio.create_task(line.run(stop))
    for _ in range(STEPS_MAX):
        await asyncio.sleep(0)
        if str(error) in line.progress.reason:
            break
    line.pause("a person said so")
    for _ in range(100):
        await asyncio.sleep(0)
    assert (line.progress.state, line.progress.reason) == (State.PAUSED, "a person said so")
    source.error = None
    line.resume()
    assert source.mended_times == 1, "what a server refused before is tried again at once"
    await run_until_ended(line, task, stop, lambda: quiet(database, broker))
    check(database, broker)
