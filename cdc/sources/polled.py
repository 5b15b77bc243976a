"""What all polled sources share: rounds as positions, a whole read held for its pages, pacing.

An API gives no log: it tells *what is different since* (a delta) or *what is* (a whole read). Each
answer is a **round**; its number, max(last + 1, UTC milliseconds), is the position of all it
brought. So versions grow whatever the server's own counter does.

A whole read is one answer, too large to be published at once and too dear to be asked for again for
each page: it is held in memory (undecoded) while its pages are taken. A delta that arrives
meanwhile moves it on: the rows that the delta brought leave it, and what stays is as new as the
delta, because the delta would have named it otherwise.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from cdc.sources.polled_objects import HeldRow, change_of
from cdc.sources.protocol import Change, Checkpoint, Document, Page, Stream
from schemas.version import ORDINAL_MAX

CHANGES_TOGETHER = 200
HELD_SECONDS = 60.0
"""A whole read of which no page was taken for so long is let go."""

ROOM_SECONDS = 1.0
"""So often one that waits for room looks whether another's read has been left lying."""

Load = Callable[[str, HeldRow], Document]


def by_id(rows: Iterable[HeldRow]) -> list[HeldRow]:
    """Sorted by id; of several with one id the last. What has no id (an empty one) is all kept."""
    ordered = sorted(rows, key=_id_of)
    following = iter(ordered)
    next(following, None)
    kept = [row for row, after in zip(ordered, following, strict=False) if _stays(row, after)]
    return kept + ordered[-1:]


def _stays(row: HeldRow, after: HeldRow) -> bool:
    return row[0] != after[0] or not row[0]


class HeldRead:
    """A whole read. ``rows``: per collection, by id. ``asked``: see ``Page``."""

    def __init__(
        self,
        rows: Mapping[str, list[HeldRow]],
        load: Load,
        *,
        at: int,
        asked: int,
        time_ms: int,
        now: float,
        since: int | None = None,
    ) -> None:
        self.at = at
        self.used_at = now
        self._since = at if since is None else since
        self._asked = asked
        self._rows = rows
        self._load = load
        self._time_ms = time_ms
        self._left: dict[str, set[str]] = {}
        self._served: set[str] = set()

    def total(self, collection: str) -> int:
        return len(self._rows.get(collection, ()))

    def serves(self, collection: str, start: Any) -> bool:
        """Whether a page of it can be taken; one that starts over wants a newer read."""
        if collection not in self._rows:
            return False
        return start is not None or collection not in self._served

    @property
    def used_up(self) -> bool:
        return self._served >= self._rows.keys()

    def move_on(self, changed: Iterable[tuple[str, str]], at: int, asked: int) -> None:
        """A delta of request ``asked``, at ``at``, brought these (collection, id)."""
        for collection, changed_id in changed:
            self._left.setdefault(collection, set()).add(changed_id)
        self.at = at
        self._asked = asked - 1

    def page(self, collection: str, start: Any, rows_max: int, now: float) -> Page:
        """The page behind the id ``start``; longer where the limit falls between equal ids."""
        self.used_at = now
        rows = self._rows[collection]
        low = 0 if start is None else bisect_right(rows, start, key=_id_of)
        high = min(low + rows_max, len(rows))
        if 0 < high < len(rows):
            high = bisect_right(rows, rows[high - 1][0], lo=high, key=_id_of)
        last = high == len(rows)
        if last:
            self._served.add(collection)
        following = None if last else rows[high - 1][0]
        changes = self._changes(collection, rows[low:high])
        return Page(changes, self.at, self._asked, following, self._since)

    def look_up(self, collection: str, ids: Sequence[str]) -> Page:
        """The objects with these ids."""
        wanted = set(ids)
        rows = [row for row in self._rows.get(collection, ()) if row[0] in wanted]
        return Page(self._changes(collection, rows), self.at, self._asked, None)

    def _changes(self, collection: str, rows: list[HeldRow]) -> Iterator[list[Change]]:
        at, left, time_ms = self.at, self._left.setdefault(collection, set()), self._time_ms

        def load(row: HeldRow) -> Document:
            return self._load(collection, row)

        for start in range(0, len(rows), CHANGES_TOGETHER):
            changes = [
                change_of(collection, "r", row, load, at, ORDINAL_MAX, time_ms)
                for row in rows[start : start + CHANGES_TOGETHER]
                if row[0] not in left
            ]
            if changes:
                yield changes


