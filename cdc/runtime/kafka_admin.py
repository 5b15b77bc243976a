"""Topics as the broker has them: describe and create. Nothing here changes a topic.

Kafka's AlterConfigs is not used on purpose: it replaces the whole set, and has turned a compacted
topic into a deleted one (``kafka.md`` 2.6).
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from cdc.runtime.errors import Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection, kafka_client
from cdc.runtime.kafka_errors import code_kind, code_name
from cdc.runtime.kafka_metadata import TopicsRequest
from cdc.runtime.kafka_records import spans

BROKER_DEFAULT_REPLICATION = -1
USABLE_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.1

_TOPIC_RESOURCE = 2
_ALREADY_EXISTS = "TopicAlreadyExists"
_MISSING = "UnknownTopicOrPartition"


class TopicState(NamedTuple):
    """A topic as it is. ``replication``: of its least replicated partition."""

    partitions: int
    replication: int
    config: dict[str, str]


class TopicWish(NamedTuple):
    """A topic as it is to be created; ``replication`` may be ``BROKER_DEFAULT_REPLICATION``."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


async def describe_topics(
    connection: KafkaConnection, names: Iterable[str]
) -> dict[str, TopicState]:
    """The topics that exist among ``names``, with their whole effective configuration."""
    operation = "describe topics"
    shapes = {}
    async with kafka_client(connection, operation) as client:
        node = client.get_random_node()
        answer = await client.send(node, TopicsRequest(sorted(set(names))))
        for topic in answer.to_object()["topics"]:
            code = topic["error_code"]
            if code_name(code) == _MISSING:
                continue
            _check(code, operation, topic["topic"])
            replicas = [len(partition["replicas"]) for partition in topic["partitions"]]
            if not replicas:
                raise Unavailable("no partition yet", operation=operation, subject=topic["topic"])
            shapes[topic["topic"]] = (len(replicas), min(replicas))
        configs = await _configs(client, sorted(shapes)) if shapes else {}
    return {name: TopicState(*shape, configs[name]) for name, shape in shapes.items()}


async def _configs(client: AIOKafkaClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    request = DescribeConfigsRequest([(_TOPIC_RESOURCE, name, None) for name in names])
    answer: Any = await client.send(client.get_random_node(), request)
    configs = {}
    for code, message, _, name, entries in answer.resources:
        _check(code, "describe topic configuration", name, message)
        configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


async def create_topics(connection: KafkaConnection, wishes: Sequence[TopicWish]) -> list[str]:
    """Creates the topics and returns the names of those created; existing ones are left alone."""
    operation = "create topic"
    asked: list[Any] = [
        (wish.name, wish.partitions, wish.replication, [], list(wish.config.items()))
        for wish in wishes
    ]
    request = CreateTopicsRequest(
        create_topic_requests=asked, timeout=connection.request_timeout_ms, validate_only=False
    )
    async with kafka_client(connection, operation) as client:
        controller = client.cluster.controller
        node = client.get_random_node() if controller is None else controller.nodeId
        answer = await client.send(node, request)
    created = []
    for name, code, *message in answer.topic_errors:
        if code_name(code) == _ALREADY_EXISTS:
            continue
        _check(code, operation, name, *message)
        created.append(name)
    return created


async def usable(connection: KafkaConnection, names: Iterable[str]) -> None:
    """Returns when topics just created can be written and read: brokers learn of them later."""
    waiting, ends = list(names), time.monotonic() + USABLE_SECONDS_MAX
    while time.monotonic() < ends:
        try:
            while waiting:
                await spans(connection, waiting[-1])
                waiting.pop()
        except (Unfit, Unavailable):
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return
    raise Unavailable("created, but cannot be used yet", operation="create topic")


def _check(code: int, operation: str, subject: str, message: str | None = None) -> None:
    if code:
        text = f"{code_name(code)}: {message}" if message else code_name(code)
        raise code_kind(code)(text, operation=operation, subject=subject)
