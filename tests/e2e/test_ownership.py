"""Kafka decides which daemon runs a source: each source once, fail-over by itself."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka.client import CoordinationType
from aiokafka.protocol.admin import DescribeGroupsRequest

from cdc.kafka.cursor_reader import read_cursors
from cdc.kafka.ownership import Ownership
from cdc.publisher import Publisher
from cdc.runtime.errors import Doubt, Fenced, Unavailable
from cdc.runtime.kafka import KafkaConnection, kafka_client
from compose.stack.names import REPOSITORY
from compose.stack.ports import free_port
from compose.stack.process import until
from schemas.envelope import Event
from tests.conftest import Addresses
from tests.kafka_topics import event, make_topic, numbers

SESSION_MS, LONG_SESSION_MS = 4_500, 15_000
"""The shorter one outlasts a pause of the machine: who loses its place had been meant to."""
HAND_OVER_SECONDS_MAX = 30

Member = Callable[..., Awaitable[Ownership]]


@pytest.fixture
def connection(stack: Addresses) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=stack.kafka_bootstrap_servers)


@pytest.fixture
async def cursors(connection: KafkaConnection, topic_prefix: str) -> str:
    return await make_topic(connection, f"{topic_prefix}.cursors", 16, cleanup_policy="compact")


@pytest.fixture
async def member(
    connection: KafkaConnection, topic_prefix: str, cursors: str
) -> AsyncIterator[Member]:
    """Starts the membership of one daemon in the group of one source."""
    made: list[Ownership] = []

    async def started(
        source: str = "source",
        partition: int = 3,
        session_timeout_ms: int = SESSION_MS,
        **options: Any,
    ) -> Ownership:
        ownership = Ownership(
            connection,
            group=f"{topic_prefix}.{source}",
            topic=cursors,
            partition=partition,
            session_timeout_ms=session_timeout_ms,
            **options,
        )
        made.append(ownership)
        await ownership.start()
        return ownership

    yield started
    for ownership in made:
        await ownership.stop()
    assert [task for task in asyncio.all_tasks() if "aiokafka" in repr(task.get_coro())] == []


async def soon(waiting: Awaitable[None]) -> None:
    async with asyncio.timeout(HAND_OVER_SECONDS_MAX):
        await waiting


async def at_rest(connection: KafkaConnection, group: str, *, members: int) -> None:
    """Until the group has that many members and is not being rebalanced."""
    async with kafka_client(connection, "describe group") as client:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)

        async def stable() -> bool:
            answer = await client.send(node, DescribeGroupsRequest([group]))
            _, _, state, _, _, found, *_ = answer.groups[0]
            return state == "Stable" and len(found) == members

        await until(stable, HAND_OVER_SECONDS_MAX, f"{members} members in {group}")


async def test_a_daemon_alone_owns_its_source_at_once(member: Member) -> None:
    seconds = []
    for number in range(4):  # the first one warms the broker, and the machine may be busy
        began = time.perf_counter()
        alone = await member(f"source-{number}")
        await soon(alone.wait_owned())
        seconds.append(time.perf_counter() - began)
        assert alone.owned
    assert min(seconds) < 2


async def test_two_daemons_run_each_source_once_and_take_over_from_each_other(
    connection: KafkaConnection, topic_prefix: str, member: Member
) -> None:
    sources = [f"source-{number}" for number in range(5)]
    first = [await member(source, partition=number) for number, source in enumerate(sources)]
    for each in first:
        await soon(each.wait_owned())
    second = [await member(source, partition=number) for number, source in enumerate(sources)]
    for source in sources:
        await at_rest(connection, f"{topic_prefix}.{source}", members=2)
    assert [each.owned for each in first] == [True] * 5  # nobody lost what it had
    assert [each.owned for each in second] == [False] * 5
    for each in first[:3]:
        await each.stop()
    for each in second[:3]:
        await soon(each.wait_owned())
    assert [each.owned for each in (*first, *second)] == [
        *(False, False, False, True, True),
        *(True, True, True, False, False),
    ]


async def test_waiting_for_the_loss_ends_when_the_owner_stops(member: Member) -> None:
    owner = await member()
    await soon(owner.wait_owned())
    losing = asyncio.create_task(owner.wait_lost())
    assert not losing.done()
    await owner.stop()
    await soon(losing)
    await owner.stop()  # safe twice


async def test_leaving_gives_the_source_away_and_comes_back_as_a_spare(
    connection: KafkaConnection, topic_prefix: str, member: Member
) -> None:
    first = await member()
    await soon(first.wait_owned())
    second = await member()
    await first.leave_and_rejoin(0.5)
    assert not first.owned
    await soon(second.wait_owned())
    await at_rest(connection, f"{topic_prefix}.source", members=2)
    assert (first.owned, second.owned) == (False, True)
    await second.stop()
    await soon(first.wait_owned())


async def test_a_fenced_owner_that_is_alone_owns_again_after_its_pause(member: Member) -> None:
    alone = await member()
    await soon(alone.wait_owned())
    began = time.monotonic()
    await alone.leave_and_rejoin(1.0)
    await soon(alone.wait_owned())
    assert time.monotonic() - began >= 1.0


async def test_a_missing_broker_is_told_and_joined_when_it_is_there() -> None:
    ownership = Ownership(
        KafkaConnection(bootstrap_servers=f"127.0.0.1:{free_port()}", request_timeout_ms=500),
        group="group",
        topic="topic",
        partition=0,
    )
    await ownership.start()
    try:
        with pytest.raises(Unavailable):
            await soon(ownership.wait_owned())
        assert not ownership.owned
    finally:
        await ownership.stop()


async def test_a_restarted_instance_takes_its_place_without_waiting_for_its_session(
    connection: KafkaConnection, topic_prefix: str, member: Member
) -> None:
    owner = await member(instance="one", session_timeout_ms=LONG_SESSION_MS)
    await soon(owner.wait_owned())
    other = await member(instance="two", session_timeout_ms=LONG_SESSION_MS)
    await at_rest(connection, f"{topic_prefix}.source", members=2)
    await owner.stop()  # a static member does not leave
    began = time.monotonic()
    again = await member(instance="one", session_timeout_ms=LONG_SESSION_MS)
    await soon(again.wait_owned())
    assert time.monotonic() - began < LONG_SESSION_MS / 1000
    assert not other.owned


async def run_source(servers: str, prefix: str) -> None:
    """A daemon in small: publishes 1, 2, 3 … while it owns the source, each with its cursor."""
    connection = KafkaConnection(bootstrap_servers=servers)
    topic, cursors = f"{prefix}.events", f"{prefix}.cursors"
    ownership = Ownership(
        connection,
        group=f"{prefix}.group",
        topic=cursors,
        partition=3,
        session_timeout_ms=SESSION_MS,
    )
    await ownership.start()
    while True:
        await ownership.wait_owned()
        print("owner", flush=True)
        publisher = Publisher(connection, transactional_id=prefix, topics=[topic, cursors])
        with contextlib.suppress(Fenced, Doubt):
            await publisher.start()
            number = int((await read_cursors(connection, cursors, 3)).get(b"cursor") or 0)
            while ownership.owned:
                number += 1
                cursor = Event(cursors, 3, b"cursor", b"%d" % number, [])
                await publisher.publish([event(topic, number)], [cursor])
                await asyncio.sleep(0.005)
        await publisher.close()
        print("released", flush=True)
        if ownership.owned:
            await ownership.leave_and_rejoin(0.5)


DAEMON = """
import asyncio, sys
from tests.e2e.test_ownership import run_source
asyncio.run(run_source(*sys.argv[1:]))
"""


class Daemon:
    """`run_source` as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(line.decode().strip())

    async def says(self, word: str, times: int = 1) -> None:
        async def said() -> bool:
            return self.said.count(word) >= times

        await until(said, HAND_OVER_SECONDS_MAX, f"{word} by {self.process.pid}")

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._listening


