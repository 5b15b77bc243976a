"""Topics on a real broker: made as declared, compared, never changed."""

import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.admin import AlterConfigsRequest

from cdc.kafka.topics import Difference, bring_up, declared_topics, differences, require
from cdc.runtime.errors import Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection, kafka_client, topic_ids
from cdc.runtime.kafka_admin import describe_topics
from compose.stack.ports import free_port
from compose.stack.process import until
from tests.conftest import Addresses
from tests.kafka_topics import delete_topic, make_topic, visible

ENTITIES = ["accounting.transactions", "accounting.owners"]


@pytest.fixture
def connection(stack: Addresses) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=stack.kafka_bootstrap_servers)


async def test_missing_topics_are_made_as_declared_and_then_nothing_differs(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    topics = declared_topics(topic_prefix, ENTITIES, {"accounting.owners": 3})
    missing = await differences(connection, topics)
    assert [(each.topic, each.found) for each in missing] == [
        (f"{topic_prefix}.accounting.owners", None),
        (f"{topic_prefix}.accounting.transactions", None),
        (f"{topic_prefix}.cursors", None),
        (f"{topic_prefix}.dead_letters", None),
    ]
    with pytest.raises(Unfit, match="cdc topics"):
        await require(connection, topics)

    created, left = await bring_up(connection, topics)
    assert (sorted(created), left) == (sorted(topic.name for topic in topics), [])
    await require(connection, topics)

    found = await describe_topics(connection, created)
    assert found[f"{topic_prefix}.accounting.owners"].partitions == 3
    transactions = found[f"{topic_prefix}.accounting.transactions"]
    assert transactions.partitions == 8
    seven_days_ms = str(7 * 24 * 3600 * 1000)
    assert {
        name: transactions.config[name]
        for name in (
            "cleanup.policy",
            "min.compaction.lag.ms",
            "delete.retention.ms",
            "message.timestamp.type",
            "max.message.bytes",
        )
    } == {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": seven_days_ms,
        "delete.retention.ms": seven_days_ms,
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(4 * 1024 * 1024),
    }
    assert found[f"{topic_prefix}.dead_letters"].config["cleanup.policy"] == "delete"


async def test_bringing_up_twice_changes_nothing(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    topics = declared_topics(topic_prefix, ENTITIES)
    await bring_up(connection, topics)
    before = await topic_ids(connection, [topic.name for topic in topics])
    assert await bring_up(connection, topics) == ([], [])
    assert await topic_ids(connection, before) == before


async def test_differences_are_told_with_their_fix_and_left_alone(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    owners = await make_topic(
        connection, f"{topic_prefix}.accounting.owners", 2, cleanup_policy="delete"
    )
    cursors = await make_topic(connection, f"{topic_prefix}.cursors", 4)
    topics = [
        topic
        for topic in declared_topics(topic_prefix, ["accounting.owners"])
        if topic.name in (owners, cursors)
    ]
    before = await describe_topics(connection, [owners, cursors])
    created, found = await bring_up(connection, topics, replication=3)
    assert created == []
    assert await describe_topics(connection, [owners, cursors]) == before
    told = {(each.topic, each.what): each for each in found}
    policy = told[owners, "cleanup.policy"]
    assert (policy.declared, policy.found) == ("compact", "delete")
    assert policy.fix == (
        f"kafka-configs.sh --bootstrap-server {connection.bootstrap_servers} --alter"
        f" --entity-type topics --entity-name {owners} --add-config cleanup.policy=compact"
    )
    partitions = told[owners, "partitions"]
    assert (partitions.declared, partitions.found) == ("8", "2")
    assert '"accounting.owners" = 2' in partitions.fix
    assert "make the topic anew" in told[cursors, "partitions"].fix
    assert "[kafka.partitions]" not in told[cursors, "partitions"].fix
    assert told[owners, "replication factor"] == Difference(
        owners, "replication factor", "3", "1", told[owners, "replication factor"].fix
    )
    assert {what for name, what in told if name == owners} == {
        *("partitions", "replication factor", "cleanup.policy", "min.compaction.lag.ms"),
        *("delete.retention.ms", "max.message.bytes", "message.timestamp.type"),
    }


async def test_a_setting_changed_behind_our_back_is_found_at_the_next_start(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    topics = declared_topics(topic_prefix, [])
    await bring_up(connection, topics)
    async with kafka_client(connection, "spoil") as client:  # replaces the whole set
        request = AlterConfigsRequest([(2, f"{topic_prefix}.cursors", [("segment.ms", "1000")])])
        await client.send(client.get_random_node(), request)

    async def told() -> bool:
        return bool(await differences(connection, topics))

    await until(told, 10, "the change")
    with pytest.raises(ExceptionGroup) as caught:
        await require(connection, topics)
    told_each = [str(error) for error in caught.value.exceptions]
    assert all(isinstance(error, Unfit) and error.hint for error in caught.value.exceptions)
    assert any("cleanup.policy is delete, not compact" in each for each in told_each)


async def test_more_replicas_than_brokers_is_told(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    with pytest.raises(Unfit, match="InvalidReplicationFactor"):
        await bring_up(connection, declared_topics(topic_prefix, []), replication=3)


async def test_a_topic_made_anew_has_another_id(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    name = await make_topic(connection, f"{topic_prefix}.anew")
    first = await topic_ids(connection, [name, f"{topic_prefix}.none"])
    assert first.keys() == {name}
    await delete_topic(connection, name)
    await make_topic(connection, name)
    second = await topic_ids(connection, [name])
    assert second.keys() == {name}
    assert first != second


async def test_no_broker_is_unavailable() -> None:
    connection = KafkaConnection(
        bootstrap_servers=f"127.0.0.1:{free_port()}", request_timeout_ms=500
    )
    with pytest.raises(Unavailable):
        await bring_up(connection, declared_topics("any", []))


async def test_k20_a_record_from_long_ago_is_not_old_to_the_topic(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    """Time-based retention would delete the history of 2015 as soon as it is written."""
    topics = declared_topics(topic_prefix, ["accounting.owners"])
    await bring_up(connection, topics)
    began_ms = int(time.time() * 1000)
    producer = AIOKafkaProducer(**connection.client_options())
    await producer.start()
    year_2015_ms = 1_420_070_400_000
    for topic in topics:
        await producer.send_and_wait(topic.name, b"1:", b"key", 0, timestamp_ms=year_2015_ms)
    await producer.stop()
    for topic in topics:
        (record,) = await visible(connection, topic.name)
        assert record.timestamp >= began_ms
