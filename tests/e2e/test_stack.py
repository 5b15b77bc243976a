"""The servers as a person meets them: up, up again, side by side, ended in any way."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import AsyncMongoClient

from compose.stack.names import REPOSITORY, Place
from compose.stack.process import alive, until
from compose.stack.servers import KafkaServer, MongoServer, PostgresServer, Stack
from tests.conftest import stack_command

DEATH_SECONDS_MAX = 30.0


@pytest.fixture
def place() -> Iterator[Place]:
    """A stack's name of one's own; brought down after the test."""
    mine = Place(f"e2e-{uuid.uuid4().hex[:8]}")
    yield mine
    stack_command("down", "--name", mine.name)


async def held(place: Place, name: str) -> bool:
    """Whether a server's process is there; it is stopped then, and goes on only when resumed."""
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        for each in psutil.Process(int(place.pid_file.read_text())).children(recursive=True):
            if each.name() == name:
                each.suspend()
                return True
    return False


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if alive(each)]


async def usable(environment: dict[str, str]) -> None:
    """Fails unless all three servers do real work."""
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(environment["MONGODB_URI"])
    async with client, client.start_session() as session:
        assert client.get_default_database().name == "property-management"
        async with await session.start_transaction():
            await client.get_default_database().things.insert_one({"_id": 1}, session=session)
    connection = await asyncpg.connect(environment["DATABASE_URL"])
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"])
    await admin.start()
    assert len((await admin.describe_cluster())["brokers"]) == 1
    await admin.close()


async def test_up_twice_is_one_stack_and_down_leaves_nothing(place: Place) -> None:
    first = stack_command("up", "--name", place.name)
    assert first.returncode == 0, first.stdout + first.stderr
    environment = place.environment()
    assert environment is not None
    supervisor = psutil.Process(int(place.pid_file.read_text()))
    family = [supervisor, *supervisor.children(recursive=True)]
    await usable(environment)

    second = stack_command("up", "--name", place.name)
    assert second.returncode == 0
    assert "already up" in second.stdout
    assert place.environment() == environment
    shown = stack_command("env", "--name", place.name).stdout
    assert dict(line.split("=", 1) for line in shown.splitlines()) == environment

    ended = stack_command("down", "--name", place.name)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not place.folder.exists()

    async def all_gone() -> bool:  # the supervisor lets go of its lock shortly before its end
        return not living(family)

    await until(all_gone, DEATH_SECONDS_MAX, "the end of the supervisor")
    assert stack_command("env", "--name", place.name).returncode == 3
    assert stack_command("down", "--name", place.name).returncode == 0


async def test_killed_supervisor_takes_its_servers_along_and_the_data_stay(place: Place) -> None:
    other = Place(f"{place.name}-b")
    try:
        results = await asyncio.gather(
            *(
                asyncio.to_thread(stack_command, "up", "--name", each.name)
                for each in (place, other)
            )
        )
        assert [each.returncode for each in results] == [0, 0]
        before, beside = place.environment(), other.environment()
        assert before is not None and beside is not None
        assert not set(before.values()) & set(beside.values())
        await usable(before)

        supervisor = psutil.Process(int(place.pid_file.read_text()))
        family = [supervisor, *supervisor.children(recursive=True)]
        assert len(family) > 3
        os.kill(supervisor.pid, signal.SIGKILL)

        async def all_gone() -> bool:  # a thread may end, and let go of the lock, after all others
            return not living(family) and not place.supervised

        await until(all_gone, DEATH_SECONDS_MAX, "the end of an orphaned stack")
        assert place.environment() is None
        await usable(beside)

        again = stack_command("up", "--name", place.name)
        assert again.returncode == 0, again.stdout + again.stderr
        assert place.environment() == before
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(before["MONGODB_URI"])
        async with client:
            assert await client.get_default_database().things.count_documents({}) == 1
    finally:
        stack_command("down", "--name", other.name)


async def test_a_stack_with_an_owner_ends_and_vanishes_with_it(place: Place) -> None:
    owner = await asyncio.create_subprocess_exec("sleep", "600")
    started = stack_command("up", "--name", place.name, "--owner", str(owner.pid))
    assert started.returncode == 0, started.stdout
    supervisor = psutil.Process(int(place.pid_file.read_text()))
    family = [supervisor, *supervisor.children(recursive=True)]
    owner.kill()
    await owner.wait()

    async def vanished() -> bool:
        return not living(family) and not place.folder.exists()

    await until(vanished, DEATH_SECONDS_MAX, "the end of a stack whose owner is gone")


