"""The publisher when requests are lost, late or cut off, and when the broker is gone.

One broker of one's own, reached through a proxy that breaks what it is told to break; what became
visible is looked at past the proxy.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.cluster import ClusterMetadata

from cdc.kafka.cursor_reader import read_cursors
from cdc.publisher import Publisher
from cdc.runtime.errors import Doubt, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_abandon import abandon
from cdc.runtime.kafka_records import spans
from compose.stack.kafka import KafkaServer
from compose.stack.ports import LOOPBACK, free_port
from schemas.envelope import Event
from tests.fault_proxy import Fault, FaultProxy, kafka_frames, kafka_request
from tests.kafka_topics import delete_topic, event, make_topic, numbers, stable_to_the_end

PRODUCE, ADD_PARTITIONS, END_TXN = 0, 24, 26
REQUEST_TIMEOUT_MS = 2_000
PATIENT_MS = 30_000

Start = Callable[..., Awaitable[Publisher]]


class Broker:
    """`direct` for looking, `proxied` for the publisher under test."""

    def __init__(self, folder: Path) -> None:
        self.proxy_port, inner_port, port = free_port(), free_port(), free_port()
        self.inner_port, controller_port = inner_port, free_port()
        self.server = KafkaServer(
            folder,
            port,
            controller_port=controller_port,
            properties={
                "listeners": f"PLAINTEXT://{LOOPBACK}:{port},PROXIED://{LOOPBACK}:{inner_port},"
                f"CONTROLLER://{LOOPBACK}:{controller_port}",
                "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port},"
                f"PROXIED://{LOOPBACK}:{self.proxy_port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,"
                "CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                # A test makes a transaction hang, which the broker would prevent.
                "transaction.partition.verification.enable": "false",
            },
        )
        self.direct = KafkaConnection(bootstrap_servers=f"{LOOPBACK}:{port}")
        self.proxied = KafkaConnection(
            bootstrap_servers=f"{LOOPBACK}:{self.proxy_port}", request_timeout_ms=REQUEST_TIMEOUT_MS
        )


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix=f"kafka-{os.getpid()}-") as folder:
        mine = Broker(Path(folder))
        try:
            asyncio.run(mine.server.start())
            yield mine
        finally:
            asyncio.run(mine.server.delete())


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[FaultProxy]:
    await broker.server.start()  # the test before may have ended it
    async with FaultProxy(broker.inner_port, port=broker.proxy_port, frames=kafka_frames) as proxy:
        yield proxy


@pytest.fixture
async def topic(broker: Broker, proxy: FaultProxy, topic_prefix: str) -> str:
    return await make_topic(broker.direct, f"{topic_prefix}.events", cleanup_policy="compact")


@pytest.fixture
async def cursors(broker: Broker, proxy: FaultProxy, topic_prefix: str) -> str:
    return await make_topic(broker.direct, f"{topic_prefix}.cursors", cleanup_policy="compact")


@pytest.fixture
async def start(
    broker: Broker, topic_prefix: str, topic: str, cursors: str
) -> AsyncIterator[Start]:
    made: list[Publisher] = []

    async def started(**options: Any) -> Publisher:
        options = {"connection": broker.proxied, "topics": [topic, cursors], **options}
        publisher = Publisher(transactional_id=topic_prefix, **options)
        made.append(publisher)
        await publisher.start()
        return publisher

    yield started
    for publisher in made:
        await publisher.abandon()
    assert [task for task in asyncio.all_tasks() if "aiokafka" in repr(task.get_coro())] == []


def batch(topic: str, cursors: str, number: int) -> tuple[list[Event], list[Event]]:
    return [event(topic, number)], [Event(cursors, 0, b"cursor", b"%d" % number, [])]


async def position(broker: Broker, cursors: str) -> int:
    """What a daemon finds after the fence."""
    return int((await read_cursors(broker.direct, cursors, 0)).get(b"cursor") or 0)


@pytest.mark.parametrize("api", [PRODUCE, ADD_PARTITIONS, END_TXN])
@pytest.mark.parametrize("fault", ["drop_answer", "cut", "cut_after"])
async def test_k2_a_lost_answer_is_a_doubt_that_the_cursor_settles(
    broker: Broker,
    proxy: FaultProxy,
    topic: str,
    cursors: str,
    start: Start,
    api: int,
    fault: str,
) -> None:
    """The client alone would try again in hiding and say "ok", whatever it ended."""
    publisher = await start()
    await publisher.publish(*batch(topic, cursors, 1))
    met: Fault = getattr(proxy, fault)(kafka_request(api))
    with pytest.raises(Doubt):
        await publisher.publish(*batch(topic, cursors, 2))
    assert met.seen.is_set()
    fresh = await start()
    at = await position(broker, cursors)
    assert at == (2 if api == END_TXN and fault != "cut" else 1)
    await fresh.publish(*batch(topic, cursors, at + 1))
    assert await numbers(broker.direct, topic) == list(range(1, at + 2))


async def test_k3_a_late_end_of_an_older_transaction_does_not_touch_the_next(
    broker: Broker, proxy: FaultProxy, topic: str, cursors: str, start: Start
) -> None:
    """Without the fence the late request commits the next transaction before its time."""
    publisher = await start()
    await publisher.publish(*batch(topic, cursors, 1))
    late = proxy.hold(kafka_request(END_TXN))
    with pytest.raises(Doubt):
        await publisher.publish(*batch(topic, cursors, 2))
    patient = replace(broker.proxied, request_timeout_ms=PATIENT_MS)
    fresh = await start(connection=patient, publish_seconds_max=PATIENT_MS / 1000)
    assert await position(broker, cursors) == 1
    sent = proxy.hold(kafka_request(END_TXN))
    publishing = asyncio.create_task(fresh.publish(*batch(topic, cursors, 3)))
    await sent.seen.wait()  # the next transaction is open, all of it is sent
    late.release()
    await late.done.wait()
    assert not await stable_to_the_end(broker.direct, topic)  # neither committed nor aborted
    sent.release()
    await publishing
    assert await numbers(broker.direct, topic) == [1, 3]
    assert await position(broker, cursors) == 3


@pytest.mark.parametrize("gone", ["frozen", "blackhole", "refused", "killed"])
async def test_k9_without_a_broker_publishing_ends_and_goes_on_when_it_is_back(
    broker: Broker, proxy: FaultProxy, topic: str, cursors: str, start: Start, gone: str
) -> None:
    publisher = await start(publish_seconds_max=2 * PATIENT_MS / 1000)
    await publisher.publish(*batch(topic, cursors, 1))
    await _take_away(broker, proxy, gone)
    try:
        async with asyncio.timeout(PATIENT_MS / 1000):  # by its requests' own limit
            with pytest.raises(Doubt):
                await publisher.publish(*batch(topic, cursors, 2))
            with pytest.raises(Unavailable):
                await start()
    finally:
        await _bring_back(broker, proxy, gone)
    fresh = await start()
    at = await position(broker, cursors)
    assert at == 1
    await fresh.publish(*batch(topic, cursors, 2))
    assert await numbers(broker.direct, topic) == [1, 2]


async def _take_away(broker: Broker, proxy: FaultProxy, how: str) -> None:
    if how == "frozen":
        broker.server.pause()
    elif how == "blackhole":
        proxy.blackhole()
    elif how == "refused":
        await proxy.refuse()
    else:
        await broker.server.kill()


async def _bring_back(broker: Broker, proxy: FaultProxy, how: str) -> None:
    if how == "frozen":
        broker.server.resume()
    elif how == "blackhole":
        proxy.reset()  # what was on its way is lost
        proxy.passes()
    elif how == "refused":
        await proxy.accept()
    else:
        await broker.server.start()


async def test_k9_a_broker_that_names_none_alive_is_no_broker(
    broker: Broker,
    proxy: FaultProxy,
    topic: str,
    cursors: str,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it answers while it is cut off from its controllers; the library takes it so."""
    understood = ClusterMetadata.update_metadata

    def emptied(metadata: ClusterMetadata, answer: Any) -> None:
        answer.brokers = []
        understood(metadata, answer)

    with monkeypatch.context() as cut_off:
        cut_off.setattr(ClusterMetadata, "update_metadata", emptied)
        with pytest.raises(Unavailable, match="names none as alive"):
            await start()
        with pytest.raises(Unavailable, match="names none as alive"):
            await spans(broker.direct, topic)
    publisher = await start()
    await publisher.publish(*batch(topic, cursors, 1))
    assert await numbers(broker.direct, topic) == [1]


