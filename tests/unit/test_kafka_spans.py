"""Offsets are asked again while a partition's leader is not known, not led, or not yet at it."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import (
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.offset import OffsetRequest

from cdc.runtime import kafka_records
from cdc.runtime.errors import Absent, LedgerError, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import spans

CONNECTION = KafkaConnection(bootstrap_servers="broker:9092")
LEADER, NOBODY = 1, -1
MOVED = NotLeaderForPartitionError.errno
UNHEARD = UnknownTopicOrPartitionError.errno
ELECTING = LeaderNotAvailableError.errno
FORBIDDEN = TopicAuthorizationFailedError.errno


class Answer:
    def __init__(self, topics: Sequence[Any]) -> None:
        self.topics = topics

    def to_object(self) -> dict[str, Any]:
        return {"topics": self.topics}


class Cluster:
    """A topic of one partition; each script's last entry is repeated."""

    def __init__(self, leaders: list[int], codes: list[int], topic_codes: list[int]) -> None:
        self._leaders, self._codes, self._topic_codes = leaders, codes, topic_codes

    def get_random_node(self) -> int:
        return LEADER

    def brokers(self) -> list[int]:
        return [LEADER]

    async def send(self, node: int, request: Any) -> Answer:
        assert node == LEADER
        if isinstance(request, OffsetRequest):
            return Answer([("t", [(0, _next(self._codes), -1, 7)])])
        found = {
            "error_code": _next(self._topic_codes),
            "topic": "t",
            "partitions": [{"partition": 0, "leader": _next(self._leaders)}],
        }
        return Answer([found])


def _next(script: list[int]) -> int:
    return script.pop(0) if len(script) > 1 else script[0]


async def asked(
    monkeypatch: pytest.MonkeyPatch,
    *,
    leaders: Sequence[int] = (LEADER,),
    codes: Sequence[int] = (0,),
    topic_codes: Sequence[int] = (0,),
) -> dict[int, tuple[int, int]]:
    cluster = Cluster([*leaders], [*codes], [*topic_codes])

    class Client:
        def __init__(self, **_: Any) -> None:
            self.send, self.get_random_node = cluster.send, cluster.get_random_node
            self.cluster = cluster

        async def bootstrap(self) -> None: ...
        async def close(self) -> None: ...

    monkeypatch.setattr("cdc.runtime.kafka.AIOKafkaClient", Client)
    monkeypatch.setattr(kafka_records, "LEADER_RETRY_SECONDS", 0.0)
    return await spans(CONNECTION, "t")


@pytest.mark.parametrize("code", [MOVED, UNHEARD, ELECTING])
async def test_a_leader_that_says_no_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert await asked(monkeypatch, codes=[code, 0, code, 0, 0]) == {0: (7, 7)}


async def test_a_partition_without_a_leader_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await asked(monkeypatch, leaders=[NOBODY, NOBODY, LEADER]) == {0: (7, 7)}
    assert await asked(monkeypatch, topic_codes=[ELECTING, 0]) == {0: (7, 7)}


async def test_a_partition_that_gets_no_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_records, "LEADER_SECONDS_MAX", 0.05)
    with pytest.raises(Unavailable, match="NotLeader"):
        await asked(monkeypatch, codes=[MOVED])


@pytest.mark.parametrize(
    ("fault", "kind"), [({"topic_codes": [UNHEARD]}, Absent), ({"codes": [FORBIDDEN, 0]}, Unfit)]
)
async def test_what_waiting_does_not_mend_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, list[int]], kind: type[LedgerError]
) -> None:
    with pytest.raises(kind):
        await asked(monkeypatch, **fault)
