"""Reading a stretch of a partition once, from one offset to another: cursors, scans, replays.

Only committed records are seen, in order. The end of a stretch is asked for regardless of open
transactions (an own record may lie behind somebody else's open one), so reading may wait for them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    NoOffsetForPartitionError,
    for_code,
)
from aiokafka.protocol.offset import OffsetRequest

from cdc.runtime.errors import Absent, Unavailable
from cdc.runtime.kafka import KafkaConnection, ended, kafka_client, started
from cdc.runtime.kafka_errors import LEADER_SECONDS_MAX, NO_LEADER_YET, code_name, mapped
from cdc.runtime.kafka_metadata import TopicsRequest

POLL_MS = 20
"""Where only aborted records are left, a poll brings nothing and takes all of its time."""
RECORDS_MAX = 500
FETCH_BYTES = 4 * 1024 * 1024
STILL_SECONDS_MAX = 30.0
"""An open transaction ends at the latest by its time-out (12 s) and the broker's scan (10 s)."""
LEADER_RETRY_SECONDS = 0.05

_EARLIEST, _LATEST = -2, -1
_ANY_REPLICA, _READ_UNCOMMITTED = -1, 0


class Record(Protocol):
    """A record as it lies on a topic."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


async def spans(
    connection: KafkaConnection, topic: str, partitions: Iterable[int] | None = None
) -> dict[int, tuple[int, int]]:
    """First offset and next offset to be written, by partition (None: all of the topic).

    Raises ``Absent`` where the topic or a partition does not exist, ``Unavailable`` where a
    partition has no leader for ``LEADER_SECONDS_MAX``.
    """
    wanted = None if partitions is None else sorted(partitions)
    async with kafka_client(connection, f"ask offsets of {topic}") as client:
        ends = time.monotonic() + LEADER_SECONDS_MAX
        while True:
            try:
                return await _spans(client, topic, wanted)
            except NO_LEADER_YET as error:
                if time.monotonic() > ends:
                    reason = mapped(error, "ask offsets").message
                    raise Unavailable(reason, operation="ask offsets", subject=topic) from error
                await asyncio.sleep(LEADER_RETRY_SECONDS)


async def _spans(
    client: AIOKafkaClient, topic: str, partitions: Sequence[int] | None
) -> dict[int, tuple[int, int]]:
    leaders = await _leaders(client, topic)
    wanted = sorted(leaders) if partitions is None else partitions
    if not leaders or not set(wanted) <= leaders.keys():
        raise Absent(
            f"has partitions {sorted(leaders)}, not {wanted}" if leaders else "does not exist",
            operation="ask offsets",
            subject=topic,
        )
    asked = {partition: leaders[partition] for partition in wanted}
    starts = await _offsets(client, topic, asked, _EARLIEST)
    ends = await _offsets(client, topic, asked, _LATEST)
    return {partition: (starts[partition], ends[partition]) for partition in wanted}


async def records(
    connection: KafkaConnection,
    topic: str,
    partition: int,
    start: int,
    end: int,
    *,
    still_seconds_max: float = STILL_SECONDS_MAX,
) -> AsyncIterator[Sequence[Record]]:
    """The committed records from offset ``start`` up to and without ``end``, in lists.

    Raises ``Gap`` where ``start`` is no longer there, ``Unavailable`` where nothing moves for
    ``still_seconds_max`` (the broker is gone, or a transaction stays open).
    """
    if start >= end:
        return
    operation = f"read {topic}:{partition}"
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    consumer.assign([where])
    await started(consumer, connection, operation)
    try:
        consumer.seek(where, start)
        position, moved_at = start, time.monotonic()
        while position < end:
            batch = await _batch(consumer, where, position, operation)
            if batch and batch[-1].offset >= end:
                batch = [record for record in batch if record.offset < end]
            if batch:
                yield batch
            # Not the last record's offset + 1: markers and aborted records move it too.
            reached = await consumer.position(where)
            if reached > position:
                position, moved_at = reached, time.monotonic()
            elif time.monotonic() - moved_at > still_seconds_max:
                raise Unavailable(
                    f"stands at {position} of {end}: the broker is gone or a transaction is open",
                    operation=operation,
                )
    finally:
        await ended(consumer)


async def _batch(
    consumer: AIOKafkaConsumer, where: TopicPartition, position: int, operation: str
) -> Sequence[Record]:
    try:
        found = await consumer.getmany(where, timeout_ms=POLL_MS, max_records=RECORDS_MAX)
    except NoOffsetForPartitionError:  # looked for before the seek took effect
        consumer.seek(where, position)
        return []
    except (KafkaError, OSError) as error:
        raise mapped(error, operation) from error
    batch: Sequence[Record] = found.get(where, [])
    return batch


async def _leaders(client: AIOKafkaClient, topic: str) -> dict[int, int]:
    """The leader of each partition; none for a topic that does not exist (and is not made)."""
    answer: Any = await client.send(client.get_random_node(), TopicsRequest([topic]))
    (found,) = answer.to_object()["topics"]
    if code_name(found["error_code"]) == "UnknownTopicOrPartition":
        return {}
    if found["error_code"]:
        raise for_code(found["error_code"])(topic)
    return {partition["partition"]: partition["leader"] for partition in found["partitions"]}


async def _offsets(
    client: AIOKafkaClient, topic: str, leaders: Mapping[int, int], at: int
) -> dict[int, int]:
    by_leader: dict[int, list[tuple[int, int]]] = {}
    for partition, leader in leaders.items():
        if leader < 0:
            raise LeaderNotAvailableError(f"{topic}:{partition}")
        by_leader.setdefault(leader, []).append((partition, at))
    found: dict[int, int] = {}
    for leader, asked in by_leader.items():
        request = OffsetRequest(_ANY_REPLICA, _READ_UNCOMMITTED, [(topic, asked)])
        answer: Any = await client.send(leader, request)
        for _, answers in answer.topics:
            for partition, code, *_, offset in answers:
                if code:
                    raise for_code(code)(f"{topic}:{partition}")
                found[partition] = offset
    return found