async def test_k10_a_commit_that_was_cut_off_may_still_happen(
    broker: Broker, proxy: FaultProxy, topic: str, cursors: str, start: Start
) -> None:
    """The request stands in a frozen broker's queue: the cursor tells, not our memory."""
    publisher = await start()
    await publisher.publish(*batch(topic, cursors, 1))
    late = proxy.hold(kafka_request(END_TXN))
    with pytest.raises(Doubt):
        await publisher.publish(*batch(topic, cursors, 2))
    late.release()
    await late.done.wait()
    fresh = await start()
    assert await position(broker, cursors) == 2
    await fresh.publish(*batch(topic, cursors, 3))
    assert await numbers(broker.direct, topic) == [1, 2, 3]


async def test_k12_a_topic_deleted_while_publishing_is_told_within_the_deadline(
    broker: Broker, topic: str, cursors: str, start: Start
) -> None:
    publisher = await start(publish_seconds_max=3.0)
    await publisher.publish(*batch(topic, cursors, 1))
    await delete_topic(broker.direct, topic)
    with pytest.raises((Unfit, Doubt)):
        await publisher.publish(*batch(topic, cursors, 2))
    assert await position(broker, cursors) == 1
    fresh = await start()
    with pytest.raises(Unfit):
        await fresh.publish(*batch(topic, cursors, 2))


