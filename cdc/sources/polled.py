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
from decimal import Decimal
from typing import Any

from cdc.sources.protocol import Change, Checkpoint, Document, Page, Stream
from schemas.version import ORDINAL_MAX

CHANGES_TOGETHER = 200
HELD_SECONDS = 60.0
"""A whole read of which no page was taken for so long is let go."""

CONTEXT = "$"
"""The key under which a document carries what it belongs to; no API's key begins so."""
NO_ID = "id: missing or not text"
"""The fault of an object without a usable id; such an object's id here is empty."""

HeldRow = tuple[str, Any]
"""An object's id, and whatever the source makes its document from."""
Load = Callable[[str, HeldRow], Document]


class HeldRead:
    """A whole read. ``rows``: per collection, sorted by id. ``asked``: see ``Page``."""

    def __init__(
        self,
        rows: Mapping[str, list[HeldRow]],
        load: Load,
        *,
        at: int,
        asked: int,
        time_ms: int,
        now: float,
    ) -> None:
        self.at = at
        self.used_at = now
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
        """The page behind the id ``start``."""
        self.used_at = now
        rows = self._rows.get(collection, [])
        low = 0 if start is None else bisect_right(rows, start, key=_id_of)
        high = min(low + rows_max, len(rows))
        last = high == len(rows)
        if last:
            self._served.add(collection)
        following = None if last else rows[high - 1][0]
        return Page(self._changes(collection, rows[low:high]), self.at, self._asked, following)

    def look_up(self, collection: str, ids: Sequence[str]) -> Page:
        """The objects with these ids."""
        wanted = set(ids)
        rows = [row for row in self._rows.get(collection, ()) if row[0] in wanted]
        return Page(self._changes(collection, rows), self.at, self._asked, None)

    def _changes(self, collection: str, rows: list[HeldRow]) -> Iterator[list[Change]]:
        at, left = self.at, self._left.setdefault(collection, set())
        for start in range(0, len(rows), CHANGES_TOGETHER):
            changes = [
                Change(
                    collection,
                    "r",
                    row[0] or None,
                    None,
                    self._load(collection, row),
                    at,
                    ORDINAL_MAX,
                    self._time_ms,
                    None if row[0] else NO_ID,
                )
                for row in rows[start : start + CHANGES_TOGETHER]
                if row[0] not in left
            ]
            if changes:
                yield changes


def _id_of(row: HeldRow) -> str:
    return row[0]


class PolledStream:
    """Where one stream stands. ``token``: JSON, the source's own. ``due_at``: the next request."""

    def __init__(self, stream: Stream, now: Callable[[], float]) -> None:
        self.stream = stream
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

    def hold(self, rows: Mapping[str, list[HeldRow]], load: Load, at: int, asked: int) -> HeldRead:
        """Keep a whole read; the stream must pass it soon, so the next request is due."""
        now = self._now()
        self.held = HeldRead(rows, load, at=at, asked=asked, time_ms=int(now * 1000), now=now)
        self.due_at = 0.0
        return self.held

    def let_go(self) -> None:
        """Frees a whole read that nobody takes pages of any more."""
        held = self.held
        if held is not None and (held.used_up or self._now() - held.used_at > HELD_SECONDS):
            self.held = None

    async def rest(self, wait_seconds: float, pause: Callable[[float], Awaitable[None]]) -> bool:
        """Whether a request is due, after a rest of at most ``wait_seconds``."""
        left = self.due_at - self._now()
        if left > 0:
            await pause(min(left, wait_seconds))
        return self._now() >= self.due_at


def exact(value: Any) -> Any:
    """Fractions as text, so that a digest or a token of it is plain JSON."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {name: exact(item) for name, item in value.items()}
    return [exact(item) for item in value] if isinstance(value, list) else value
