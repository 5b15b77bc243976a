"""Answers of a broker that starts, moves or is none: waited out, and told as what they are."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import LeaderNotAvailableError, RequestTimedOutError

from cdc.kafka.ownership import Ownership
from cdc.publisher import Publisher
from cdc.runtime import kafka_hanging
from cdc.runtime.errors import Doubt, Fenced, LedgerError, SettingsError, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_admin import describe_topics
from cdc.runtime.kafka_hanging import Outcome, last_outcome, open_partitions
from schemas.envelope import Event
from tests.kafka_network import Answers, answer, led, replace_network

CONNECTION = KafkaConnection(bootstrap_servers="broker:9092")
UNKNOWN, TIMED_OUT, LOADING, NO_LEADER, FORBIDDEN = -1, 7, 14, 6, 29
INVALID_EPOCH, INVALID_PRODUCER, FENCED_INSTANCE, NO_SUCH_ID = 47, 49, 82, 105
OURS = 7


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.kafka.ownership.RETRY_SECONDS", 0.0)
    monkeypatch.setattr(kafka_hanging, "RETRY_SECONDS", 0.0)


def once(code: int) -> Callable[[], int]:
    """The code at the first call, none later."""
    codes = [code]
    return lambda: codes.pop() if codes else 0


def group(bad_request: str, code: int) -> Answers:
    """A group's coordinator: the first request of that name is answered with the code."""
    bad = once(code)

    def code_of(name: str) -> int:
        return bad() if name == bad_request else 0

    mine = ConsumerProtocolMemberAssignment(0, [("cursors", [0])], b"").encode()
    return {
        "JoinGroupRequest": lambda: answer(
            error_code=code_of("JoinGroupRequest"),
            member_id="me",
            generation_id=1,
            group_protocol="ledger-source",
            leader_id="another",
            members=[],
            API_VERSION=5,
        ),
        "SyncGroupRequest": lambda: answer(
            error_code=code_of("SyncGroupRequest"), member_assignment=mine
        ),
        "HeartbeatRequest": lambda: answer(error_code=code_of("HeartbeatRequest")),
        "OffsetFetchRequest": lambda: answer(topics=[("cursors", [(0, -1, "", 0)])]),
        "LeaveGroupRequest": lambda: answer(error_code=0),
    }


@asynccontextmanager
async def member(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> AsyncIterator[Ownership]:
    replace_network(monkeypatch, answers, metadata=lambda: {"cursors": led("cursors")})
    ownership = Ownership(
        CONNECTION, group="g", topic="cursors", partition=0, instance="me", session_timeout_ms=300
    )
    await ownership.start()
    try:
        yield ownership
    finally:
        await ownership.stop()


async def lost(ownership: Ownership) -> None:
    """Until the membership raises; a heartbeat is asked only of a member."""
    while True:
        await ownership.wait_owned()
        await ownership.wait_lost()


@pytest.mark.parametrize(
    ("request_name", "code"),
    [
        ("JoinGroupRequest", UNKNOWN),
        ("SyncGroupRequest", UNKNOWN),
        ("SyncGroupRequest", LOADING),
        ("HeartbeatRequest", UNKNOWN),
        ("HeartbeatRequest", LOADING),
    ],
)
async def test_a_membership_that_ends_of_an_odd_answer_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, request_name: str, code: int
) -> None:
    """The library raises a bare ``KafkaError`` for it, which ended the daemon."""
    async with member(monkeypatch, group(request_name, code)) as ownership:
        with pytest.raises(Unavailable, match="join group g"):
            await lost(ownership)
        await ownership.wait_owned()