async def test_k4_k7_killed_and_frozen_daemons_lose_the_source_and_no_event(
    connection: KafkaConnection, topic_prefix: str, cursors: str
) -> None:
    """Three takeovers, one of them back from a zombie: every number once, in order."""
    topic = await make_topic(connection, f"{topic_prefix}.events", cleanup_policy="compact")

    async def daemon() -> Daemon:
        return Daemon(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", DAEMON),
                *(connection.bootstrap_servers, topic_prefix),
                stdout=asyncio.subprocess.PIPE,
                cwd=REPOSITORY,
            )
        )

    async def reached(number: int) -> None:
        async def there() -> bool:
            found = await read_cursors(connection, cursors, 3, still_seconds_max=20)
            return int(found.get(b"cursor") or 0) >= number

        await until(there, 30, f"the cursor at {number}")

    first, second = await daemon(), None
    try:
        await first.says("owner")
        second = await daemon()
        await reached(30)
        first.process.send_signal(signal.SIGKILL)
        await second.says("owner")
        third = first = await daemon()
        at = int((await read_cursors(connection, cursors, 3))[b"cursor"] or 0)
        await reached(at + 30)
        second.process.send_signal(signal.SIGSTOP)
        await third.says("owner")
        await reached(at + 60)
        second.process.send_signal(signal.SIGCONT)
        await second.says("released")  # the zombie finds out
        await reached(at + 90)
        assert third.said == ["owner"]  # and did not get it back
    finally:
        for each in (first, second):
            if each is not None:
                await each.end()
    found = await numbers(connection, topic)
    assert len(found) >= at + 90
    assert found == list(range(1, len(found) + 1))
