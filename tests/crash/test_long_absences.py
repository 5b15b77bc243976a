"""Faults that take their time: fail-overs of the database, a broker away for half a minute."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from compose.stack.servers import Stack
from consumers.migrate import migrate
from tests.conftest import Addresses
from tests.crash.standby import Pair
from tests.faults.system import System

AWAY_SECONDS = 30.0


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Pair(tmp_path) as found:
        yield found


@pytest.fixture
async def failing_over(
    pair: Pair, stack: Addresses, mongo_database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[System]:
    """The way into the pair; `postgres` looks at whoever takes writes."""
    name = f"t{uuid.uuid4().hex[:10]}"
    made = await asyncpg.connect(pair.primary.uri)
    await made.execute(f'CREATE DATABASE "{name}"')
    await made.close()
    database = await asyncpg.connect(pair.primary.database_uri(name))
    await migrate(database)
    await database.close()
    names = (pair.dsn(name), mongo_database, topic_prefix)
    async with System(stack.environment, *names, tmp_path) as found:
        yield found


async def _fail_over(way: System, pair: Pair) -> None:
    await pair.promote()
    await way.postgres.close(timeout=2)
    way.postgres = await asyncpg.connect(pair.standby_dsn(_name(way)))


def _name(way: System) -> str:
    return way.database.rpartition("/")[2]


async def test_p4_a_promoted_standby_is_found_and_gone_on_with(
    failing_over: System, pair: Pair
) -> None:
    """The primary is gone, the other host takes writes: the offset rows there decide."""
    way = failing_over
    writer = way.writer(41)
    await writer.found(60)
    await way.running()
    async with way.writing(writer):
        await pair.caught_up()
        await _fail_over(way, pair)
        wanted = writer.written + 100
        await way.until(lambda: _reached(writer.written, wanted), "the writer goes on")
    await way.require_right()


async def test_p4_a_primary_that_turned_read_only_is_left_for_the_one_that_writes(
    failing_over: System, pair: Pair
) -> None:
    """The old address still answers, but takes nothing: it is passed by."""
    way = failing_over
    writer = way.writer(42)
    await writer.found(60)
    await way.running()
    await way.postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await way.postgres.execute("SELECT pg_reload_conf()")
    await writer.steps(60)
    await way.heard('"state":"waiting"', log=way.consumer.log)
    await pair.caught_up()
    await _fail_over(way, pair)
    await way.require_right()


async def test_p5_commits_lost_with_the_primary_are_applied_again(
    failing_over: System, pair: Pair
) -> None:
    """Rows and offsets are lost together: what the standby does not have comes from Kafka."""
    way = failing_over
    writer = way.writer(43)
    await writer.found(60)
    await way.running()
    await pair.caught_up()
    await pair.cut_off()
    await writer.steps(200)
    await way.require_right()
    behind = await asyncpg.connect(pair.standby_dsn(_name(way)))
    kept, applied = [
        await each.fetchval("SELECT count(*) FROM accounting.transactions")
        for each in (behind, way.postgres)
    ]
    await behind.close()
    assert kept < applied
    await _fail_over(way, pair)
    await writer.steps(20)
    await way.require_right()


async def _reached(there: int, wanted: int) -> bool:
    return there >= wanted


@pytest.fixture
async def gone(own_stack: Stack, tmp_path: Path) -> AsyncIterator[System]:
    """The way on servers of one's own."""
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


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_k9_a_broker_away_for_half_a_minute_costs_nothing_but_time(
    gone: System, own_stack: Stack, how: str
) -> None:
    """Both processes live through it; afterwards nothing is lost, doubled or left open."""
    writer = gone.writer(44)
    await writer.found(60)
    await gone.running()
    pids = gone.source.pid, gone.consumer.pid
    async with gone.writing(writer, 0.05):
        if how == "frozen":
            own_stack.kafka.pause()
        else:
            await own_stack.kafka.kill()
        back_at = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < back_at:
            gone.source.check()
            gone.consumer.check()
            await asyncio.sleep(0.2)
        if how == "frozen":
            own_stack.kafka.resume()
        else:
            await own_stack.kafka.start()
            await gone.topics.reopen()
        await gone.until(gone.published, "it is published")
    await gone.require_right()
    assert (gone.source.pid, gone.consumer.pid) == pids
