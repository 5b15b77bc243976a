"""The whole way as a fixture: `way` on the shared stack, everything of its own."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from compose.stack.mongo import MongoServer
from consumers.migrate import migrate
from tests.conftest import Addresses
from tests.crash.nursery import Nursery
from tests.faults.system import System

OPLOG_MIB = 1


@pytest.fixture(scope="session")
def migrated(stack: Addresses) -> Iterator[str]:
    """The name of a migrated database to make others from: faster than migrating each."""
    name = f"template{uuid.uuid4().hex[:8]}"

    async def make() -> None:
        server = await asyncpg.connect(stack.database_url)
        await server.execute(f'CREATE DATABASE "{name}"')
        await server.close()
        made = await asyncpg.connect(stack.database_url.rpartition("/")[0] + f"/{name}")
        await migrate(made)
        await made.close()

    async def drop() -> None:
        server = await asyncpg.connect(stack.database_url)
        await server.execute(f'DROP DATABASE "{name}"')
        await server.close()

    asyncio.run(make())
    yield name
    asyncio.run(drop())


@pytest.fixture
async def migrated_database(stack: Addresses, migrated: str) -> AsyncIterator[str]:
    """The DSN of a migrated database of one's own; dropped after the test."""
    name = f"t{uuid.uuid4().hex[:10]}"
    server = await asyncpg.connect(stack.database_url)
    try:
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"')
        yield stack.database_url.rpartition("/")[0] + f"/{name}"
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await server.close()


@pytest.fixture
async def mongod(tmp_path: Path) -> AsyncIterator[MongoServer]:
    """One of one's own, with a small oplog that really forgets."""
    async with MongoServer(
        tmp_path / "mongod",
        oplog_mib=OPLOG_MIB,
        arguments=("--syncdelay", "1"),  # a checkpoint: what a start needs is not forgotten
    ) as server:
        assert isinstance(server, MongoServer)
        yield server


@pytest.fixture
async def own_way(
    stack: Addresses,
    mongod: MongoServer,
    migrated_database: str,
    topic_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[System]:
    """`way` with a mongod of one's own, to kill, to step down, to fill."""
    names = (migrated_database, mongod.uri, topic_prefix)
    async with System(stack.environment, *names, tmp_path) as found:
        yield found


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    """Processes that start at once, with small pages (`tests/crash`)."""
    async with Nursery() as found:
        yield found


@pytest.fixture
async def way(
    stack: Addresses,
    migrated_database: str,
    mongo_database: str,
    topic_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[System]:
    """Migrated, with topics; neither process runs yet."""
    async with System(
        stack.environment, migrated_database, mongo_database, topic_prefix, tmp_path
    ) as found:
        yield found
