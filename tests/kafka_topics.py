"""Topics for tests: made, written with events of ours, and read back as any consumer sees them."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.admin import DeleteTopicsRequest

from cdc.runtime.kafka import KafkaConnection, kafka_client, topic_ids
from cdc.runtime.kafka_admin import TopicWish, create_topics, usable
from cdc.runtime.kafka_records import Record, records, spans
from compose.stack.process import until
from schemas.envelope import Event

ANSWER_MS_MAX = 5_000
GONE_SECONDS_MAX = 30.0


async def make_topic(
    connection: KafkaConnection, name: str, partitions: int = 1, **config: str
) -> str:
    """`config` with `_` for the dots."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    assert await create_topics(connection, [TopicWish(name, partitions, 1, settings)]) == [name]
    await usable(connection, [name])
    return name


async def delete_topic(connection: KafkaConnection, name: str) -> None:
    """Until the broker knows it no more: it answers a moment before."""
    async with kafka_client(connection, "delete topic") as client:
        await client.send(client.get_random_node(), DeleteTopicsRequest([name], ANSWER_MS_MAX))

    async def gone() -> bool:
        return await topic_ids(connection, [name]) == {}

    await until(gone, GONE_SECONDS_MAX, f"the end of {name}")


def event(topic: str, number: int, *, partition: int = 0, size: int = 20) -> Event:
    """Key and value tell the number; `size` is about the bytes of the value."""
    value = f"{number}:".encode().ljust(size, b".")
    return Event(topic, partition, b"key-%d" % number, value, [("event_id", b"%d" % number)])


def cursor(topic: str, text: str, *, partition: int = 0, key: bytes = b"cursor") -> Event:
    """A cursor record; to its topic it is a record like others."""
    return Event(topic, partition, key, text.encode(), [])


async def visible(connection: KafkaConnection, topic: str) -> list[Record]:
    """Every committed record of the topic, to its very end; waits for open transactions."""
    found: list[Record] = []
    for partition, (start, end) in (await spans(connection, topic)).items():
        async for batch in records(connection, topic, partition, start, end):
            found.extend(batch)
    return found


async def numbers(connection: KafkaConnection, topic: str) -> list[int]:
    """The numbers of the events that are visible."""
    return [
        int((record.value or b"").partition(b":")[0]) for record in await visible(connection, topic)
    ]


async def stable_to_the_end(connection: KafkaConnection, topic: str, partition: int = 0) -> bool:
    """Whether no open transaction keeps committed readers from the end of the partition."""
    options: dict[str, Any] = connection.client_options()
    where = TopicPartition(topic, partition)
    ends = []
    for level in ("read_committed", "read_uncommitted"):
        consumer = AIOKafkaConsumer(**options, isolation_level=level, enable_auto_commit=False)
        await consumer.start()
        try:
            ends.append((await consumer.end_offsets([where]))[where])
        finally:
            await consumer.stop()
    return ends[0] == ends[1]
