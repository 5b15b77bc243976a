"""The Kafka side of a consumer: group membership, positions, polls.

Positions come from Postgres alone (``place``). From a rebalance, or any doubt, until then nothing
is handed out: partitions are paused in the first line of the callback, and what a poll brought
under an older assignment is dropped.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from cdc.runtime.errors import Unavailable, Unfit
from cdc.runtime.kafka import bounded, started
from cdc.runtime.kafka_abandon import abandon
from cdc.runtime.kafka_errors import mapped
from cdc.runtime.kafka_records import Record
from consumers.lean import keep_lean
from consumers.rows import Place
from consumers.settings import ConsumerSettings

STAY_SECONDS_MAX = 0.2
FAILURES_MAX = 3
"""Polls that may fail in a row before the group is joined anew."""
MEASURE_SECONDS_MAX = 2.0


class Polled(NamedTuple):
    """Records by partition, and for each partition the step its position made."""

    records: dict[Place, Sequence[Record]]
    steps: dict[Place, tuple[int, int]]


class Feed:
    """One member of the target's group. ``make_consumer`` gives an ``AIOKafkaConsumer``."""

    def __init__(self, settings: ConsumerSettings, make_consumer: Callable[..., Any]) -> None:
        self.positioned = False
        """Whether the positions are those of the offset rows."""
        self.generation = 0
        """Grows whenever positions are lost."""
        self.lost = asyncio.Event()
        """Set while they are not."""
        self.refused = False
        """Whether the broker has no record where a position stood."""
        self.failures = 0
        """Polls that failed since the last that did not."""
        self._settings = settings
        self._make_consumer = make_consumer
        self._consumer: Any = None
        self._read_to: dict[Place, int] = {}
        self._behind: dict[Place, int] = {}
        self._condemned = ""
        self._placed_ms = 0.0

    @property
    def open(self) -> bool:
        return self._consumer is not None

    async def start(self) -> None:
        """Joins the group; partitions come later. Raises ``Unavailable`` or ``Unfit``."""
        settings, limits = self._settings, self._settings.limits
        consumer = self._make_consumer(
            **settings.kafka.client_options(),
            group_id=settings.group,
            group_instance_id=settings.instance,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=limits.fetch_bytes_max,
            max_partition_fetch_bytes=limits.partition_fetch_bytes_max,
            fetch_max_wait_ms=limits.fetch_wait_ms,
            consumer_timeout_ms=limits.poll_wait_ms,
            session_timeout_ms=limits.session_timeout_ms,
            heartbeat_interval_ms=limits.heartbeat_ms,
            rebalance_timeout_ms=limits.rebalance_timeout_ms,
            metadata_max_age_ms=limits.metadata_age_ms,
        )
        await started(consumer, settings.kafka, f"join group {settings.group}")
        keep_lean(consumer)
        self._condemned = ""
        consumer.subscribe(list(settings.topics), listener=_Listener(self))
        self._consumer = consumer

    async def stop(self) -> None:
        """Leaves the group. Safe before ``start`` and twice."""
        consumer, self._consumer = self._consumer, None
        self.lose()
        if consumer is not None and not await bounded(consumer.stop()):
            await abandon(consumer)

    def assigned(self) -> set[Place]:
        """The partitions this member has."""
        if self._consumer is None:
            return set()
        return {Place(each.topic, each.partition) for each in self._consumer.assignment()}

    def lose(self) -> None:
        """Forgets all positions and holds every partition."""
        self.positioned = False
        self.lost.set()
        self.generation += 1
        self._read_to.clear()
        if self._consumer is not None:
            held = self._consumer.assignment()
            if held:
                self._consumer.pause(*held)

    def place(self, positions: Mapping[Place, int], generation: int) -> None:
        """Goes on from there, unless positions were lost again since ``generation``."""
        if generation != self.generation or positions.keys() != self.assigned():
            return
        for place, offset in positions.items():
            self._consumer.seek(TopicPartition(*place), offset)
        for place in positions:
            self._consumer.resume(TopicPartition(*place))
        self._read_to = dict(positions)
        self._placed_ms = time.time() * 1000
        self.positioned = True
        self.refused = False
        self.lost.clear()

    async def spans(self, places: set[Place]) -> dict[Place, tuple[int, int]]:
        """First offset and end of what is committed; ``Unavailable`` also outside the group."""
        consumer = self._consumer  # of one membership, which may end while it is asked
        if consumer is None:
            raise Unavailable("the group is left", operation="ask offsets")
        partitions = [TopicPartition(*place) for place in places]
        try:
            starts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        except (KafkaError, OSError, TimeoutError) as error:
            raise mapped(error, "ask offsets") from error
        return {Place(*each): (starts[each], ends[each]) for each in partitions}

    def check_partitions(self) -> None:
        """Raises ``Unfit`` where a topic has another count than is declared."""
        for topic, declared in self._settings.topics.items():
            there = self._consumer.partitions_for_topic(topic)
            if there is not None and len(there) != declared:
                raise Unfit(
                    f"has {len(there)} partitions, {declared} are declared",
                    operation="consume",
                    subject=topic,
                    hint="`cdc topics` tells; keys cannot move to another partition",
                )

    async def poll(self, wait_ms: int, events_max: int) -> Polled:
        """What has come; nothing while positions are lost.

        Whoever cancels it must place the partitions anew: it may have moved them unseen.
        """
        generation = self.generation
        if self._condemned:
            fault, self._condemned = self._condemned, ""
            self.lose()
            self.failures = FAILURES_MAX
            raise Unavailable(fault, operation="poll")
        try:
            found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=events_max)
            self.failures = 0
            if not self.positioned or generation != self.generation:
                return Polled({}, {})
            return Polled(
                {Place(*each): records for each, records in found.items()},
                await self._steps({Place(*each) for each in found} or set(self._read_to)),
            )
        except IllegalStateError:  # the assignment changed under us
            self.lose()
            return Polled({}, {})
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(error, NoOffsetForPartitionError) and not self.positioned:
                return Polled({}, {})
            self.lose()
            self.failures += 1
            self.refused = isinstance(error, OffsetOutOfRangeError)
            reason = mapped(error, "poll")
            if isinstance(reason, Unfit):
                raise reason from error
            raise Unavailable(reason.message, operation="poll") from error

    def stand(self) -> dict[Place, tuple[int, int]]:
        """A step on the spot for every partition."""
        return {place: (offset, offset) for place, offset in self._read_to.items()}

    async def stay(self) -> None:
        """Keeps the membership alive while nothing is to be read."""
        if self._consumer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STAY_SECONDS_MAX):
                    await self._consumer.getmany(timeout_ms=0, max_records=1)

    async def _steps(self, places: set[Place]) -> dict[Place, tuple[int, int]]:
        """Not to the last record's offset + 1: markers and aborted records move on too."""
        steps = {}
        for place in places:
            before = self._read_to[place]
            after = await self._consumer.position(TopicPartition(*place))
            if after != before:
                steps[place] = (before, after)
                self._read_to[place] = after
        return steps

    async def measure(self, ends: dict[Place, int | None]) -> None:
        """Brings ``ends``, the stable ends of the assigned partitions, up to date; None: unknown.

        While polls go on the fetches tell; else Kafka is asked.
        """
        places = self.assigned()
        for place in ends.keys() - places:
            del ends[place]
        asked = {}
        if places and not self.positioned:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(MEASURE_SECONDS_MAX):
                    asked = await self._consumer.end_offsets([TopicPartition(*p) for p in places])
        for place in places & self.assigned():
            partition = TopicPartition(*place)
            seen = asked.get(partition, self._consumer.last_stable_offset(partition))
            ends[place] = seen if seen is not None and seen >= 0 else ends.get(place)

    def silent_seconds(self, now: float) -> float:
        """Since when no broker has answered; ``now``: seconds since 1970."""
        heard = [self._consumer.last_poll_timestamp(TopicPartition(*p)) for p in self._read_to]
        last = max([self._placed_ms, *(each for each in heard if each is not None)])
        return max(0.0, now - last / 1000) if heard else 0.0

    async def look_after(self) -> None:
        """Notices a client that has stopped reading: what waited at the last look still does.

        The next poll then fails, and the group is joined anew. Asked while nothing is read.
        """
        places = dict(self._read_to)
        if not places:
            return
        found = await self.spans(set(places))
        behind = {
            place: read_to
            for place, read_to in places.items()
            if found[place][1] > read_to == self._read_to.get(place)
        }
        stuck = [place for place, read_to in behind.items() if self._behind.get(place) == read_to]
        self._behind = behind
        if stuck:
            self._behind = {}
            self.condemn(f"records wait and are not read: {stuck[0].topic}")

    def condemn(self, fault: str) -> None:
        """The next poll fails of it, and the group is joined anew by another client."""
        self._condemned = fault

    async def tell_kafka(self, offsets: Mapping[Place, int]) -> None:
        """Kafka's own offsets, for lag tools only: a failure is of no consequence."""
        if self._consumer is not None and offsets:
            told = {
                TopicPartition(*place): OffsetAndMetadata(offset, "")
                for place, offset in offsets.items()
                if TopicPartition(*place) in self._consumer.assignment()
            }
            await bounded(self._consumer.commit(told))


class _Listener(ConsumerRebalanceListener):
    """No promises are kept here, only positions forgotten: all the rest is Postgres' word."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._feed.lose()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._feed.lose()