def _id_of(row: HeldRow) -> str:
    return row[0]


class Room:
    """Bounds the whole reads that a source holds in memory: who comes later waits."""

    def __init__(self, reads_max: int) -> None:
        self._reads_max = reads_max
        self._used_at: dict[PolledStream, float] = {}
        self._left = asyncio.Event()

    def has_room(self) -> bool:
        return len(self._used_at) < self._reads_max

    async def enter(self, stream: "PolledStream") -> None:
        """Returns when the stream may hold a whole read, or goes on to."""
        clock = asyncio.get_running_loop().time
        while stream not in self._used_at and not self.has_room():
            for other, used_at in tuple(self._used_at.items()):
                if other.held is not None and clock() - used_at > HELD_SECONDS:
                    other.drop()
            if not self.has_room():
                self._left.clear()
                # Not wait_for: before Python 3.12 it may swallow a cancellation.
                with suppress(TimeoutError):
                    async with asyncio.timeout(ROOM_SECONDS):
                        await self._left.wait()
        self._used_at[stream] = clock()

    def leave(self, stream: "PolledStream") -> None:
        self._used_at.pop(stream, None)
        self._left.set()


class PolledStream:
    """Where one stream stands. ``token``: JSON, the source's own. ``due_at``: the next request."""

    def __init__(self, stream: Stream, now: Callable[[], float], room: Room | None = None) -> None:
        self.stream = stream
        self.room = room or Room(1)
        self.lock = asyncio.Lock()
        """Requests of a stream follow one another, so that rounds are in the order of answers."""
        self.token: dict[str, Any] = {}
        self.held: HeldRead | None = None
        self.due_at = 0.0
        self.polled_at: float | None = None
        self._now = now
        self._position = 0
        self._ordinal = -1
        self._asked = 0
        self._last_round = 0

    def next_round(self) -> tuple[int, int]:
        """The position and the count of a request that is made now."""
        self._asked += 1
        self._last_round = max(self._last_round + 1, int(self._now() * 1000))
        return self._last_round, self._asked

    def place(self, after: Checkpoint) -> Checkpoint:
        """Stand behind ``after``: as stored, whatever was read since and not published."""
        if self.came_from_elsewhere(after):
            self.drop()
        self.token = dict(after.token)
        self._position, self._ordinal = after.position, after.ordinal
        self._last_round = max(self._last_round, after.position)
        return self.checkpoint()

    def stand(self, token: dict[str, Any], position: int, ordinal: int) -> Checkpoint:
        """Stand at a round that has been given out whole."""
        self.token, self._position, self._ordinal = token, position, ordinal
        return self.checkpoint()

    def checkpoint(self, *, full: bool = False) -> Checkpoint:
        return Checkpoint(self.token, self._position, self._ordinal, full, self._asked)

    def hold(
        self,
        rows: Mapping[str, list[HeldRow]],
        load: Load,
        at: int,
        asked: int,
        *,
        since: int | None = None,
    ) -> HeldRead:
        """Keep a whole read; the stream must pass it soon, so the next request is due.

        ``since``: the round in which the first of it was read; None: ``at``.
        """
        now = self._now()
        self.held = HeldRead(
            rows, load, at=at, asked=asked, time_ms=int(now * 1000), now=now, since=since
        )
        self.due_at = 0.0
        return self.held

    def let_go(self) -> None:
        """Frees a whole read that nobody takes pages of any more."""
        held = self.held
        if held is not None and (held.used_up or self._now() - held.used_at > HELD_SECONDS):
            self.drop()

    def drop(self) -> None:
        """No whole read is held any more."""
        self.held = None
        self.room.leave(self)

    def came_from_elsewhere(self, after: Checkpoint) -> bool:
        """Whether ``after`` is a place that was not given out here."""
        return after.position > self._last_round

    async def rest(self, wait_seconds: float, pause: Callable[[float], Awaitable[None]]) -> bool:
        """Whether a request is due, after a rest of at most ``wait_seconds``."""
        left = self.due_at - self._now()
        if left > 0:
            await pause(min(left, wait_seconds))
        return self._now() >= self.due_at
