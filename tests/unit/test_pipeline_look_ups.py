"""Single objects read and published again: all of them, in pages, told once."""

import asyncio

import pytest

from cdc.whole_read import LookUp
from tests.fakes import FakeBroker, FakeDatabase
from tests.unit.test_pipeline_simulated import (
    TOPICS,
    check,
    fill,
    pipeline,
    quiet,
    run_until,
    run_until_ended,
)


async def test_a_look_up_of_several_pages_is_done_when_the_last_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdc.whole_read.REREAD_SECONDS", 0.0)
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    fill(database, 9)
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    for records in broker.log.values():
        records.clear()
    line, stop = pipeline(database, broker), asyncio.Event()
    running = asyncio.create_task(line.run(stop))
    found: list[int] = []
    wanted = tuple(f"{number}" for number in range(8))
    line.look_up(LookUp("a", wanted, lambda: found.append(len(broker.rows("p.d.a")))))
    await run_until_ended(line, running, stop, lambda: bool(found) and quiet(database, broker))
    assert found == [8]
    assert broker.rows("p.d.a") == {key: database.state("a")[key] for key in wanted}
    check(database, broker, "")
