"""The publisher against a real Kafka: what is refused, who is fenced, what a crash leaves behind.

Names follow the rows of the fault matrix (K1 …).
"""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from cdc.kafka.cursor_reader import read_cursors
from cdc.publisher import Publisher, RecordsRefused
from cdc.runtime.errors import BrokenPromise, Doubt, Fenced, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection
from compose.stack.names import REPOSITORY
from compose.stack.process import until
from schemas.envelope import Event
from tests.conftest import Addresses
from tests.held_producer import Held
from tests.kafka_topics import cursor, event, make_topic, numbers, stable_to_the_end, visible

COMPACTED = {"cleanup_policy": "compact"}

Start = Callable[..., Awaitable[Publisher]]


@pytest.fixture
def connection(stack: Addresses) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=stack.kafka_bootstrap_servers)


@pytest.fixture
async def topic(connection: KafkaConnection, topic_prefix: str) -> str:
    return await make_topic(connection, f"{topic_prefix}.events", 2, **COMPACTED)


@pytest.fixture
async def cursors(connection: KafkaConnection, topic_prefix: str) -> str:
    return await make_topic(connection, f"{topic_prefix}.cursors", 2, **COMPACTED)


@pytest.fixture
async def start(connection: KafkaConnection, topic_prefix: str) -> AsyncIterator[Start]:
    """Starts publishers of one source; whatever still lives is abandoned at the end."""
    made: list[Publisher] = []

    async def started(name: str = "source", **options: Any) -> Publisher:
        options = {"connection": connection, **options}
        publisher = Publisher(transactional_id=f"{topic_prefix}.{name}", **options)
        made.append(publisher)
        await publisher.start()
        return publisher

    yield started
    for publisher in made:
        await publisher.abandon()
    assert _client_tasks() == []


def _client_tasks() -> list[asyncio.Task[Any]]:
    """Tasks of a Kafka client that are still alive."""
    return [task for task in asyncio.all_tasks() if "aiokafka" in repr(task.get_coro())]


async def aborted(connection: KafkaConnection, topic: str) -> None:
    """Until no transaction is open, long before its time-out (12 s): somebody ended it.

    The broker answers before it has written the markers.
    """
    await until(lambda: stable_to_the_end(connection, topic), 8, "the end of the transaction")


