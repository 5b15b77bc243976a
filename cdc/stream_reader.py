"""One stream, from the source's replies to batches with their cursor: read, normalise, close.

A batch closes when the reply was not full, or when enough events are in: an idle stream's single
insert never waits for company, a backlog never pays a transaction per handful, no timer is needed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cdc.cursors import Cursor
from cdc.finish_read import FinishRead
from cdc.sources.protocol import Change, Checkpoint, Notice, Source, Stream
from cdc.whole_read import LookUp, PendingPage, WholeRead
from schemas.envelope import Event

BATCH_EVENTS = 4000
BATCH_BYTES = 16 * 1024 * 1024
PAGE_ROWS = 2000
IDLE_SECONDS = 1.0
"""How long one request waits at the source where nothing happens."""
READING_SECONDS = 0.005
"""The same while a whole read waits for the stream to pass it."""
SAVE_SECONDS = 10.0
"""So often an idle stream's cursor is saved: it must not age out of the source's history."""


class Fault(Protocol):
    """A document, or a row of one, that does not map (``cdc.mapping.normaliser``)."""

    @property
    def mapping(self) -> str: ...
    @property
    def entity(self) -> str: ...
    @property
    def document_id(self) -> str | None: ...
    @property
    def row_id(self) -> str | None: ...
    @property
    def path(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Normalised(Protocol):
    """Events ready to be sent (dead letters among them), and what did not map."""

    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def faults(self) -> Sequence[Fault]: ...
    @property
    def counts(self) -> Counter[tuple[str, str]]: ...


class Normaliser(Protocol):
    """From a source's changes to events; ``mappings`` are names with fingerprints."""

    @property
    def mappings(self) -> dict[str, str]: ...
    @property
    def collections(self) -> tuple[str, ...]: ...
    @property
    def entities(self) -> tuple[str, ...]: ...
    @property
    def topics(self) -> tuple[str, ...]: ...

    def normalise(
        self, changes: Sequence[Change], *, epoch: int, snapshot: str = "false"
    ) -> Normalised: ...

    def of(self, stream: str) -> "Normaliser": ...

    def document_id(self, raw_id: Any) -> str: ...

    def refused(self, event: Event, reason: str) -> list[Event]:
        """The dead letter of an event that the broker would not take."""

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]: ...


@dataclass(slots=True)
class Batch:
    """What goes into one Kafka transaction. ``published``: called once it is committed."""

    events: list[Event]
    cursor: Cursor
    caught_up: bool
    newest_ms: int
    counts: Counter[tuple[str, str]]
    faults: list[Fault]
    published: list[Callable[[], None]]


@dataclass(slots=True)
class Gathered:
    """What has been normalised since the last batch."""

    events: list[Event] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    published: list[Callable[[], None]] = field(default_factory=list)
    newest_ms: int = 0


