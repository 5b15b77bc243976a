"""Reading whole, woven into the stream: first snapshot, lost position, full sync and repair.

Along a topic the versions of a key only grow, so a page of the source's state is published between
the stream's changes, never beside them:

    stream ──┬── page asked for ────────── changes at or below Tc ─┬─ passed Tc ── page published
             │   read at Tc                changes above Tc: their │              (Tc, highest
             └─ ids met meanwhile ─────────keys leave the page ────┘               ordinal)

*Passed Tc*: everything up to and at Tc has been given out, and one reply that was asked for after
the page was read was not full. (On an idle server Tc is the last change's time and the position
stays there. A reply is cut by its size, too, also between the changes of one transaction, which
share their time: only an empty reply shows that nothing is left at the position itself.)
The progress is published with the page, in the cursor: a restart goes on at the next page.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from cdc.cursors import CollectionRead, begun
from cdc.runtime.errors import LedgerError
from cdc.sources.protocol import Change, Checkpoint, Page, Source, Stream

PAGES_AHEAD = 2
UNMAPPED_MAX = 1000
"""Above so many unmappable ids a mapping's deletes are left out rather than its ids kept."""
REREAD_SECONDS = 0.5
"""An idle replica set moves its cluster time every 10 s: how often to look again."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """A part of a collection to be read and published: single objects (the retry of dead letters).

    ``read``: how the part is read where it is not told by ``ids`` (days of an API's history).
    ``on_failed``: told in place of ending the session where it cannot be read.
    """

    collection: str
    ids: tuple[str, ...]
    on_published: Callable[[], None]
    read: Callable[[Stream], Awaitable[Page]] | None = None
    on_failed: Callable[[LedgerError], None] | None = None


@dataclass(slots=True)
class PendingPage:
    """A page from being asked for to being published. ``above``: it must be read later than that.

    ``touched``: ids that the stream brought since it was asked for, with their newest position.
    ``void``: a whole read began while its rows were taken, which are no progress of that one.
    """

    collection: str
    task: asyncio.Task[Page]
    above: int
    look_up: LookUp | None
    touched: dict[str, int] = field(default_factory=dict)
    void: bool = False


class WholeRead:
    """The whole reads of one stream. ``reads`` goes into every cursor as it is."""

    def __init__(
        self,
        source: Source,
        stream: Stream,
        reads: dict[str, CollectionRead],
        *,
        document_id: Callable[[object], str],
        rows_max: int,
    ) -> None:
        self.reads = dict(reads)
        self._source = source
        self._stream = stream
        self._document_id = document_id
        self._rows_max = rows_max
        self._pending: deque[PendingPage] = deque()
        self._taken: PendingPage | None = None
        self._look_ups: deque[LookUp] = deque()
        self._given: set[LookUp] = set()
        self._settle()

    def begin(self, collection: str, reason: str, *, deletes_allowed: bool = False) -> None:
        """Start (or start over) the whole read of a collection."""
        self._forget_pages(collection)
        self.reads[collection] = begun(
            self.reads.get(collection),
            reason,
            watched=collection in self._stream.collections,
            deletes_allowed=deletes_allowed,
        )

    def look_up(self, request: LookUp) -> None:
        """Read this part again, when its turn comes; once, however often it is given."""
        if request not in self._given:
            self._given.add(request)
            self._look_ups.append(request)

    @property
    def paging(self) -> bool:
        """Whether pages are still to be read or published."""
        return bool(self._pending or self._look_ups) or self._next_collection() is not None

    @property
    def to_finish(self) -> list[str]:
        """Collections whose pages are all published and whose deletes are not."""
        return [
            name
            for name, read in self.reads.items()
            if read.paged and not read.done and read.held_deletes is None
        ]

    def ask(self, place: Checkpoint) -> None:
        """Asks for the next pages, some ahead of the one that waits.

        A page must hold every change given out before it was asked for: its time must not be below
        the newest of these (which lies below ``place`` where that has given out no ordinal).
        """
        seen = place.position - (1 if place.ordinal >= 0 else 2)
        while len(self._pending) < PAGES_AHEAD:
            if self._pending and not self._pending[-1].task.done():
                return
            if self._look_ups:
                request = self._look_ups.popleft()
                done = self.reads.get(request.collection)
                above = -1 if done is None else done.last_at
                self._ask(request.collection, max(above, seen), request, None)
                continue
            collection = self._next_collection()
            if collection is None:
                return
            read, start = self.reads[collection], self.reads[collection].next
            ahead = self._pages_of(collection)
            if ahead:
                start = ahead[-1].task.result().next
                if start is None:
                    return
            self._ask(collection, max(read.floor, seen), None, start)

    def _ask(self, collection: str, above: int, look_up: LookUp | None, start: object) -> None:
        task = asyncio.create_task(
            self._fetch(collection, above, look_up, start), name=f"page of {collection}"
        )
        self._pending.append(PendingPage(collection, task, above, look_up))

    async def _fetch(
        self, collection: str, above: int, look_up: LookUp | None, start: object
    ) -> Page:
        """The page, read again while its time is not above the last one published there."""
        while True:
            if look_up is None:
                page = await self._source.page(self._stream, collection, start, self._rows_max)
            elif look_up.read is not None:
                page = await look_up.read(self._stream)
            else:
                page = await self._source.look_up(self._stream, collection, look_up.ids)
            if page.at > above:
                return page
            await asyncio.sleep(REREAD_SECONDS)

    def observe(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Notes what the stream brings; leaves out what a published page already holds."""
        if changes[0].position <= self._fence:
            changes = [change for change in changes if change.position > self._published(change)]
        for page in self._pending:
            for change in changes:
                if change.collection == page.collection:
                    page.touched[self._document_id(change.id)] = change.position
        return changes

    def _published(self, change: Change) -> int:
        read = self.reads.get(change.collection)
        return -1 if read is None else read.last_at

    def ready(self, checkpoint: Checkpoint) -> PendingPage | None:
        """The oldest page, if the stream has passed the time at which it was read."""
        self._tell_failed()
        if not self._pending or not self._pending[0].task.done():
            return None
        page = self._pending[0].task.result()
        passed = checkpoint.complete >= page.at and not checkpoint.full
        if not passed or checkpoint.asked <= page.asked:
            return None
        self._taken = self._pending.popleft()
        return self._taken

    def _tell_failed(self) -> None:
        """Who asked for a part that cannot be read is told, and the stream goes on."""
        while self._pending and self._pending[0].task.done():
            look_up, error = self._pending[0].look_up, self._pending[0].task.exception()
            if look_up is None or look_up.on_failed is None or not isinstance(error, LedgerError):
                return
            self._pending.popleft()
            look_up.on_failed(error)

    def rows(self, pending: PendingPage) -> Iterator[Sequence[Change]]:
        """The page's rows without the keys that the stream brought with a newer version."""
        page = pending.task.result()
        newer = {key for key, position in pending.touched.items() if position > page.at}
        for changes in page.changes:
            kept = (
                [c for c in changes if self._document_id(c.id) not in newer] if newer else changes
            )
            if kept:
                yield kept

    def took(self, pending: PendingPage, rows: int) -> None:
        """The page's rows are in the batch that is being made: so is this progress."""
        page = pending.task.result()
        collection = pending.collection
        read = self.reads.get(collection, CollectionRead("look-up", paged=True, done=True))
        changed: dict[str, object] = {"last_at": max(read.last_at, page.at)}
        self._taken = None
        if pending.void:  # its rows stand on the topics: the new pages must lie above them
            changed["floor"] = max(read.floor, page.at)
        elif pending.look_up is None:
            first = page.at if page.since is None else page.since
            changed |= {
                "first_at": first if read.first_at < 0 else min(read.first_at, first),
                "next": page.next,
                "paged": page.next is None,
                "rows": read.rows + rows,
            }
        elif page.next is not None:
            self._look_ups.appendleft(replace(pending.look_up, ids=tuple(page.next)))
        self.reads[collection] = msgspec.structs.replace(read, **changed)
        self._settle()

    def met_unmappable(self, collection: str, mapping: str, row_id: str | None) -> None:
        """An id that exists and could not be mapped: its row must not be deleted."""
        read = self.reads.get(collection)
        if read is None or read.done:
            return
        known = read.unmapped.get(mapping, ())
        if known is None or (row_id is not None and row_id in known):
            return
        ids = None if row_id is None or len(known) >= UNMAPPED_MAX else (*known, row_id)
        self._change(collection, unmapped={**read.unmapped, mapping: ids})

    def finished(self, collections: Sequence[str], position: int) -> None:
        """The deletes of these are published (or there were none)."""
        for name in collections:
            last_at = max(self.reads[name].last_at, position)
            self._change(name, done=True, held_deletes=None, unmapped={}, last_at=last_at)
        self._settle()

    def hold(self, collections: Sequence[str], reason: str) -> None:
        """Too many deletes: they wait for a person."""
        for name in collections:
            self._change(name, held_deletes=reason)

    @property
    def held(self) -> str:
        """Why deletes wait for a person; empty: none do."""
        return next((r.held_deletes for r in self.reads.values() if r.held_deletes), "")

    def under_way(self, collection: str) -> bool:
        """Whether a whole read of it is asked for and not finished."""
        read = self.reads.get(collection)
        return read is not None and not read.done

    def _change(self, collection: str, **fields: object) -> None:
        self.reads[collection] = msgspec.structs.replace(self.reads[collection], **fields)

    def _settle(self) -> None:
        self._fence = max((read.last_at for read in self.reads.values()), default=-1)

    def _next_collection(self) -> str | None:
        for name, read in self.reads.items():
            if not read.paged and not read.done:
                pages = self._pages_of(name)
                if not (pages and pages[-1].task.done() and pages[-1].task.result().next is None):
                    return name
        return None

    def _pages_of(self, collection: str) -> list[PendingPage]:
        """Of its whole read."""
        return [p for p in self._pending if p.collection == collection and p.look_up is None]

    def _forget_pages(self, collection: str) -> None:
        for page in self._pages_of(collection):
            page.task.cancel()
            self._pending.remove(page)
        if self._taken is not None and self._taken.collection == collection:
            self._taken.void = True

    async def close(self) -> None:
        """Lets pages that were asked for go."""
        pages = [page.task for page in self._pending]
        for task in pages:
            task.cancel()
        await asyncio.gather(*pages, return_exceptions=True)
