"""Deletes at the end of a whole read: rows live on our topics that the source no longer has.

A row that the read met was published by it, so its last version is not below the first page's
time; what is live with a lower one is missing at the source. Two exceptions are never deleted:
ids that were met and could not be mapped, and keys that the stream brings while we look.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cdc.cursors import CollectionRead
from cdc.kafka.broker import Broker
from cdc.kafka.own_rows import own_rows
from schemas.envelope import decode_key
from schemas.version import pack

MASS_DELETE_ROWS = 1000
MASS_DELETE_RATIO = 0.2
"""A whole read that would delete more than both of a mapping's rows asks a person."""

DELETES_BATCH = 1000


class Missing(NamedTuple):
    """A live key that the whole read did not meet."""

    topic: str
    key: bytes
    row_id: str
    mapping: str
    version: bytes


@dataclass(slots=True)
class Tally:
    """Per mapping: how many rows are live, how many of these are missing."""

    live: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)

    def too_many(self) -> str:
        """What would be deleted beyond the limits, in words; empty: nothing beyond."""
        found = [
            f"{name}: would delete {count} of {self.live[name]}"
            for name, count in self.missing.items()
            if count > MASS_DELETE_ROWS and count > MASS_DELETE_RATIO * self.live[name]
        ]
        return "; ".join(found)


def collection_of(mapping: str) -> str:
    """The collection in a mapping's name, ``collection:domain.entity[:prefix]``."""
    return mapping.split(":", 1)[0]


class MissingRows:
    """Looks for missing rows on the topics of one source, a partition at a time."""

    def __init__(
        self,
        broker: Broker,
        *,
        book: str,
        source: str,
        topics: Iterable[str],
        mappings: Mapping[str, str],
        reads: Mapping[str, CollectionRead],
        epoch: int,
        everything: bool,
    ) -> None:
        """``reads``: those that end now. ``everything``: they are all that the source has."""
        self._broker = broker
        self._book = book
        self._source = source
        self._topics = tuple(topics)
        self._mappings = mappings
        self._everything = everything
        self._floors = {name: pack(epoch, max(read.first_at, 0), 0) for name, read in reads.items()}
        self._kept: dict[str, frozenset[str] | None] = {}
        for read in reads.values():
            for mapping, ids in read.unmapped.items():
                self._kept[mapping] = None if ids is None else frozenset(ids)

    @property
    def left_out(self) -> list[str]:
        """Mappings whose deletes are left out: not every id that was met could be told."""
        return [mapping for mapping, ids in self._kept.items() if ids is None]

    async def tally(self) -> Tally:
        """Counts only."""
        tally = Tally()
        async for _, live in self._partitions():
            for key, (mapping, version) in live.items():
                tally.live[mapping] = tally.live.get(mapping, 0) + 1
                if self._is_missing(key, mapping, version):
                    tally.missing[mapping] = tally.missing.get(mapping, 0) + 1
        return tally

    async def find(self) -> AsyncIterator[list[Missing]]:
        """The missing rows, in lists of bounded length."""
        async for topic, live in self._partitions():
            found: list[Missing] = []
            for key, (mapping, version) in live.items():
                if self._is_missing(key, mapping, version):
                    row_id = decode_key(key)[2]
                    found.append(Missing(topic, key, row_id, mapping, version))
                    if len(found) >= DELETES_BATCH:
                        yield found
                        found = []
            if found:
                yield found

    async def _partitions(self) -> AsyncIterator[tuple[str, dict[bytes, tuple[str, bytes]]]]:
        for topic in self._topics:
            for partition, (start, end) in enumerate(await self._broker.spans(topic)):
                if start < end:
                    yield topic, await self._live(topic, partition, start, end)

    async def _live(
        self, topic: str, partition: int, start: int, end: int
    ) -> dict[bytes, tuple[str, bytes]]:
        """Live keys of this source with the mapping and version of their last record."""
        live: dict[bytes, tuple[str, bytes]] = {}
        rows = own_rows(self._broker, topic, partition, start, end, self._book, self._source)
        async for row in rows:
            if row.deleted:
                live.pop(row.key, None)
            else:
                live[row.key] = (row.mapping, row.version)
        return live

    def _is_missing(self, key: bytes, mapping: str, version: bytes) -> bool:
        floor = self._floors.get(collection_of(mapping))
        if mapping not in self._mappings:
            return floor is not None or self._everything
        if floor is None or version >= floor:
            return False
        kept = self._kept.get(mapping, frozenset())
        if kept is None:
            return False
        return not kept or not _is_kept(decode_key(key)[2], kept)


def _is_kept(row_id: str, kept: frozenset[str]) -> bool:
    """Whether the row, or the document it is an element of, was met."""
    parts = row_id.split("/")
    return any("/".join(parts[:length]) in kept for length in range(1, len(parts) + 1))
