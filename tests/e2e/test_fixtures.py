"""The servers' fixtures give every test a place of its own."""

import asyncpg
from pymongo import AsyncMongoClient

from compose.stack.servers import Stack
from tests.conftest import Addresses

seen: set[str] = set()


async def test_first(database: str, mongo_database: str, topic_prefix: str) -> None:
    await everything_is_new(database, mongo_database, topic_prefix)


async def test_second(database: str, mongo_database: str, topic_prefix: str) -> None:
    await everything_is_new(database, mongo_database, topic_prefix)


async def everything_is_new(database: str, mongo_database: str, topic_prefix: str) -> None:
    assert not seen & {database, mongo_database, topic_prefix}
    seen.update({database, mongo_database, topic_prefix})
    connection = await asyncpg.connect(database)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await connection.fetchval(tables) == 0
    await connection.execute("CREATE TABLE mine (n int)")
    await connection.close()
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongo_database)
    async with client:
        mine = client.get_default_database()
        assert await mine.list_collection_names() == []
        await mine.things.insert_one({})


async def test_own_servers_can_be_killed_beside_the_shared_ones(
    own_stack: Stack, stack: Addresses
) -> None:
    assert not set(own_stack.environment.values()) & set(stack.environment.values())
    await own_stack.mongo.kill()
    assert not own_stack.mongo.running


async def test_the_next_test_starts_them_again_in_its_own_loop(own_stack: Stack) -> None:
    await own_stack.mongo.start()
    assert own_stack.mongo.running
