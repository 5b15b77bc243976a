"""Servers that freeze, die and come back, on a stack of their own."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from compose.stack.ports import LOOPBACK
from compose.stack.servers import Stack
from consumers.migrate import migrate
from tests.crash.nursery import Nursery
from tests.faults.system import System, quick

FROZEN_SECONDS = 7.0
"""Longer than a request's time-out (5 s) and than any session here."""
ANSWER_SECONDS_MAX = 20.0
AT_ONCE_SECONDS_MAX = 10.0
"""Where the first signal alone would take 15 s."""
DRAIN_SECONDS_MAX = 20.0
"""Above the 15 s after which what has not drained by itself is cut short, and that is no exit 0."""


@pytest.fixture
async def gone(own_stack: Stack, tmp_path: Path) -> AsyncIterator[System]:
    """The way on servers that may be taken away; whatever a test before did, they are back."""
    for server in own_stack.servers:
        server.resume()
        await server.start()
    name = f"t{uuid.uuid4().hex[:10]}"
    made = await asyncpg.connect(own_stack.postgres.uri)
    await made.execute(f'CREATE DATABASE "{name}"')
    await made.close()
    dsn = own_stack.postgres.database_uri(name)
    database = await asyncpg.connect(dsn)
    await migrate(database)
    await database.close()
    uri = own_stack.mongo.database_uri(name)
    async with System(own_stack.environment, dsn, uri, f"p{name}", tmp_path) as found:
        yield found


async def status(port: int, page: str) -> int:
    """Of a health page; 0: it does not answer."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX) as client:
            return (await client.get(f"http://{LOOPBACK}:{port}/{page}")).status_code
    except httpx.HTTPError:
        return 0


async def test_k9_a_frozen_broker_is_survived_by_both_processes(
    gone: System, own_stack: Stack
) -> None:
    """They wait, say so, stay alive, and go on where they stood: nothing lost, nothing twice."""
    writer = gone.writer(31)
    await writer.found(40)
    await gone.running()
    pids = gone.source.pid, gone.consumer.pid
    async with gone.writing(writer):
        own_stack.kafka.pause()
        began = time.monotonic()
        await gone.heard("source will try again")

        async def told() -> bool:
            ready = await status(gone.source.port, "readyz")
            return ready == 503 and time.monotonic() - began > FROZEN_SECONDS

        await gone.until(told, "it is not ready, and says so")
        assert await status(gone.source.port, "livez") == 200
        own_stack.kafka.resume()
        await gone.until(gone.published, "it is published")
    await gone.require_right()
    assert (gone.source.pid, gone.consumer.pid) == pids


async def test_k9_a_killed_broker_comes_back_to_a_way_that_goes_on(
    gone: System, own_stack: Stack
) -> None:
    """What the dead broker had open is aborted; readers do not wait for its time-out."""
    writer = gone.writer(32)
    await writer.found(40)
    await gone.running()
    async with gone.writing(writer):
        await own_stack.kafka.kill()
        await own_stack.kafka.start()
        before = len(gone.topics.records)
        await gone.topics.reopen()
        await gone.until(lambda: _more(gone, before), "events come again")
    await gone.require_right()


async def _more(gone: System, before: int) -> bool:
    await gone.topics.catch_up()
    return len(gone.topics.records) > before + 20


async def test_o1_a_second_signal_ends_a_stop_that_a_frozen_broker_holds_up(
    gone: System, own_stack: Stack
) -> None:
    """The first one drains as long as it may; the second one is obeyed at once: 143."""
    writer = gone.writer(33)
    await writer.found(40)
    await gone.running()
    own_stack.kafka.pause()
    await writer.steps(5)
    began = time.monotonic()
    gone.source.signal(signal.SIGTERM)
    await gone.heard("stop was asked for")
    gone.source.signal(signal.SIGTERM)
    assert await gone.source.ended() == 143
    assert time.monotonic() - began < AT_ONCE_SECONDS_MAX
    own_stack.kafka.resume()
    gone.source.start()
    await gone.require_right()


async def test_p7_a_frozen_database_ends_in_deadlines_and_costs_no_row(
    gone: System, own_stack: Stack, nursery: Nursery
) -> None:
    """No await outlives its limit; the offset row says where to go on."""
    writer = gone.writer(34)
    await writer.found(40)
    gone.source.start()
    await gone.all_published()
    life = await quick(gone, nursery, "consume")
    await gone.quiet()
    waits = gone.told('"state":"waiting"', gone.consumer.log)
    async with gone.writing(writer):
        own_stack.postgres.pause()
        try:
            await gone.heard('"state":"waiting"', waits + 1, gone.consumer.log)
        finally:
            own_stack.postgres.resume()
    await gone.require_right()
    life.signal(signal.SIGTERM)
    assert await life.ended == 0


async def test_p2_a_killed_database_comes_back_to_a_consumer_that_goes_on(
    gone: System, own_stack: Stack
) -> None:
    """Commits in doubt are settled by what is stored; each event counts once."""
    writer = gone.writer(35)
    await writer.found(40)
    await gone.running()
    pid = gone.consumer.pid
    async with gone.writing(writer):
        for _ in range(2):
            await own_stack.postgres.kill()
            await own_stack.postgres.start()
            gone.postgres = await asyncpg.connect(gone.database)
            wanted = writer.written + 30
            await gone.until(lambda n=wanted: _reached(writer.written, n), "the writer goes on")
    await gone.require_right()
    assert gone.consumer.pid == pid


async def _reached(there: int, wanted: int) -> bool:
    return there >= wanted


async def test_c4_c5_positions_are_waited_for_when_the_database_is_away_at_a_rebalance(
    gone: System, own_stack: Stack, nursery: Nursery
) -> None:
    """Partitions that come while no offset can be read stay paused; then nothing is left out."""
    writer = gone.writer(36)
    await writer.found(40)
    await gone.running()
    await own_stack.postgres.stop()
    guest = await quick(gone, nursery, "consume", instance="")
    await writer.steps(40)
    await gone.heard("consumer state changed", 2, log=gone.consumer.log)
    guest.signal(signal.SIGKILL)
    await guest.ended
    await own_stack.postgres.start()
    gone.postgres = await asyncpg.connect(gone.database)
    await gone.require_right()


async def test_o3_a_frozen_owner_is_replaced_and_comes_back_as_a_spare(
    gone: System, nursery: Nursery
) -> None:
    """A machine that sleeps: its source runs elsewhere, and its late records are refused."""
    writer = gone.writer(37)
    await writer.found(40)
    frozen = await quick(gone, nursery, instance="")
    gone.consumer.start()
    await gone.quiet()
    async with gone.writing(writer):
        frozen.signal(signal.SIGSTOP)
        runs = gone.told("source is run here")
        other = await quick(gone, nursery, instance="")
        await gone.heard("source is run here", runs + 1)
        await gone.all_published()  # by the other one
        frozen.signal(signal.SIGCONT)
        wanted = writer.written + 60
        await gone.until(lambda n=wanted: _reached(writer.written, n), "the writer goes on")
    await gone.require_right()
    for life in (frozen, other):
        life.signal(signal.SIGTERM)
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            assert await life.ended == 0
