"""How a session begins: is the cursor ours and true, and what must be read whole?

| found                                             | done                                      |
|---------------------------------------------------|-------------------------------------------|
| no cursor, empty topics                           | first snapshot                            |
| no cursor, topics with rows of ours               | read whole, above the highest version     |
| a cursor that is damaged                          | the same, once it has been told           |
| cursor of another cluster or database             | refused, until a person accepts it        |
| position lost or refused by the source            | read whole                                |
| entity topic made anew                            | read what feeds it whole                  |
| mapping changed, collections added or taken away  | read these whole; deletes are meant       |
| otherwise                                         | go on behind the cursor                   |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from cdc.cursors import CollectionRead, Cursor, begun
from cdc.kafka.broker import Broker
from cdc.kafka.own_rows import highest_version
from cdc.missing import collection_of
from cdc.runtime.errors import ForeignCursor, Gap
from cdc.sources.protocol import Checkpoint, Source, Stream
from schemas.version import ORDINAL_MAX, Version


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a position cannot be gone on from."""

    reason: str


class Mapped(Protocol):
    """The part of the normaliser that matters here."""

    @property
    def mappings(self) -> dict[str, str]: ...


class Report(Protocol):
    """Where a person hears of it."""

    def reading_whole(self, collection: str, reason: str) -> None: ...


@dataclass(slots=True)
class Beginning:
    """Decides once, at the start of a session; see the table above."""

    book: str
    source: Source
    stream: Stream
    mapped: Mapped
    broker: Broker
    topics: Mapping[str, str]
    report: Report

    async def cursor(self, stored: Cursor | None, lost: Lost | None, *, accept: bool) -> Cursor:
        """The cursor to go on from; the source has been placed there."""
        ids = await self.broker.topic_ids(sorted(self.topics))
        if stored is not None and self._differs(stored):
            if not accept:
                raise ForeignCursor(
                    self._differs(stored),
                    operation="read cursor",
                    subject=self.source.name,
                    hint=f"if that is meant: cdc resync {self.source.name} --accept",
                )
            lost = Lost("the cursor of another cluster was accepted")
        if stored is not None and lost is None:
            try:
                return await self._go_on(stored, ids)
            except Gap as gap:
                if gap.needs_person:
                    raise
                lost = Lost(str(gap))
        return await self._start_over(stored, lost, ids)

    def _differs(self, stored: Cursor) -> str:
        """How the cursor's identity differs from the source's, in words; empty: it does not."""
        found = [
            f"{name} was {stored.identity[name]}, is {value}"
            for name, value in self.stream.identity.items()
            if stored.identity.get(name, value) != value
        ]
        return "; ".join(found)

    async def _go_on(self, stored: Cursor, ids: dict[str, str]) -> Cursor:
        after = Checkpoint(stored.token, stored.position, stored.ordinal, False, 0)
        await self.source.seek(self.stream, after)
        reads = {
            name: read
            for name, read in stored.reads.items()
            if name in self.stream.collections or not read.done
        }
        for name, reason in self._to_read(stored, ids).items():
            meant = reason.startswith("mapping")
            reads[name] = self._begun(reads.get(name), name, reason, deletes_allowed=meant)
        return msgspec.structs.replace(
            stored,
            identity=self.stream.identity,
            topics=_still_needed(stored.topics, reads) | ids,
            mappings=dict(self.mapped.mappings),
            reads=reads,
        )

    def _to_read(self, stored: Cursor, ids: dict[str, str]) -> dict[str, str]:
        """Collections to be read whole, with the reason."""
        anew = {self.topics[topic] for topic in ids if stored.topics.get(topic, "") != ids[topic]}
        now = self.mapped.mappings
        found = {
            collection_of(name): f"mapping {name} reaches a topic that was made anew"
            for name in now
            if name.split(":")[1] in anew
        }
        for name in sorted(stored.mappings.keys() | now.keys()):
            if stored.mappings.get(name) != now.get(name):
                change = "changed" if name in stored.mappings and name in now else "added"
                change = change if name in now else "taken away"
                found[collection_of(name)] = f"mapping {name} was {change}"
        return found

    async def _start_over(
        self, stored: Cursor | None, lost: Lost | None, ids: dict[str, str]
    ) -> Cursor:
        place = await self.source.seek(self.stream, None)
        if stored is not None:
            highest: Version | None = Version(stored.epoch, stored.position, ORDINAL_MAX)
        else:
            highest = await highest_version(self.broker, self.topics, self.book, self.source.name)
        epoch = 0 if highest is None else highest.epoch
        grows = highest is not None and Version(epoch, place.position, 0) <= highest
        reason = "first snapshot" if highest is None else "no cursor of it is known"
        reason = reason if lost is None else lost.reason
        names = set(self.stream.collections)
        if stored is not None:
            names |= {collection_of(name) for name in stored.mappings}
        old = {} if stored is None or grows else stored.reads
        reads = {
            name: self._begun(old.get(name), name, reason, fresh=highest is None)
            for name in sorted(names)
        }
        before = {} if stored is None else _still_needed(stored.topics, reads)
        return Cursor(
            book=self.book,
            source=self.source.name,
            stream=self.stream.name,
            identity=self.stream.identity,
            epoch=epoch + 1 if grows else epoch,
            token=place.token,
            position=place.position,
            ordinal=place.ordinal,
            topics=before | ids,
            mappings=dict(self.mapped.mappings),
            reads=reads,
        )

    def _begun(
        self,
        old: CollectionRead | None,
        name: str,
        reason: str,
        *,
        deletes_allowed: bool = False,
        fresh: bool = False,
    ) -> CollectionRead:
        self.report.reading_whole(name, reason)
        return begun(
            old,
            reason,
            watched=name in self.stream.collections,
            deletes_allowed=deletes_allowed,
            fresh=fresh,
        )


def _still_needed(topics: Mapping[str, str], reads: Mapping[str, CollectionRead]) -> dict[str, str]:
    """Topics published to before: what lies there is part of a whole read until its end."""
    return dict(topics) if any(not read.done for read in reads.values()) else {}
