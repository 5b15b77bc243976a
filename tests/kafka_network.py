"""The pinned Kafka client without its sockets: one broker that answers as a test says."""

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import BrokerMetadata, PartitionMetadata

from cdc.runtime.kafka_connections import close_what_is_cancelled

BROKER = 0

Answers = Mapping[str, Callable[[], Any]]


def answer(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**fields)


def led(topic: str, leader: int = BROKER) -> dict[int, PartitionMetadata]:
    """What the cluster tells of a topic of one partition."""
    return {0: PartitionMetadata(topic, 0, leader, [BROKER], [BROKER], 0)}


def replace_network(
    monkeypatch: pytest.MonkeyPatch,
    answers: Answers,
    *,
    metadata: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """``answers``: by the request's name. ``metadata``: the topics, asked at every update."""

    close_what_is_cancelled()  # else the first client would, and take the place of the doubles

    def update(client: Any) -> None:
        client.cluster._brokers = {BROKER: BrokerMetadata(BROKER, "broker", 9092, None)}
        client.cluster._partitions = dict(metadata())

    async def bootstrap(client: Any) -> None:
        update(client)

    def force(client: Any) -> asyncio.Future[bool]:
        async def updated() -> bool:
            await asyncio.sleep(0)
            update(client)
            return True

        return asyncio.ensure_future(updated())

    async def lookup(*_: Any) -> int:
        return BROKER

    async def ready(*_: Any, **__: Any) -> bool:
        return True

    async def send(client: Any, node: int, request: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        return answers[type(request).__name__]()

    for name, double in (
        ("bootstrap", bootstrap),
        ("force_metadata_update", force),
        ("coordinator_lookup", lookup),
        ("ready", ready),
        ("send", send),
    ):
        monkeypatch.setattr(AIOKafkaClient, name, double)
