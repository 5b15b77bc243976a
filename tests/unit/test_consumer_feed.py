"""The Kafka side of a consumer when its client, or its membership, is lost."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from cdc.runtime.errors import Unavailable
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.postgres import PostgresTarget
from consumers.feed import FAILURES_MAX, Feed
from consumers.keep import CLIENT_LOST_FACTOR, Keeper
from consumers.metrics import NoMetrics
from consumers.placing import Placing
from consumers.rows import Place
from consumers.settings import ConsumerLimits, ConsumerSettings
from consumers.state import Progress, State
from schemas.topics import dead_letters_topic

SILENT_SECONDS_MAX = 10.0
SETTINGS = ConsumerSettings(
    target="main",
    database=PostgresTarget(dsn=""),
    kafka=KafkaConnection(bootstrap_servers="broker:9092"),
    topic_prefix="t",
    entities={},
    limits=ConsumerLimits(
        keep_seconds=0.001, check_seconds=0.0, kafka_silent_seconds=SILENT_SECONDS_MAX
    ),
)
PLACE = Place(dead_letters_topic("t").name, 0)


class Client:
    """A consumer's client to which nothing has come since ``heard_ms`` (milliseconds of 1970)."""

    def __init__(self, heard_ms: int) -> None:
        self._heard_ms = heard_ms
        self.answering = asyncio.Event()
        self.answering.set()

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(*PLACE)}

    def pause(self, *partitions: TopicPartition) -> None: ...
    def resume(self, *partitions: TopicPartition) -> None: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def last_poll_timestamp(self, partition: TopicPartition) -> int:
        return self._heard_ms

    def last_stable_offset(self, partition: TopicPartition) -> int:
        return 5

    async def getmany(self, **options: object) -> dict[TopicPartition, Any]:
        await asyncio.sleep(0)
        return {}

    async def position(self, partition: TopicPartition) -> int:
        return 5

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self.answering.wait()
        return dict.fromkeys(places, 0)

    end_offsets = beginning_offsets

    async def stop(self) -> None: ...


def placed(client: Client) -> Feed:
    feed = Feed(SETTINGS, AIOKafkaConsumer)
    feed._consumer = client
    feed.place({PLACE: 5}, feed.generation)
    assert feed.positioned
    return feed


@pytest.mark.parametrize(
    ("silent_seconds", "state", "answers", "condemned"),
    [
        (CLIENT_LOST_FACTOR * SILENT_SECONDS_MAX + 1, State.WAITING, True, True),
        (CLIENT_LOST_FACTOR * SILENT_SECONDS_MAX - 1, State.WAITING, True, False),
        (CLIENT_LOST_FACTOR * SILENT_SECONDS_MAX + 1, State.CONSUMING, True, False),
        (CLIENT_LOST_FACTOR * SILENT_SECONDS_MAX + 1, State.WAITING, False, False),
    ],
    ids=["lost", "not yet", "at work", "no leader for anybody"],
)
async def test_a_client_that_lost_kafka_is_replaced_once_kafka_answers_another(
    silent_seconds: float, state: State, answers: bool, condemned: bool
) -> None:
    """All brokers have other addresses, and the client asks only those that it knows."""
    now = time.time()
    feed = placed(Client(int((now - silent_seconds) * 1000)))
    feed._placed_ms = 0.0
    asked = asyncio.Semaphore(0)

    async def topic_ids(names: Iterable[str]) -> Mapping[str, str]:
        asked.release()
        return dict.fromkeys(names, "id")

    async def ask_spans(*_: object) -> None:
        if not answers:
            raise Unavailable("no leader")

    async def no_database() -> Any:
        raise Unavailable("no database")

    placing = Placing(SETTINGS, feed, topic_ids)
    placing.topic_ids = dict.fromkeys(SETTINGS.topics, "id")
    progress = Progress("main", lambda: now, structlog.get_logger(), NoMetrics(), state=state)
    keeper = Keeper(
        SETTINGS,
        placing,
        feed=feed,
        connect=no_database,
        control=no_database,
        progress=progress,
        ask_spans=ask_spans,
    )
    stop = asyncio.Event()
    keeping = asyncio.create_task(keeper.run(stop))
    async with asyncio.timeout(10):
        for _ in range(3):  # whatever came of the first two is done at the third
            await asked.acquire()
    stop.set()
    await keeping
    if condemned:
        with pytest.raises(Unavailable, match="not this client"):
            await feed.poll(0, 1)
        assert feed.failures >= FAILURES_MAX
    else:
        assert (await feed.poll(0, 1)).records == {}


async def test_a_group_that_is_left_while_offsets_are_asked_is_no_fault_of_the_process() -> None:
    client = Client(0)
    feed = placed(client)
    client.answering.clear()
    looking = asyncio.create_task(feed.look_after())
    await asyncio.sleep(0)
    await feed.stop()
    client.answering.set()
    await looking
    with pytest.raises(Unavailable, match="left"):
        await feed.spans({PLACE})
