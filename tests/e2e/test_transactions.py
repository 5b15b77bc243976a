"""Postgres transactions: what is said to be committed is, and sessions that cannot be had."""

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from cdc.runtime.errors import BrokenPromise
from cdc.runtime.postgres import session, transaction
from tests.conftest import Addresses
from tests.consumer_world import QUICK, World, consuming, make_world, payment, until


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def test_p3_a_commit_that_was_a_rollback_is_not_believed(world: World) -> None:
    """An error passed over inside leaves nothing to commit; the server then answers ROLLBACK."""
    async with session(world.settings.database.connect) as connection:
        with pytest.raises(BrokenPromise, match="ROLLBACK"):
            async with transaction(connection, "apply"):
                await connection.execute("CREATE TABLE accounting.lost (id integer)")
                with pytest.raises(asyncpg.PostgresError):
                    await connection.execute("SELECT 1 / 0")
        with pytest.raises(BrokenPromise):
            async with transaction(connection, "apply"):
                with pytest.raises(asyncpg.PostgresError):
                    await connection.execute("SELECT 1 / 0")
                await connection.execute("SELECT 1")
        assert await connection.fetchval("SELECT to_regclass('accounting.lost')") is None


async def test_p6_no_session_left_for_us_is_waited_for_and_parks_nothing(world: World) -> None:
    """Others hold every connection of our role; when they let go, we go on."""
    role = f"few_{await world.one('SELECT current_database()')}"
    await world.database.execute(
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 4 IN ROLE pg_read_all_data, pg_write_all_data"
    )
    url = urlsplit(world.settings.database.dsn)
    dsn = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
    target = replace(world.settings.database, dsn=dsn)
    hoarded = [await asyncpg.connect(dsn) for _ in range(4)]
    try:
        await world.publish(*(payment(f"t{i}", 1) for i in range(20)))
        settings = replace(world.settings, database=target)
        async with consuming(world, settings, backoff=QUICK) as service:

            async def waits() -> bool:
                progress = service.progress
                return progress.state.value == "waiting" and "53300" in progress.reason

            await until(waits)
            assert await world.amounts() == {}
            while hoarded:
                await hoarded.pop().close()
            await until(world.caught_up)
    finally:
        for each in hoarded:
            await each.close()
        await world.database.execute(f"DROP ROLE {role}")
    assert len(await world.amounts()) == 20
    assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0