class StreamReader:
    """Reads one stream for ever, putting batches into the queue in the order of the topic."""

    def __init__(
        self,
        source: Source,
        stream: Stream,
        normaliser: Normaliser,
        cursor: Cursor,
        queue: "asyncio.Queue[Batch | None]",
        finish: FinishRead,
        *,
        clock: Callable[[], float],
        on_quiet: Callable[[], None],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """``cursor``: where the source stands (it has been placed there), with its reads.

        ``on_quiet``: called when a reply shows that everything is published.
        """
        self._source = source
        self._stream = stream
        self._normaliser = normaliser
        self._cursor = cursor
        self._queue = queue
        self._finish = finish
        self._clock = clock
        self._on_quiet = on_quiet
        self._unpublished = 0
        self._idle_seconds = idle_seconds
        self._saved_at = 0.0
        self._saved = Cursor("", "", "", {}, 0, None, -1, -1, {}, {}, {})
        self._gathered = Gathered()
        self.whole = WholeRead(
            source,
            stream,
            cursor.reads,
            document_id=normaliser.document_id,
            rows_max=PAGE_ROWS,
        )

    async def run(self) -> None:
        """Until cancelled. A cancel loses what is not in the queue; the cursor knows."""
        began = False  # the first reply tells where we stand: nobody waits for it
        try:
            while True:
                soon = not began or self.whole.paging or bool(self.whole.to_finish)
                wait_seconds = READING_SECONDS if soon else self._idle_seconds
                began = True
                place = None
                async for item in self._source.changes(self._stream, wait_seconds=wait_seconds):
                    if isinstance(item, Checkpoint):
                        place = item
                    elif isinstance(item, Notice):
                        self._noticed(item)
                    elif item:
                        await self._take(item)
                if place is not None:
                    await self._after_reply(place)
        finally:
            await self._finish.close()
            await self.whole.close()

    def begin(self, collection: str, reason: str, *, deletes_allowed: bool = False) -> None:
        """Read a collection whole, beside the stream."""
        self.whole.begin(collection, reason, deletes_allowed=deletes_allowed)
        self._finish.cancel()

    def look_up(self, request: LookUp) -> None:
        """Read and publish single objects again."""
        self.whole.look_up(request)

    def _noticed(self, notice: Notice) -> None:
        """A dropped collection is an empty one; the person who dropped it allowed the deletes."""
        for collection in notice.collections:
            self.begin(collection, notice.reason, deletes_allowed=notice.deletes_allowed)

    async def _take(self, changes: Sequence[Change]) -> None:
        kept = self.whole.observe(changes)
        if kept:
            self._normalise(kept, "false")
            self._gathered.newest_ms = max(self._gathered.newest_ms, kept[-1].time_ms)
        await asyncio.sleep(0)  # the publisher's turn

    def _normalise(self, changes: Sequence[Change], snapshot: str) -> None:
        normalised = self._normaliser.normalise(
            changes, epoch=self._cursor.epoch, snapshot=snapshot
        )
        gathered = self._gathered
        gathered.events += normalised.events
        gathered.counts.update(normalised.counts)
        self._finish.observe(normalised.events)
        for fault in normalised.faults:
            gathered.faults.append(fault)
            collection = fault.mapping.split(":", 1)[0]
            self.whole.met_unmappable(collection, fault.mapping, fault.row_id)

    async def _after_reply(self, place: Checkpoint) -> None:
        while (page := self.whole.ready(place)) is not None:
            await self._take_page(page)
        self.whole.ask(place)
        finish = self._finish
        if self._may_finish(place) and not finish.started:
            await self._flush(place)
            await self._queue.join()
        if self._may_finish(place):  # it may have been asked for anew meanwhile
            self._gathered.events += finish.step(self.whole, self._cursor, place.complete)
        if self._is_due(place):
            await self._flush(place)
        elif not (place.full or self._unpublished or self.whole.paging or self.whole.to_finish):
            self._on_quiet()

    def _may_finish(self, place: Checkpoint) -> bool:
        return bool(self.whole.to_finish) and not (self.whole.paging or place.full)

    async def _take_page(self, page: PendingPage) -> None:
        read = page.task.result()
        rows = 0
        last: Change | None = None
        for changes in self.whole.rows(page):
            rows += len(changes)
            if last is not None:
                self._normalise([last], "true")
            last = changes[-1]
            if len(changes) > 1:
                self._normalise(changes[:-1], "true")
            await asyncio.sleep(0)
        if last is not None:
            self._normalise([last], "last" if read.next is None else "true")
        self.whole.took(page, rows)
        if page.look_up is not None and read.next is None:
            self._gathered.published.append(page.look_up.on_published)

    def _is_due(self, place: Checkpoint) -> bool:
        events = self._gathered.events
        if events or self._gathered.published:
            return not place.full or len(events) >= BATCH_EVENTS or self._is_large(events)
        if self.whole.reads != self._saved.reads:
            return True
        moved = place.position != self._saved.position or place.token != self._saved.token
        return moved and self._clock() - self._saved_at >= SAVE_SECONDS

    def _is_large(self, events: list[Event]) -> bool:
        return sum(len(event.value or b"") for event in events) >= BATCH_BYTES

    async def _flush(self, place: Checkpoint) -> None:
        gathered, self._gathered = self._gathered, Gathered()
        cursor = Cursor(
            book=self._cursor.book,
            source=self._cursor.source,
            stream=self._cursor.stream,
            identity=self._cursor.identity,
            epoch=self._cursor.epoch,
            token=place.token,
            position=place.position,
            ordinal=place.ordinal,
            topics=self._cursor.topics,
            mappings=self._cursor.mappings,
            reads=dict(self.whole.reads),
        )
        self._saved, self._saved_at = cursor, self._clock()
        self._unpublished += 1
        await self._queue.join()  # two batches at the most: one published, one gathered
        await self._queue.put(
            Batch(
                gathered.events,
                cursor,
                not place.full,
                gathered.newest_ms,
                gathered.counts,
                gathered.faults,
                [*gathered.published, self._one_published],
            )
        )

    def _one_published(self) -> None:
        self._unpublished -= 1
