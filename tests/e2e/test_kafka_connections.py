"""Whoever is cancelled while Kafka is asked for the first time leaves no connection open."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from cdc.publisher import Publisher
from cdc.runtime.kafka import KafkaConnection, ended, started, topic_ids
from tests.conftest import Addresses

STEPS_MAX = 2_000
CLOSE_SECONDS_MAX = 10.0

Way = Callable[[KafkaConnection], Awaitable[Any]]


async def asked(connection: KafkaConnection) -> None:
    await topic_ids(connection, ["missing"])


async def published(connection: KafkaConnection) -> None:
    publisher = Publisher(connection, transactional_id="cancelled")
    try:
        await publisher.start()
    finally:
        await publisher.abandon()


async def consumed(connection: KafkaConnection) -> None:
    consumer = AIOKafkaConsumer(**connection.client_options(), group_id="cancelled")
    await started(consumer, connection, "join")
    await ended(consumer)


@pytest.mark.parametrize("way", [asked, published, consumed])
async def test_cancelled_at_any_step_it_leaves_no_connection(stack: Addresses, way: Way) -> None:
    """An open one is a warning when it is collected, and that fails this test."""
    connection = KafkaConnection(bootstrap_servers=stack.kafka_bootstrap_servers)
    for steps in range(STEPS_MAX):
        task = asyncio.ensure_future(way(connection))
        for _ in range(steps):
            if task.done():
                break
            await asyncio.sleep(0)
        if task.done():
            await task
            break
        task.cancel()
        await asyncio.wait({task})
    else:
        pytest.fail(f"not through after {STEPS_MAX} steps")
    closing = asyncio.all_tasks() - {asyncio.current_task()}  # a close is not cut off by a cancel
    if closing:
        await asyncio.wait(closing, timeout=CLOSE_SECONDS_MAX)
    del task, closing
    gc.collect()
