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

from cdc.runtime import kafka_records
from cdc.runtime.errors import Absent, LedgerError, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import spans
from tests.kafka_network import BROKER, answer, replace_network

CONNECTION = KafkaConnection(bootstrap_servers="broker:9092")
NOBODY = -1
MOVED = NotLeaderForPartitionError.errno
UNHEARD = UnknownTopicOrPartitionError.errno
ELECTING = LeaderNotAvailableError.errno
FORBIDDEN = TopicAuthorizationFailedError.errno


def _next(script: list[int]) -> int:
    return script.pop(0) if len(script) > 1 else script[0]


async def asked(
    monkeypatch: pytest.MonkeyPatch,
    *,
    leaders: Sequence[int] = (BROKER,),
    codes: Sequence[int] = (0,),
    topic_codes: Sequence[int] = (0,),
) -> dict[int, tuple[int, int]]:
    """Of a topic of one partition; the last entry of each script is repeated."""
    led_by, offset_codes, found_codes = [*leaders], [*codes], [*topic_codes]

    def topics() -> dict[str, Any]:
        partitions = [{"partition": 0, "leader": _next(led_by)}]
        code = _next(found_codes)
        return {"topics": [{"error_code": code, "topic": "t", "partitions": partitions}]}

    replace_network(
        monkeypatch,
        {
            "TopicsRequest": lambda: answer(to_object=topics),
            "OffsetRequest": lambda: answer(topics=[("t", [(0, _next(offset_codes), -1, 7)])]),
        },
    )
    monkeypatch.setattr(kafka_records, "LEADER_RETRY_SECONDS", 0.0)
    return await spans(CONNECTION, "t")


@pytest.mark.parametrize("code", [MOVED, UNHEARD, ELECTING])
async def test_a_leader_that_says_no_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert await asked(monkeypatch, codes=[code, 0, code, 0, 0]) == {0: (7, 7)}


async def test_a_partition_without_a_leader_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await asked(monkeypatch, leaders=[NOBODY, NOBODY, BROKER]) == {0: (7, 7)}
    assert await asked(monkeypatch, topic_codes=[ELECTING, 0]) == {0: (7, 7)}


async def test_a_partition_that_gets_no_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_records, "LEADER_SECONDS_MAX", 0.05)
    with pytest.raises(Unavailable, match="NotLeader"):
        await asked(monkeypatch, codes=[MOVED])
    with pytest.raises(Unavailable, match="UnknownTopic"):
        await asked(monkeypatch, codes=[UNHEARD])


@pytest.mark.parametrize(
    ("fault", "kind"), [({"topic_codes": [UNHEARD]}, Absent), ({"codes": [FORBIDDEN, 0]}, Unfit)]
)
async def test_what_waiting_does_not_mend_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, list[int]], kind: type[LedgerError]
) -> None:
    with pytest.raises(kind):
        await asked(monkeypatch, **fault)
