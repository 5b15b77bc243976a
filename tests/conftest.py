"""Real servers for tests. Which fixture to take:

- `stack`: the addresses of one stack for the whole run. Never stop or pause its servers.
- `database`, `mongo_database`, `topic_prefix`: of one's own, on that stack, for one test.
- `own_stack`: servers of one's own for a module, to kill, pause and restart.

`LEDGER_STACK=name` takes the stack of that name and leaves it up; without it the run brings up a
stack of its own and ends it. All workers of a run (`-n 2`) share one.
"""

import asyncio
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from pymongo import AsyncMongoClient

from cdc.runtime.log import LibraryHandler
from compose.stack.names import REPOSITORY, Place
from compose.stack.servers import Stack

UP_SECONDS_MAX = 700
BYTECODE = REPOSITORY / ".cache" / "bytecode"
OWNER = pytest.StashKey[int]()
"""The process whose end is the end of the run's stack."""


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


def run_stack(owner: int) -> str:
    """The name of the stack of a run, by the process that owns it."""
    return f"test-{owner}"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OWNER] = getattr(config, "workerinput", {}).get("owner", os.getpid())
    # Hundreds of processes are started, and half of each start would be the compiler's.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(BYTECODE)
    sys.dont_write_bytecode = False
    # Whoever reaches the world through a proxy does not reach our servers there.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Whichever worker needs servers first brings them up, but they are the whole run's."""
    node.workerinput["owner"] = os.getpid()


def pytest_unconfigure(config: pytest.Config) -> None:
    owner = config.stash[OWNER]
    if owner == os.getpid() and Place(run_stack(owner)).folder.exists():
        stack_command("down", "--name", run_stack(owner))


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
def stack(request: pytest.FixtureRequest) -> Addresses:
    """MongoDB, Kafka and PostgreSQL, shared by all tests of the run."""
    kept, owner = os.environ.get("LEDGER_STACK"), request.config.stash[OWNER]
    name = kept or run_stack(owner)
    owned = [] if kept else ["--owner", str(owner)]
    started = stack_command("up", "--name", name, "--test-commands", *owned)
    if started.returncode != 0:
        request.session.shouldstop = "no servers"
        pytest.fail(f"no servers: {started.stdout}{started.stderr}", pytrace=False)
    found = Place(name).environment()
    assert found is not None
    return Addresses(found["MONGODB_URI"], found["KAFKA_BOOTSTRAP_SERVERS"], found["DATABASE_URL"])


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
