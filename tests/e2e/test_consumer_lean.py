"""The lean way of reading records gives what the client's own way gives: its version's guard."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from cdc.runtime.kafka import started
from cdc.runtime.kafka_records import spans
from consumers.lean import keep_lean
from tests.conftest import Addresses
from tests.consumer_world import (
    PARTITIONS,
    TRANSACTIONS,
    World,
    deleted,
    holds,
    make_world,
    payment,
    tombstone,
    until,
)

IDLE_ANSWER_MS = 40_000
"""So late the broker answers who asks for idle partitions."""


async def read(world: World, *, lean: bool, events_max: int) -> tuple[list[Any], dict[Any, int]]:
    """Every record of the transactions' topic, and where the positions then stand."""
    consumer = AIOKafkaConsumer(
        **world.settings.kafka.client_options(),
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
    )
    places = [TopicPartition(world.topic(TRANSACTIONS), each) for each in range(PARTITIONS)]
    await started(consumer, world.settings.kafka, "read")
    try:
        if lean:
            keep_lean(consumer)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, 0)
        ends = await spans(world.settings.kafka, world.topic(TRANSACTIONS))
        found: list[Any] = []
        kinds: set[str] = set()

        async def all_read() -> bool:
            polled = await consumer.getmany(timeout_ms=100, max_records=events_max)
            for place, records in polled.items():
                kinds.update(type(each).__name__ for each in records)
                found.extend(
                    (place, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                    for r in records
                )
            return all(
                [await consumer.position(each) >= ends[each.partition][1] for each in places]
            )

        await until(all_read)
        assert kinds == {"DefaultRecord" if lean else "ConsumerRecord"}
        return sorted(found, key=str), {place: await consumer.position(place) for place in places}
    finally:
        await consumer.stop()


async def test_both_ways_read_the_same(stack: Addresses, database: str, topic_prefix: str) -> None:
    world = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    for n in range(1, 4):
        await world.publish(*(payment(f"t{i}", n) for i in range(30)))
        await world.publish(*(payment(f"no{i}", n) for i in range(30)), abort=True)
    await world.publish(deleted(TRANSACTIONS, "t1", 9), tombstone(TRANSACTIONS, "t1"))
    await world.database.close()
    plain = await read(world, lean=False, events_max=1000)
    assert len(plain[0]) == 92
    for events_max in (1, 7, 1000):
        assert await read(world, lean=True, events_max=events_max) == plain


async def test_records_that_wait_keep_no_busy_partition_from_being_fetched(
    stack: Addresses, database: str, topic_prefix: str
) -> None:
    """The client asked for the idle partitions alone meanwhile, and waited for that answer."""
    world = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    consumer = AIOKafkaConsumer(
        **world.settings.kafka.client_options()
        | {"request_timeout_ms": 2 * IDLE_ANSWER_MS, "fetch_max_wait_ms": IDLE_ANSWER_MS},
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await started(consumer, world.settings.kafka, "read")
    keep_lean(consumer)
    loop = asyncio.get_running_loop()
    try:
        consumer.assign(
            [TopicPartition(world.topic(TRANSACTIONS), each) for each in range(PARTITIONS)]
        )
        await world.publish(payment("t1", 1))
        await until(lambda: holds(bool(consumer._fetcher._records)))
        ends = loop.time() + 0.3  # longer than the client would wait
        await until(lambda: holds(loop.time() > ends))
        assert len(await consumer.getmany()) == 1
        await world.publish(payment("t1", 2))
        await until(lambda: consumer.getmany(), seconds=IDLE_ANSWER_MS / 2_000)
    finally:
        await consumer.stop()
        await world.database.close()