@pytest.mark.parametrize("committed", [True, False])
async def test_a_transaction_that_the_broker_forgot_to_end_is_ended_as_it_was_decided(
    broker: Broker, topic: str, cursors: str, start: Start, topic_prefix: str, committed: bool
) -> None:
    """Seen after SIGKILL of the only replica: the decision stands, its markers were dropped."""
    forgetful = AIOKafkaProducer(
        **broker.direct.client_options(), transactional_id=topic_prefix, linger_ms=0
    )
    await forgetful.start()
    await forgetful.begin_transaction()
    await forgetful.send_and_wait(topic, b"1:", b"key", partition=0)
    await (forgetful.commit_transaction() if committed else forgetful.abort_transaction())
    await forgetful.begin_transaction()
    for name, value in ((topic, b"2:"), (cursors, b"2")):  # the coordinator does not know of them
        forgetful._txn_manager._txn_partitions.add(TopicPartition(name, 0))
        await forgetful.send_and_wait(name, value, b"cursor", partition=0)
    await abandon(forgetful)
    assert not await stable_to_the_end(broker.direct, cursors)

    fresh = await start()
    assert await position(broker, cursors) == (2 if committed else 0)
    assert await numbers(broker.direct, topic) == ([1, 2] if committed else [])
    await fresh.publish(*batch(topic, cursors, 3))
    assert await numbers(broker.direct, topic) == ([1, 2, 3] if committed else [3])


async def test_a_slow_network_is_no_doubt(
    broker: Broker, proxy: FaultProxy, topic: str, cursors: str, start: Start
) -> None:
    publisher = await start()
    proxy.delay(0.05)
    await publisher.publish(*batch(topic, cursors, 1))
    assert await numbers(broker.direct, topic) == [1]
