"""Jobs without servers: parameters, the bar, and that no start waits for them."""

import asyncio
import io
import subprocess
import sys
from typing import Any, cast

import pytest

from cdc.cli.jobs import bar
from cdc.jobs.kinds import KINDS, kind
from cdc.jobs.model import Job, Result
from cdc.jobs.runner import JobRunner, _Running
from cdc.jobs.tools import Said, Tools
from cdc.runtime.errors import SettingsError, Unavailable
from cdc.runtime.log import make_log
from cdc.runtime.postgres import Connection


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("synk", {}),
        ("sync", {}),
        ("sync", {"source": "a", "sorce": "b"}),
        ("sync", {"source": "a", "allow_deletes": "perhaps"}),
    ],
)
def test_wrong_parameters_are_told_with_the_way_out(name: str, params: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as told:
        kind(name).check(params)
    assert told.value.hint


def test_numbers_are_a_list() -> None:
    assert Said("k", {"ids": "3, 4"}).numbers("ids") == (3, 4)
    with pytest.raises(SettingsError):
        Said("k", {"ids": "3;4"}).numbers("ids")


def test_the_bar_shows_how_far_it_is() -> None:
    job = {"state": "running", "progress": {"done": 5, "total": 10, "step": "balances"}}
    assert bar(job) == f"running  [{'#' * 15}{' ' * 15}]  50%  balances"
    assert bar({"state": "waiting", "progress": {}}) == "waiting"
    assert bar({"state": "running", "progress": {"done": 7}}) == "running  7 done"


def test_no_start_waits_for_jobs() -> None:
    program = "import sys, cdc.app.sources; print([m for m in sys.modules if 'cdc.jobs' in m])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
    assert KINDS


class GoneDatabase:
    """A connection that breaks at once; whether it was closed."""

    closed = False

    async def add_listener(self, channel: str, heard: Any) -> None:
        raise Unavailable("gone")

    async def close(self, timeout: float) -> None:
        self.closed = True


async def test_a_runner_that_is_cancelled_while_a_job_ends_keeps_no_connection() -> None:
    """It waits for what it lets go; told to end there, it left its connection open."""
    database, ending = GoneDatabase(), asyncio.Event()

    async def connect() -> Connection:
        return cast(Connection, database)

    async def job() -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.Event().wait()
        raise AssertionError

    runner = JobRunner(
        connect,
        cast(Tools, None),
        runner="one",
        log=make_log(stream=io.StringIO(), strict=True, libraries=False),
        backoff=lambda attempt: 0.0,
    )
    task = asyncio.create_task(job())
    await asyncio.sleep(0)
    runner._running[1] = _Running(Job(1, "sync", {}, 1, 1, None, None), task, 0.0)
    running = asyncio.create_task(runner.run(asyncio.Event()))
    async with asyncio.timeout(30):
        await ending.wait()
        assert not database.closed
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled()
    assert database.closed
