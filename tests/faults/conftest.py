"""The whole way as a fixture: `way` on the shared stack, everything of its own."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from consumers.migrate import migrate
from tests.conftest import Addresses
from tests.faults.system import System


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
