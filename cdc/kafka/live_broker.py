"""The broker of one source (``cdc.kafka.broker.Broker``) on a real Kafka."""

from collections.abc import AsyncIterator, Iterable, Sequence

from cdc.kafka.cursor_reader import read_cursors
from cdc.publisher import Publisher
from cdc.runtime import kafka, kafka_records
from cdc.runtime.errors import Unfit
from cdc.runtime.kafka import KafkaConnection
from schemas.topics import (
    cursor_partition,
    cursors_topic,
    dead_letters_topic,
    transactional_id,
)


class KafkaBroker:
    """``topics``: those the source publishes to."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        prefix: str,
        book: str,
        source: str,
        topics: Iterable[str],
    ) -> None:
        self._connection = connection
        self._transactional_id = transactional_id(prefix, book, source)
        self._cursors = cursors_topic(prefix).name
        self._partition = cursor_partition(book, source)
        self._topics = (*topics, dead_letters_topic(prefix).name, self._cursors)

    def publisher(self) -> Publisher:
        """A new one; its ``start`` fences every older one of this source."""
        return Publisher(
            self._connection, transactional_id=self._transactional_id, topics=self._topics
        )

    async def cursors(self) -> dict[bytes, bytes | None]:
        """The last record of every key on this source's cursor partition. Only after a fence."""
        return await read_cursors(self._connection, self._cursors, self._partition)

    async def topic_ids(self, names: Sequence[str]) -> dict[str, str]:
        """The ids of topics; raises ``Unfit`` naming those that are missing."""
        found = await kafka.topic_ids(self._connection, names)
        missing = sorted(set(names) - found.keys())
        if missing:
            raise Unfit(
                f"{', '.join(missing)} not there",
                operation="ask topic ids",
                hint="run `cdc topics`",
            )
        return found

    async def spans(self, topic: str) -> list[tuple[int, int]]:
        """First and next offset of each partition."""
        found = await kafka_records.spans(self._connection, topic)
        return [found[partition] for partition in sorted(found)]

    def records(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[kafka_records.Record]]:
        """Committed records of the partition in order, from ``start`` up to ``end``."""
        return kafka_records.records(self._connection, topic, partition, start, end)
