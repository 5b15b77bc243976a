"""What the pipeline needs of Kafka, as one passed-in object: tests can put another there."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from schemas.envelope import Event


class Record(Protocol):
    """A record as it was read back: raw key and value."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class TransactionalPublisher(Protocol):
    """See ``cdc.publisher.Publisher``."""

    async def start(self) -> None: ...

    async def publish(
        self, events: Sequence[Event], cursors: Sequence[Event], *, isolate: bool = False
    ) -> None: ...

    async def close(self) -> None: ...


class Broker(Protocol):
    """The topics of one source, and a producer for them."""

    def publisher(self) -> TransactionalPublisher:
        """A new one; its ``start`` fences every older one of this source."""

    async def cursors(self) -> dict[bytes, bytes | None]:
        """The last record of every key on this source's cursor partition. Only after a fence."""

    async def topic_ids(self, names: Sequence[str]) -> dict[str, str]:
        """The ids of topics; raises ``Unfit`` naming those that are missing."""

    async def spans(self, topic: str) -> list[tuple[int, int]]:
        """First and next offset of each partition."""

    def records(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Record]]:
        """Committed records of the partition in order, from ``start`` up to ``end``."""
