"""The end of a whole read: what is missing at the source is deleted, or a person is asked.

The topics are searched by a task of its own while the stream goes on; its findings are published
by the stream's reader, at the stream's position, without the keys that the stream brought since.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from cdc.cursors import CollectionRead, Cursor
from cdc.kafka.broker import Broker
from cdc.missing import Missing, MissingRows, Tally
from cdc.whole_read import WholeRead
from schemas.envelope import Event
from schemas.version import ORDINAL_MAX, pack


class Deleter(Protocol):
    """The part of the normaliser that writes deletes."""

    @property
    def mappings(self) -> dict[str, str]: ...
    @property
    def collections(self) -> tuple[str, ...]: ...

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]: ...


class Report(Protocol):
    """Where a person hears of it."""

    def deletes_held(self, reason: str) -> None: ...
    def deletes_left_out(self, mappings: Sequence[str]) -> None: ...
    def whole_read_done(self, collections: Sequence[str], deleted: Mapping[str, int]) -> None: ...


class FinishRead:
    """One search at a time. ``topics``: entity topics by name, with their entities."""

    def __init__(
        self,
        broker: Broker,
        deleter: Deleter,
        topics: Mapping[str, str],
        report: Report,
        *,
        clock_ms: Callable[[], int],
        alone: bool = True,
    ) -> None:
        """``alone``: the source has no other stream, so what no mapping knows is nobody's."""
        self._alone = alone
        self._broker = broker
        self._deleter = deleter
        self._topics = topics
        self._report = report
        self._clock_ms = clock_ms
        self._task: asyncio.Task[Tally] | None = None
        self._found: asyncio.Queue[list[Missing]] = asyncio.Queue(1)
        self._waiting: list[Missing] = []
        self._collections: tuple[str, ...] = ()
        self._touched: set[tuple[str, bytes]] | None = None

    @property
    def started(self) -> bool:
        return self._touched is not None

    def observe(self, events: Iterable[Event]) -> None:
        """Keys that the stream brings while the topics are searched are not deleted."""
        if self._touched is not None:
            self._touched.update((event.topic, event.key) for event in events)

    def step(self, whole: WholeRead, cursor: Cursor, position: int) -> list[Event]:
        """Starts, goes on with or ends the search; returns deletes to be published now.

        ``position``: every change up to and including it has been given out.
        """
        if self._touched is None:
            self._start(whole, cursor)
        if self._task is None:
            return []
        if not self._waiting and not self._found.empty():
            self._waiting = self._found.get_nowait()
        events = self._deletes(cursor.epoch, position)
        if self._task.done() and not self._waiting and self._found.empty():
            self._end(whole, self._task.result(), position)
        return events

    def _start(self, whole: WholeRead, cursor: Cursor) -> None:
        """Every event so far is on the topics: the caller saw to it."""
        self._touched = set()
        self._collections = tuple(whole.to_finish)
        reads = {name: whole.reads[name] for name in self._collections}
        if all(read.fresh for read in reads.values()):
            whole.finished(self._collections, -1)
            self._report.whole_read_done(self._collections, {})
            self.cancel()
            return
        rows = MissingRows(
            self._broker,
            book=cursor.book,
            source=cursor.source,
            topics=self._topics,
            mappings=self._deleter.mappings,
            reads=reads,
            epoch=cursor.epoch,
            everything=self._alone and set(self._collections) >= set(self._deleter.collections),
        )
        if rows.left_out:
            self._report.deletes_left_out(rows.left_out)
        self._task = asyncio.create_task(self._search(rows, reads), name="search missing rows")

    async def _search(self, rows: MissingRows, reads: Mapping[str, CollectionRead]) -> Tally:
        tally = await rows.tally()
        allowed = all(read.deletes_allowed for read in reads.values())
        if tally.missing and (allowed or not tally.too_many()):
            async for found in rows.find():
                await self._found.put(found)
        return tally

    def _deletes(self, epoch: int, position: int) -> list[Event]:
        """Deletes of what was found, at the stream's position; later, where that is too low."""
        version = pack(epoch, position, ORDINAL_MAX)
        touched = self._touched or set[tuple[str, bytes]]()
        later: list[Missing] = []
        events: list[Event] = []
        for row in self._waiting:
            if (row.topic, row.key) in touched:
                continue
            if row.version >= version:
                later.append(row)
                continue
            entity = self._topics[row.topic]
            events += self._deleter.deletion(
                row.mapping, entity, row.row_id, version, self._clock_ms()
            )
        self._waiting = later
        return events

    def _end(self, whole: WholeRead, tally: Tally, position: int) -> None:
        allowed = all(whole.reads[name].deletes_allowed for name in self._collections)
        too_many = "" if allowed else tally.too_many()
        if too_many:
            whole.hold(self._collections, too_many)
            self._report.deletes_held(too_many)
        else:
            whole.finished(self._collections, position)
            self._report.whole_read_done(self._collections, tally.missing)
        self.cancel()

    def cancel(self) -> None:
        """Forget the search: it has ended, or a new whole read makes it void."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._touched = None
        self._waiting = []
        self._found = asyncio.Queue(1)

    async def close(self) -> None:
        """Ends a search that is under way."""
        task = self._task
        self.cancel()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