async def test_events_and_their_cursor_are_there_when_publish_returns(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    publisher = await start()
    await publisher.publish(
        [event(topic, 1), event(topic, 2, partition=1), event(topic, 3)], [cursor(cursors, "at 3")]
    )
    await publisher.close()
    found = await visible(connection, topic)
    assert [(record.key, record.headers) for record in found] == [
        (b"key-1", (("event_id", b"1"),)),
        (b"key-3", (("event_id", b"3"),)),
        (b"key-2", (("event_id", b"2"),)),
    ]
    assert await read_cursors(connection, cursors, 0) == {b"cursor": b"at 3"}


async def test_a_tombstone_has_no_value(
    connection: KafkaConnection, topic: str, start: Start
) -> None:
    publisher = await start()
    await publisher.publish([Event(topic, 0, b"key", None, [])], [])
    assert [record.value for record in await visible(connection, topic)] == [None]


async def test_k14_order_is_kept_over_many_batches_of_a_partition(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    publisher = await start()
    events = [event(topic, number, partition=number % 2, size=400) for number in range(4000)]
    await publisher.publish(events, [cursor(cursors, "all")])
    expected = [*range(0, 4000, 2), *range(1, 4000, 2)]
    assert await numbers(connection, topic) == expected


async def test_k1_a_refused_batch_leaves_nothing_of_its_transaction(
    connection: KafkaConnection, topic_prefix: str, topic: str, cursors: str, start: Start
) -> None:
    """The client itself would commit the rest, cursor included, and call it a success."""
    narrow = await make_topic(connection, f"{topic_prefix}.narrow", max_message_bytes="2000")
    publisher = await start()
    huge = Event(narrow, 0, b"huge", random.Random(1).randbytes(5000), [])
    with pytest.raises(RecordsRefused, match="MessageSizeTooLarge") as refused:
        await publisher.publish([event(topic, 1), huge, event(narrow, 2)], [cursor(cursors, "2")])
    assert [(each.topic, each.partition) for each in refused.value.refusals] == [(narrow, 0)]
    await aborted(connection, topic)
    assert await numbers(connection, topic) == []
    assert await read_cursors(connection, cursors, 0) == {}


async def test_k1_after_a_refusal_the_publisher_is_dead_and_a_new_one_goes_on(
    connection: KafkaConnection, topic_prefix: str, start: Start
) -> None:
    """The old producer's sequence is poisoned: it would lose everything and say "ok"."""
    narrow = await make_topic(connection, f"{topic_prefix}.narrow", max_message_bytes="2000")
    publisher = await start()
    await publisher.publish([event(narrow, 1)], [])
    with pytest.raises(RecordsRefused):
        await publisher.publish([Event(narrow, 0, b"huge", random.randbytes(5000), [])], [])
    with pytest.raises(BrokenPromise):
        await publisher.publish([event(narrow, 2)], [])
    fresh = await start()
    await fresh.publish([event(narrow, 3)], [])
    assert await numbers(connection, narrow) == [1, 3]


async def test_k1_isolating_tells_every_refused_event_and_publishes_nothing(
    connection: KafkaConnection, topic_prefix: str, topic: str, cursors: str, start: Start
) -> None:
    narrow = await make_topic(
        connection, f"{topic_prefix}.narrow", 2, max_message_bytes="4000", **COMPACTED
    )
    events = [event(narrow, number, partition=number % 2) for number in range(300)]
    for number in (0, 7, 8, 150, 299):
        events[number] = Event(narrow, number % 2, b"huge", random.randbytes(5000), [])
    events[40] = events[40]._replace(key=None)  # type: ignore[arg-type]  # compaction needs a key
    events.insert(0, event(topic, 1000))
    publisher = await start()
    with pytest.raises(RecordsRefused) as refused:
        await publisher.publish(events, [cursor(cursors, "end")], isolate=True)
    assert refused.value.indices == (1, 8, 9, 41, 151, 300)
    assert {each.index: each.reason for each in refused.value.refusals}[41] == "InvalidRecord"
    assert await numbers(connection, narrow) == []
    assert await numbers(connection, topic) == []
    assert await read_cursors(connection, cursors, 0) == {}


async def test_k1_isolating_publishes_what_was_only_too_large_together(
    connection: KafkaConnection, topic_prefix: str, cursors: str, start: Start
) -> None:
    narrow = await make_topic(connection, f"{topic_prefix}.narrow", max_message_bytes="3000")
    noise = random.Random(2)
    events = [
        Event(narrow, 0, b"%d" % number, b"%d:" % number + noise.randbytes(900), [])
        for number in range(30)
    ]
    publisher = await start()
    with pytest.raises(RecordsRefused) as refused:
        await publisher.publish(events, [cursor(cursors, "end")])
    assert refused.value.indices == ()
    fresh = await start()
    await fresh.publish(events, [cursor(cursors, "end")], isolate=True)
    await fresh.publish([event(narrow, 30)], [cursor(cursors, "later")])
    assert await numbers(connection, narrow) == list(range(31))
    assert await read_cursors(connection, cursors, 0) == {b"cursor": b"later"}


async def test_k1_a_refused_cursor_is_no_events_fault(
    connection: KafkaConnection, topic_prefix: str, topic: str, start: Start
) -> None:
    narrow = await make_topic(connection, f"{topic_prefix}.cursors", max_message_bytes="1000")
    publisher = await start()
    with pytest.raises(Unfit, match="MessageSizeTooLarge"):
        await publisher.publish(
            [event(topic, 1)], [Event(narrow, 0, b"cursor", random.randbytes(4000), [])]
        )
    assert await numbers(connection, topic) == []


@pytest.mark.parametrize("missing", ["topic", "partition"])
async def test_a_missing_topic_or_partition_is_unfit_and_nothing_is_published(
    connection: KafkaConnection, topic: str, start: Start, missing: str
) -> None:
    name, partition = (f"{topic}.other", 0) if missing == "topic" else (topic, 9)
    publisher = await start(connection=replace(connection, request_timeout_ms=1000))
    with pytest.raises(Unfit):
        await publisher.publish([event(topic, 1), event(name, 2, partition=partition)], [])
    assert await numbers(connection, topic) == []


async def test_k4_the_older_of_two_daemons_is_fenced_and_shows_nothing(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    older = await start()
    await older.publish([event(topic, 1)], [cursor(cursors, "1")])
    newer = await start()
    with pytest.raises(Fenced):
        await older.publish([event(topic, 2)], [cursor(cursors, "2")])
    await newer.publish([event(topic, 3)], [cursor(cursors, "3")])
    assert await numbers(connection, topic) == [1, 3]
    assert await read_cursors(connection, cursors, 0) == {b"cursor": b"3"}


async def test_k4_fenced_in_the_middle_of_a_transaction(
    connection: KafkaConnection, topic: str, start: Start
) -> None:
    held = Held()
    older = await start(make_producer=held.producer)
    publishing = asyncio.create_task(older.publish([event(topic, 1)], []))
    await held.before_commit.wait()
    newer = await start()
    await newer.publish([event(topic, 2)], [])
    held.go.set()
    with pytest.raises(Fenced):
        await publishing
    assert await numbers(connection, topic) == [2]


async def test_k5_a_fenced_publisher_cannot_be_used_again(topic: str, start: Start) -> None:
    older = await start()
    await start()
    with pytest.raises(Fenced):
        await older.publish([event(topic, 1)], [])
    with pytest.raises(BrokenPromise):
        await older.publish([event(topic, 1)], [])
    await older.close()


async def test_k6_a_transaction_that_timed_out_looks_like_fencing(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    held = Held()
    slow = await start(make_producer=held.producer, transaction_timeout_ms=1000)
    publishing = asyncio.create_task(slow.publish([event(topic, 1)], [cursor(cursors, "1")]))
    await held.before_commit.wait()
    await until(lambda: stable_to_the_end(connection, topic), 20, "the broker's abort")
    held.go.set()
    with pytest.raises(Fenced):
        await publishing
    assert await numbers(connection, topic) == []
    assert await read_cursors(connection, cursors, 0) == {}


async def test_k7_what_a_killed_daemon_left_open_is_gone_with_the_next_start(
    connection: KafkaConnection, topic_prefix: str, topic: str, cursors: str, start: Start
) -> None:
    crashing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.held_producer", connection.bootstrap_servers),
        *(f"{topic_prefix}.source", topic, cursors),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert crashing.stdout is not None
    assert await asyncio.wait_for(crashing.stdout.readline(), 30) == b"open\n"
    crashing.send_signal(signal.SIGKILL)
    await crashing.wait()
    assert not await stable_to_the_end(connection, topic)
    publisher = await start("source")  # what was open would stay so for a minute
    assert await read_cursors(connection, cursors, 0) == {}
    await publisher.publish([event(topic, 1)], [cursor(cursors, "1")])
    assert await numbers(connection, topic) == [1]


async def test_k8_a_publish_cancelled_before_its_commit_is_aborted_at_once(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    held = Held()
    publisher = await start(make_producer=held.producer)
    # Held between the events and the cursor, so the transaction is open and not yet committing.
    publishing = asyncio.create_task(publisher.publish([event(topic, 1)], [cursor(cursors, "1")]))
    held.hold_batch_to = cursors
    await held.before_batch.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await publisher.close()
    await aborted(connection, topic)
    assert await numbers(connection, topic) == []


async def test_k13_cancelled_at_any_moment_events_and_cursor_agree(
    connection: KafkaConnection, topic: str, cursors: str, start: Start
) -> None:
    """Events up to the cursor and no others, whenever the cancel comes."""

    async def told() -> int:
        return int((await read_cursors(connection, cursors, 0)).get(b"cursor") or 0)

    async def go_on(cancelled_after: float) -> int:
        """Publishes what comes next; the last that had been published before."""
        publisher, last = await start(), await told()
        events = [event(topic, last + 1), event(topic, last + 1, partition=1)]
        text = str(last + 1)
        publishing = asyncio.create_task(publisher.publish(events, [cursor(cursors, text)]))
        await asyncio.wait({publishing}, timeout=cancelled_after)
        publishing.cancel()
        await asyncio.wait({publishing})
        await publisher.close()
        return last

    chance, seconds, last = random.Random(13), 0.02, 0
    for _ in range(30):  # about half of them in time, however slow the machine is just now
        before, last = last, await go_on(chance.uniform(0, 2 * seconds))
        seconds *= 0.8 if last > before else 1.25
    assert 0 < (published := await told()) < 30  # both ends were met
    assert await numbers(connection, topic) == [*range(1, published + 1)] * 2


async def test_a_publisher_takes_no_second_task(topic: str, start: Start) -> None:
    publisher = await start()
    first = asyncio.create_task(publisher.publish([event(topic, 1)], []))
    await asyncio.sleep(0)
    with pytest.raises(BrokenPromise):
        await publisher.publish([event(topic, 2)], [])
    await first


async def test_closing_ends_a_publish_under_way(
    connection: KafkaConnection, topic: str, start: Start
) -> None:
    held = Held()
    publisher = await start(make_producer=held.producer)
    publishing = asyncio.create_task(publisher.publish([event(topic, 1)], []))
    await held.before_commit.wait()
    await publisher.close()
    with pytest.raises(Doubt, match="closed while publishing"):
        await publishing
    await start()
    assert await numbers(connection, topic) == []


async def test_publish_ends_by_its_deadline(
    connection: KafkaConnection, topic: str, start: Start
) -> None:
    held = Held()
    publisher = await start(make_producer=held.producer, publish_seconds_max=0.5)
    with pytest.raises(Doubt, match=r"0\.5 s"):
        await publisher.publish([event(topic, 1)], [])
    await start()
    assert await numbers(connection, topic) == []


async def test_the_cursor_waits_for_another_sources_open_transaction(
    connection: KafkaConnection, cursors: str, start: Start
) -> None:
    """Two sources on one partition: the own committed cursor lies behind the other's open one."""
    held = Held()
    other = await start("other", make_producer=held.producer)
    blocking = asyncio.create_task(other.publish([], [cursor(cursors, "theirs", key=b"other")]))
    await held.before_commit.wait()
    mine = await start("mine")
    await mine.publish([], [cursor(cursors, "mine")])
    with pytest.raises(Unavailable, match="open"):
        await read_cursors(connection, cursors, 0, still_seconds_max=0.5)
    reading = asyncio.create_task(read_cursors(connection, cursors, 0))
    held.go.set()
    await blocking
    assert await reading == {b"cursor": b"mine", b"other": b"theirs"}


async def test_the_cursor_is_the_last_of_its_key_tombstones_included(
    connection: KafkaConnection, cursors: str, start: Start
) -> None:
    publisher = await start()
    for text in ("1", "2"):
        await publisher.publish([], [cursor(cursors, text), cursor(cursors, text, key=b"b")])
    await publisher.publish([], [Event(cursors, 0, b"b", None, [])])
    assert await read_cursors(connection, cursors, 0) == {b"cursor": b"2", b"b": None}
    assert await read_cursors(connection, cursors, 1) == {}


async def test_the_cursor_of_a_missing_topic_is_unfit(connection: KafkaConnection) -> None:
    with pytest.raises(Unfit, match="does not exist"):
        await read_cursors(connection, "nobody.cursors", 0)
