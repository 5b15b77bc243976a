"""Transactions that a broker has decided and then forgotten to end in some partitions.

Apache Kafka 4.3.1 does this: killed within milliseconds of a commit and started again, a broker
that is the only replica drops the commit markers it still owes ("these partitions are likely
deleted already"). The records stay invisible, and so does everything after them, for ever. Whoever
owns the transactional id can mend it: ask what was decided, fence, and end the rest the same way.
"""

import asyncio
import time
from collections.abc import Iterable
from enum import Enum
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    LeaderNotAvailableError,
    NotCoordinatorError,
    StaleMetadata,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.structs import TopicPartition

from cdc.runtime.kafka_errors import LEADER_SECONDS_MAX, NO_LEADER_YET
from cdc.runtime.kafka_transactions import DescribeProducers, DescribeTransactions

RETRY_SECONDS = 0.05

_NOT_OPEN = -1
_NOT_YET = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
_TRANSACTIONAL_ID_NOT_FOUND = 105
_UNTOLD = (0, _TRANSACTIONAL_ID_NOT_FOUND, TransactionalIdAuthorizationFailed.errno)


class Outcome(Enum):
    """What became, or by the fence becomes, of the last transaction of an id."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


_OUTCOMES = {
    "PrepareCommit": Outcome.COMMITTED,
    "CompleteCommit": Outcome.COMMITTED,
    "PrepareAbort": Outcome.ABORTED,
    "CompleteAbort": Outcome.ABORTED,
    "PrepareEpochFence": Outcome.ABORTED,
    "Ongoing": Outcome.ABORTED,
}


async def last_outcome(client: AIOKafkaClient, transactional_id: str) -> Outcome:
    """To be asked before the fence, which makes the broker forget it. Waits for a coordinator.

    Raises what the broker answers instead of the state, unless it has or may tell none.
    """
    while True:
        try:
            node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
            answer: Any = await client.send(
                node, DescribeTransactions(transactional_id), group=ConnectionGroup.COORDINATION
            )
            code, _, state, *_ = answer.transactions[0]
        except _NOT_YET:
            code = _NOT_YET[0].errno
        if code in _UNTOLD:
            return _OUTCOMES.get(state, Outcome.UNKNOWN)
        if for_code(code) not in _NOT_YET:
            raise for_code(code)("the last transaction's state")
        await asyncio.sleep(RETRY_SECONDS)


async def open_partitions(
    client: AIOKafkaClient, topics: Iterable[str], producer_id: int
) -> list[TopicPartition]:
    """Where a transaction of the producer is open, as far as we have the right to know.

    Asks again while the cluster does not tell who leads a partition: to pass one over is to leave
    it hanging. After ``LEADER_SECONDS_MAX`` it raises why. Topics that do not exist are passed
    over.
    """
    names = frozenset(topics)
    ends = time.monotonic() + LEADER_SECONDS_MAX
    told = await client.set_topics(names)
    while True:
        try:
            if not told:
                raise StaleMetadata("no broker tells who leads the topics' partitions")
            return await _open_partitions(client, names, producer_id)
        except (StaleMetadata, *NO_LEADER_YET):
            if time.monotonic() > ends:
                raise
        await asyncio.sleep(RETRY_SECONDS)
        told = await client.force_metadata_update()


async def _open_partitions(
    client: AIOKafkaClient, topics: Iterable[str], producer_id: int
) -> list[TopicPartition]:
    by_leader: dict[int, dict[str, list[int]]] = {}
    for topic in topics:
        for partition in client.cluster.partitions_for_topic(topic) or ():
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is None or leader < 0:
                raise LeaderNotAvailableError(f"{topic}:{partition}")
            by_leader.setdefault(leader, {}).setdefault(topic, []).append(partition)
    found = []
    for leader, partitions in by_leader.items():
        answer: Any = await client.send(leader, DescribeProducers(partitions))
        for topic, answers, _ in answer.topics:
            for partition, code, _, producers, _ in answers:
                if code not in (0, TopicAuthorizationFailedError.errno):
                    raise for_code(code)(f"{topic}:{partition}")
                if any(each[0] == producer_id and each[5] != _NOT_OPEN for each in producers):
                    found.append(TopicPartition(topic, partition))
    return found


async def end_there(producer: Any, partitions: Iterable[TopicPartition], outcome: Outcome) -> None:
    """A transaction without records whose end is written to the partitions."""
    await producer.begin_transaction()
    for where in partitions:
        producer._txn_manager.maybe_add_partition_to_txn(where)
    if outcome is Outcome.COMMITTED:
        await producer.commit_transaction()
    else:
        await producer.abort_transaction()