@pytest.mark.parametrize("request_name", ["JoinGroupRequest", "HeartbeatRequest"])
async def test_two_processes_with_one_name_do_not_take_a_source_from_each_other_for_ever(
    monkeypatch: pytest.MonkeyPatch, request_name: str
) -> None:
    async with member(monkeypatch, group(request_name, FENCED_INSTANCE)) as ownership:
        with pytest.raises(SettingsError, match="another process has the instance name 'me'"):
            await lost(ownership)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(INVALID_EPOCH, Fenced), (INVALID_PRODUCER, Doubt), (UNKNOWN, Doubt), (FORBIDDEN, Unfit)],
)
async def test_a_client_that_died_while_a_topic_was_looked_for_tells_of_what(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[LedgerError]
) -> None:
    """The cursor's partition is refused while the events' topic is not known yet."""
    refused: list[int] = []

    def refuse() -> Any:
        refused.append(code)
        return answer(API_KEY=24, errors=[("cursors", [(0, code)])])

    replace_network(
        monkeypatch,
        {
            "InitProducerIdRequest": lambda: answer(
                API_KEY=22, error_code=0, producer_id=OURS, producer_epoch=1
            ),
            "AddPartitionsToTxnRequest": refuse,
            "DescribeTransactions": lambda: answer(
                API_KEY=65, transactions=[(NO_SUCH_ID, "x", "", 0, 0, 0, 0, [])]
            ),
        },
        metadata=lambda: {"cursors": led("cursors")} | ({"t": led("t")} if refused else {}),
    )
    publisher = Publisher(CONNECTION, transactional_id="x")
    await publisher.start()
    with pytest.raises(kind):
        await publisher.publish(
            [Event("t", 0, b"k", b"v", [])], [Event("cursors", 0, b"", b"", [])]
        )


def producers(code: int, *ids: int) -> Any:
    return answer(
        topics=[("t", [(0, code, None, [(each, 0, 0, 0, 0, 5) for each in ids], {})], {})]
    )


@pytest.mark.parametrize("missing", ["leader", "answer"])
async def test_an_open_transaction_is_not_passed_over_while_leaders_move(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Passed over, it hung for ever: the fence had made the broker forget its outcome."""
    led_by = iter([-1, 0] if missing == "leader" else [0, 0])
    code = once(NO_LEADER if missing == "answer" else 0)
    replace_network(
        monkeypatch,
        {"DescribeProducers": lambda: producers(code(), OURS)},
        metadata=lambda: {"t": led("t", next(led_by))},
    )
    client = AIOKafkaClient()
    assert [tuple(each) for each in await open_partitions(client, ["t"], OURS)] == [("t", 0)]


async def test_a_partition_that_gets_no_leader_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_hanging, "LEADER_SECONDS_MAX", 0.05)
    replace_network(monkeypatch, {}, metadata=lambda: {"t": led("t", -1)})
    with pytest.raises(LeaderNotAvailableError, match="t:0"):
        await open_partitions(AIOKafkaClient(), ["t"], OURS)


async def test_where_we_have_no_right_to_look_nothing_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_network(
        monkeypatch,
        {"DescribeProducers": lambda: producers(FORBIDDEN)},
        metadata=lambda: {"t": led("t")},
    )
    assert await open_partitions(AIOKafkaClient(), ["t", "missing"], OURS) == []


async def test_an_outcome_is_unknown_only_where_the_broker_has_or_tells_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = iter([LOADING, NO_SUCH_ID, TIMED_OUT])
    replace_network(
        monkeypatch,
        {
            "DescribeTransactions": lambda: answer(
                transactions=[(next(codes), "x", "", 0, 0, 0, 0, [])]
            )
        },
    )
    client = AIOKafkaClient()
    assert await last_outcome(client, "x") is Outcome.UNKNOWN
    with pytest.raises(RequestTimedOutError):
        await last_outcome(client, "x")


async def test_a_topic_without_partitions_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = {"error_code": 0, "topic": "t", "partitions": []}
    replace_network(
        monkeypatch, {"TopicsRequest": lambda: answer(to_object=lambda: {"topics": [topic]})}
    )
    with pytest.raises(Unavailable, match="no partition"):
        await describe_topics(CONNECTION, ["t"])
