"""A Kafka producer that stops where a test tells it to; run as a module: a daemon about to crash.

    python -m tests.held_producer SERVERS TRANSACTIONAL_ID TOPIC CURSORS

sends an event and its cursor, says "open", and never commits.
"""

import asyncio
import sys
from typing import Any

from aiokafka import AIOKafkaProducer

from cdc.publisher import Publisher
from cdc.runtime.kafka import KafkaConnection
from tests.kafka_topics import cursor, event

OPEN_MS = 60_000
"""So long what it leaves behind stays open, unless somebody ends it."""


class Held:
    """A producer that waits before its commit, or before a batch to one topic, until told."""

    def __init__(self) -> None:
        self.before_commit = asyncio.Event()
        self.before_batch = asyncio.Event()
        self.go = asyncio.Event()
        self.hold_batch_to = ""

    def producer(self, **options: Any) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**options)
        commit, send_batch = producer.commit_transaction, producer.send_batch

        async def held_commit() -> None:
            self.before_commit.set()
            await self.go.wait()
            await commit()

        async def held_batch(batch: Any, topic: str, *, partition: int) -> Any:
            if topic == self.hold_batch_to:
                self.before_batch.set()
                await self.go.wait()
            return await send_batch(batch, topic, partition=partition)

        producer.commit_transaction = held_commit
        producer.send_batch = held_batch
        return producer


async def main(servers: str, transactional_id: str, topic: str, cursors: str) -> None:
    held = Held()
    publisher = Publisher(
        KafkaConnection(bootstrap_servers=servers),
        transactional_id=transactional_id,
        transaction_timeout_ms=OPEN_MS,
        publish_seconds_max=OPEN_MS / 1000,
        make_producer=held.producer,
    )
    await publisher.start()
    publishing = asyncio.create_task(publisher.publish([event(topic, 1)], [cursor(cursors, "1")]))
    await held.before_commit.wait()
    print("open", flush=True)
    await publishing


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
