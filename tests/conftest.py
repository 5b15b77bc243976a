"""Real servers for tests. Which fixture to take:

- `stack`: the addresses of one stack for the whole run. Never stop or pause its servers.
- `database`, `mongo_database`, `topic_prefix`: of one's own, on that stack, for one test.
- `own_stack`: servers of one's own for a module, to kill, pause and restart.

`LEDGER_STACK=name` takes the stack of that name and leaves it up; without it the run brings up a
stack of its own and ends it.
"""

import asyncio
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import asyncpg
import pytest
from pymongo import AsyncMongoClient

from cdc.runtime.log import LibraryHandler
from compose.stack.names import REPOSITORY, Place
from compose.stack.servers import Stack

UP_SECONDS_MAX = 700


@dataclass(frozen=True)
class Addresses:
    """Where the servers of a stack are, and the environment that says so to `cdc`."""

    mongodb_uri: str
    kafka_bootstrap_servers: str
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MONGODB_URI": self.mongodb_uri,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "DATABASE_URL": self.database_url,
        }


def stack_command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m compose.stack …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "compose.stack", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=UP_SECONDS_MAX,
        check=False,
    )


@pytest.fixture(autouse=True)
def _libraries_speak_to_nobody_gone() -> Iterator[None]:
    """A log made inside this process takes over the libraries' records: it must end with its test,
    or the next library that speaks writes to a closed stream in the middle of another test.
    """
    yield
    logging.captureWarnings(False)
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, LibraryHandler)]


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """MongoDB, Kafka and PostgreSQL, shared by all tests of the run."""
    kept = os.environ.get("LEDGER_STACK")
    name = kept or f"test-{os.getpid()}"
    try:
        owner = [] if kept else ["--owner", str(os.getpid())]
        started = stack_command("up", "--name", name, "--test-commands", *owner)
        if started.returncode != 0:
            pytest.exit(f"no servers: {started.stdout}{started.stderr}", returncode=3)
        found = Place(name).environment()
        assert found is not None
        yield Addresses(
            found["MONGODB_URI"], found["KAFKA_BOOTSTRAP_SERVERS"], found["DATABASE_URL"]
        )
    finally:
        if kept is None:
            stack_command("down", "--name", name)


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """Three servers that the module may kill, pause and restart; deleted after it.

    A test that stops one starts it again, or leaves that to the next one: `await server.start()`
    does nothing on a server that runs.
    """
    mine = Stack(Place(f"own-{uuid.uuid4().hex[:8]}").folder)
    try:
        asyncio.run(mine.start())
        yield mine
    finally:
        asyncio.run(mine.delete())


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of topics that nobody else has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def database(stack: Addresses) -> AsyncIterator[str]:
    """The DSN of a new, empty PostgreSQL database; dropped after the test."""
    name = f"t{uuid.uuid4().hex[:10]}"
    server = await asyncpg.connect(stack.database_url)
    try:
        await server.execute(f'CREATE DATABASE "{name}"')
        yield stack.database_url.rpartition("/")[0] + f"/{name}"
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await server.close()


@pytest.fixture
async def mongo_database(stack: Addresses) -> AsyncIterator[str]:
    """The URI of a MongoDB database that is new; dropped after the test."""
    name = f"t{uuid.uuid4().hex[:10]}"
    host, _, options = stack.mongodb_uri.rpartition("/")
    uri = f"{host}/{name}?{options.partition('?')[2]}"
    yield uri
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(uri)
    try:
        await client.drop_database(name)
    finally:
        await client.close()