@pytest.mark.parametrize("whom", ["command", "supervisor"])
def test_an_interrupted_start_leaves_no_server(place: Place, whom: str) -> None:
    """Kafka is held meanwhile: a start that is interrupted too late would be a whole one."""
    command = [sys.executable, "-m", "compose.stack", "up", "--name", place.name]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not so in a shell's job
    ) as starter:
        assert starter.stdout is not None
        asyncio.run(until(lambda: held(place, "java"), DEATH_SECONDS_MAX, "the start of Kafka"))
        first = starter.stdout.readline()
        supervisor = psutil.Process(int(place.pid_file.read_text()))
        family = [supervisor, *supervisor.children(recursive=True)]
        if whom == "command":
            starter.send_signal(signal.SIGINT)
        else:
            supervisor.terminate()
        for each in living(family):
            each.resume()
        rest = starter.stdout.read()
    assert "answers on" in first
    assert "Traceback" not in rest
    assert starter.returncode == (130 if whom == "command" else 1), rest
    assert living(family) == []
    assert not place.supervised


def test_taken_port_is_said_with_the_way_out(place: Place) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        refused = stack_command("up", "--name", place.name, "--postgres-port", str(port))
    assert refused.returncode == 3
    assert f"port {port}" in refused.stdout
    assert "way out:" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert place.environment() is None
    assert not place.supervised


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    """A folder where servers may be started one by one."""
    mine = Place(f"e2e-{uuid.uuid4().hex[:8]}").folder
    mine.mkdir(parents=True)
    yield mine
    shutil.rmtree(mine, ignore_errors=True)


async def test_postgres_keeps_what_was_committed_over_kill_and_pause(folder: Path) -> None:
    async with PostgresServer(folder, durable=True, settings={"max_wal_size": "2GB"}) as server:
        connection = await asyncpg.connect(server.uri)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval(f"SHOW {setting}") == "on"
        assert await connection.fetchval("SHOW max_wal_size") == "2GB"
        await connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        connection.terminate()
        await server.kill()
        await server.start()
        connection = await asyncpg.connect(server.uri)
        assert await connection.fetchval("SELECT n FROM t") == 7
        server.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncpg.connect(server.uri)
        server.resume()
        assert await connection.fetchval("SELECT n FROM t") == 7
        await connection.close()


async def test_postgres_finds_a_home_where_nobody_may_pass(folder: Path) -> None:
    folder.chmod(0o700)  # noqa: ASYNC240
    closed = folder / "postgres"
    async with PostgresServer(closed) as server:
        connection = await asyncpg.connect(server.uri)
        assert await connection.fetchval("SELECT 1") == 1
        home = Path(await connection.fetchval("SHOW data_directory")).parent
        await connection.close()
    assert not home.exists()
    assert not closed.exists()


async def test_mongo_takes_a_small_oplog_and_test_commands(folder: Path) -> None:
    async with MongoServer(folder, oplog_mib=1, test_commands=True) as server:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(server.uri)
        async with client:
            stats = await client.local.command("collStats", "oplog.rs")
            assert stats["maxSize"] == 1024 * 1024
            await client.admin.command("configureFailPoint", "failCommand", mode="off")
            await client.things.t.insert_one({"_id": 1})
            await server.kill()
            await server.start()
            assert await client.things.t.count_documents({}) == 1


async def test_kafka_comes_back_with_its_data_and_takes_properties(folder: Path) -> None:
    async with KafkaServer(folder, properties={"message.max.bytes": "123456"}) as server:

        async def cluster() -> str:
            admin = AIOKafkaAdminClient(bootstrap_servers=server.uri)
            await admin.start()
            try:
                return str((await admin.describe_cluster())["cluster_id"])
            finally:
                await admin.close()

        before = await cluster()
        await server.kill()
        await server.start()
        assert await cluster() == before
        assert "message.max.bytes=123456" in (folder / "server.properties").read_text()


async def test_a_server_that_cannot_start_leaves_no_other_behind(folder: Path) -> None:
    mine = Stack(folder)
    mine.mongo._arguments = ("--no-such-option",)
    with pytest.raises(Exception, match=r"MongoDB .* ended with code"):
        await mine.start()
    assert [each.running for each in mine.servers] == [False, False, False]
    await mine.delete()
