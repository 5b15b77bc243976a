"""What the polled sources do alike: pages of a held whole read, runs of changes, what is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from cdc.sources.polled import CHANGES_TOGETHER, HeldRead, PolledStream, Room
from cdc.sources.protocol import Change, Page, Stream

Whole = TypeVar("Whole")


class PolledSource(Generic[Whole]):
    """``now``: seconds since 1970. ``pause`` waits. ``reads_at_once``: so many streams hold a whole
    read at the same time. ``Whole``: what such a read is beside its rows."""

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], float],
        poll_seconds: float,
        reads_at_once: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._now = now
        self._poll_seconds = poll_seconds
        self._pause = pause
        self._room = Room(reads_at_once)
        self._places: dict[str, PolledStream] = {}

    async def _read_whole(self, place: PolledStream) -> tuple[HeldRead, Whole]:
        """Asks for all there is, and holds it."""
        raise NotImplementedError

    @asynccontextmanager
    async def _reading(self, place: PolledStream) -> AsyncIterator[None]:
        """Room for a whole read of the stream, and its turn; left again where none is held."""
        try:
            await place.room.enter(place)
            async with place.lock:
                yield
        finally:
            if place.held is None:
                place.room.leave(place)

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        place = self._places[stream.name]
        async with self._reading(place):
            held = place.held
            if held is None or not held.serves(collection, start):
                held, _ = await self._read_whole(place)
            page = held.page(collection, start, rows_max, self._now())
            place.let_go()
            return page

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        place = self._places[stream.name]
        async with self._reading(place):
            paged = place.held is not None
            held, _ = await self._read_whole(place)
            if not paged:
                place.held = None
            return held.look_up(collection, ids)

    async def total(self, stream: Stream, collection: str) -> int | None:
        held = self._places[stream.name].held
        return None if held is None else held.total(collection)

    async def history_seconds(self) -> None:
        """Nobody tells how long deltas are remembered."""

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Of every plan or item that is followed, once the source is open."""
        return tuple(self._places)

    def polled_at(self, stream: Stream) -> float | None:
        """When a plan or an item last answered a poll, in seconds since 1970."""
        return self._places[stream.name].polled_at


def in_runs(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """A delta's changes in small runs, numbered; each is made when its turn comes."""
    run: list[Change] = []
    for ordinal, change in enumerate(changes):
        run.append(change._replace(ordinal=ordinal))
        if len(run) == CHANGES_TOGETHER:
            yield run
            run = []
    if run:
        yield run
