"""Jobs on a real database: taken once, kept by a lease, tried again, cancelled, told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from cdc.jobs import kinds, model
from cdc.jobs.kinds import Kind
from cdc.jobs.model import Job, Result
from cdc.jobs.runner import JobRunner
from cdc.jobs.tools import Tools
from cdc.operation import requests
from cdc.runtime.errors import Refused, Unavailable
from cdc.runtime.log import make_log
from cdc.runtime.metrics import Metrics
from cdc.runtime.postgres import Connect, Connection, PostgresTarget
from consumers.migrate import migrate

SECONDS_MAX = 60.0


class World:
    """A migrated database, and runners on it."""

    def __init__(self, connect: Connect, connection: Connection) -> None:
        self.connect = connect
        self.connection = connection
        self.metrics = Metrics("1")

    @asynccontextmanager
    async def runner(self, name: str = "one") -> AsyncIterator["asyncio.Task[None]"]:
        async def nothing(progress: Any, cursor: Any = None) -> None:
            """A job's own takes its place."""

        log = make_log(libraries=False, strict=True)
        tools = Tools(
            control=self.connect,
            budget=lambda _: self.connect,
            sources=frozenset({"bank"}),
            note=nothing,
            log=log,
        )
        stop = asyncio.Event()
        runner = JobRunner(
            self.connect,
            tools,
            runner=name,
            log=log,
            backoff=lambda _: 0.05,
            count=self.metrics.job_ended,
        )
        task = asyncio.create_task(runner.run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait({task}, timeout=SECONDS_MAX)
            if not task.cancelled():
                task.result()

    async def ask(self, kind: str, **options: Any) -> int:
        params = options.pop("params", {})
        return (await model.enqueue(self.connection, kind, params, by="test", **options)).id

    async def job(self, job_id: int) -> dict[str, Any]:
        return (await model.find(self.connection, job_id))[0]

    async def until(self, job_id: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                if wanted(found := await self.job(job_id)):
                    return found
                await asyncio.sleep(0.02)

    async def ended(self, job_id: int) -> dict[str, Any]:
        return await self.until(job_id, lambda job: job["state"] in model.ENDED)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    target = PostgresTarget(dsn=database)
    connection = await target.connect()
    await migrate(connection)
    yield World(target.connect, connection)
    await connection.close()


Work = Callable[[Job, Tools], Any]


@pytest.fixture
def add_kind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    """Makes a kind `work` of a function."""
    return lambda run: monkeypatch.setitem(kinds.KINDS, "work", Kind(lambda params: params, run))


async def test_a_job_runs_once_and_leaves_its_result(
    world: World, add_kind: Callable[[Work], None]
) -> None:
    runs: list[int] = []

    async def work(job: Job, tools: Tools) -> Result:
        runs.append(job.id)
        await tools.note({"done": 1, "total": 2})
        return Result({"said": job.params["word"]}, "sync_completed")

    add_kind(work)
    async with world.runner("one"), world.runner("two"):
        ids = [await world.ask("work", params={"word": str(n)}) for n in range(6)]
        jobs = [await world.ended(each) for each in ids]
    assert sorted(runs) == ids
    assert [job["result"] for job in jobs] == [{"said": str(n)} for n in range(6)]
    assert {job["progress"]["done"] for job in jobs} == {1}
    told = await world.connection.fetch("SELECT event, job_id FROM sync.job_events ORDER BY 2")
    assert [tuple(each) for each in told] == [("sync_completed", each) for each in ids]


async def test_a_runner_rests_until_the_next_job_is_due(world: World) -> None:
    """It once asked again and again where nothing was open: `greatest(0, null)` is 0."""
    assert await model.next_seconds(world.connection) is None
    await world.ask("sync", run_at=datetime.now(UTC) + timedelta(hours=1))
    seconds = await model.next_seconds(world.connection)
    assert seconds is not None and 3_000 < seconds <= 3_600
    await world.ask("sync", run_at=datetime.now(UTC) - timedelta(hours=1))
    assert await model.next_seconds(world.connection) == 0


async def test_one_job_of_a_key_ever(world: World) -> None:
    first = await model.enqueue(world.connection, "work", {}, by="a", unique_key="nightly@1")
    other = await world.connect()
    try:
        again = await model.enqueue(other, "work", {}, by="b", unique_key="nightly@1")
    finally:
        await other.close()
    assert again == (first.id, False)
    assert first.is_new


async def test_what_passes_is_tried_again_and_what_does_not_is_not(
    world: World, add_kind: Callable[[Work], None]
) -> None:
    async def work(job: Job, tools: Tools) -> Result:
        if job.params["how"] == "refused":
            raise Refused("never")
        if job.params["how"] == "broken":
            raise ZeroDivisionError("ours")
        if job.attempt < int(job.params["how"]):
            raise Unavailable("not now")
        return Result({})

    add_kind(work)
    async with world.runner():
        found = {
            how: await world.ended(await world.ask("work", params={"how": how}))
            for how in ("3", "4", "refused", "broken")
        }
    states = {how: (job["state"], job["attempts"]) for how, job in found.items()}
    assert states == {
        "3": ("done", 3),
        "4": ("failed", 3),
        "refused": ("failed", 1),
        "broken": ("failed", 1),
    }
    assert [each["error"] for each in found["3"]["errors"]] == ["not now"] * 2
    assert "ZeroDivisionError" in found["broken"]["errors"][0]["error"]
    page = world.metrics.page().decode()
    for outcome, count in {"done": 1, "failed": 3, "retrying": 4}.items():
        assert f'cdc_job_runs_total{{kind="work",outcome="{outcome}"}} {count}.0' in page
    assert 'cdc_job_duration_seconds_count{kind="work"} 8.0' in page


async def test_cancelling(world: World, add_kind: Callable[[Work], None]) -> None:
    async def work(job: Job, tools: Tools) -> Result:
        await asyncio.Event().wait()
        return Result({})

    add_kind(work)
    waiting = await world.ask("work")
    assert await model.cancel(world.connection, waiting) == "cancelled"
    async with world.runner():
        job_id = await world.ask("work")
        await world.until(job_id, lambda job: bool(job["state"] == "running"))
        assert await model.cancel(world.connection, job_id) == "running"
        assert (await world.ended(job_id))["state"] == "cancelled"
    assert (await world.job(waiting))["attempts"] == 0
    assert await model.cancel(world.connection, job_id) is None


async def test_a_stopped_runner_gives_back_and_the_next_goes_on_at_the_cursor(
    world: World, add_kind: Callable[[Work], None]
) -> None:
    async def work(job: Job, tools: Tools) -> Result:
        if job.cursor is None:
            await tools.note({"done": 7}, cursor={"at": 7})
            await asyncio.Event().wait()
        return Result({"from": job.cursor})

    add_kind(work)
    async with world.runner("one"):
        job_id = await world.ask("work", attempts_max=1)
        await world.until(job_id, lambda job: job["cursor"] is not None)
    assert (await world.job(job_id))["state"] == "waiting"
    async with world.runner("two"):
        job = await world.ended(job_id)
    assert (job["state"], job["result"], job["attempts"]) == ("done", {"from": {"at": 7}}, 1)


async def test_a_dead_runners_job_is_taken_over_but_not_for_ever(
    world: World, add_kind: Callable[[Work], None]
) -> None:
    async def work(job: Job, tools: Tools) -> Result:
        return Result({"attempt": job.attempt})

    add_kind(work)
    job_id, last = await world.ask("work"), await world.ask("work", attempts_max=1)
    dead = await model.take(world.connection, "dead", 2)
    assert [job.id for job in dead.jobs] == [job_id, last]
    await world.connection.execute("UPDATE sync.jobs SET lease_until = now() - interval '1 s'")
    async with world.runner("alive"):
        job, given_up = await world.ended(job_id), await world.ended(last)
    assert (job["state"], job["result"]) == ("done", {"attempt": 2})
    assert "went away: dead" in job["errors"][0]["error"]
    assert given_up["state"] == "failed"
    for each in dead.jobs:  # who comes back from the dead changes nothing
        assert await model.hold(world.connection, each, "dead") is None
        assert not await model.end(world.connection, each, "dead", model.FAILED)


async def test_a_runner_survives_its_connection(
    world: World, add_kind: Callable[[Work], None], database: str
) -> None:
    async def work(job: Job, tools: Tools) -> Result:
        return Result({})

    add_kind(work)
    async with world.runner():
        assert (await world.ended(await world.ask("work")))["state"] == "done"
        server = await asyncpg.connect(database)
        ended = await server.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), $1)",
            world.connection.get_server_pid(),
        )
        assert ended
        await server.close()
        assert (await world.ended(await world.ask("work")))["state"] == "done"


async def test_sync_asks_the_owner_and_waits(world: World) -> None:
    async with world.runner():
        job_id = await world.ask("sync", params={"source": "bank"})
        await world.until(job_id, lambda job: job["cursor"] is not None)
        (asked,) = await requests.take(world.connection, ["bank"])
        read = {
            "one/transactions": {"rows_done": 3, "rows_total": 9},
            "two/transactions": {"rows_done": 4, "rows_total": 4},
        }
        await requests.note(world.connection, asked.id, read)
        await requests.finish(world.connection, asked.id, requests.DONE)
        job = await world.ended(job_id)
    assert (job["state"], job["result"]["read"], job["result"]["rows"]) == ("done", read, 7)
    assert (asked.kind, asked.parameters["collection"]) == ("resync", None)
