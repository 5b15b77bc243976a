"""Plaid as a source: one stream an item, followed by its own cursor.

A whole read is an update from the very beginning: it tells everything there is and the cursor to
go on from, but nothing of what has gone. An item that needs a login stops alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cdc.runtime.errors import SettingsError
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.plaid_item import RESOURCES, Changed, ItemDelta, PlaidItem
from cdc.sources.polled import (
    CHANGES_TOGETHER,
    CONTEXT,
    NO_ID,
    HeldRead,
    Load,
    PolledStream,
)
from cdc.sources.protocol import Change, Checkpoint, Item, Page, Stream, Told, Window

POLL_SECONDS = 300.0
"""Banks are looked at by Plaid a few times a day: more often buys nothing."""
ACCOUNTS_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Login:
    """An item as configured. ``name``: what a person calls it, for good."""

    name: str
    access_token: str

    def __repr__(self) -> str:
        return f"Login({self.name!r}, ***)"


class PlaidSource:
    """See ``protocol.Source``. ``now``: seconds since 1970. ``pause`` waits."""

    connector = "plaid"

    def __init__(
        self,
        name: str,
        api: PlaidApi,
        logins: Sequence[Login],
        *,
        now: Callable[[], float],
        poll_seconds: float = POLL_SECONDS,
        accounts_seconds: float = ACCOUNTS_SECONDS,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._api = api
        self._now = now
        self._poll_seconds = poll_seconds
        self._pause = pause
        self._items: dict[str, PlaidItem] = {}
        self._places: dict[str, PolledStream] = {}
        for login in logins:
            _check_name(login.name, self._items)
            self._items[login.name] = PlaidItem(
                api, login.name, login.access_token, now=now, accounts_seconds=accounts_seconds
            )
            stream = Stream(login.name, tuple(f"{login.name}/{each}" for each in RESOURCES))
            self._places[login.name] = PolledStream(stream, now)

    async def open(self) -> tuple[Stream, ...]:
        return tuple(place.stream for place in self._places.values())

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        place, item = self._places[stream.name], self._items[stream.name]
        place.due_at = 0.0
        if after is not None:
            item.stand(after.token)
            return place.place(after)
        async with place.lock:
            held, token = await self._read_whole(stream.name)
            return place.stand(token, held.at, -1)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        place, item = self._places[stream.name], self._items[stream.name]
        if not await place.rest(wait_seconds, self._pause):
            place.let_go()
            yield place.checkpoint()
            return
        async with place.lock:
            position, asked = place.next_round()
            delta = await item.delta(place.token)
            if place.held is not None:
                named = ((f"{stream.name}/{each.resource}", each.id) for each in delta.changes)
                place.held.move_on(named, position, asked)
            place.polled_at = self._now()
            place.due_at = place.polled_at + self._poll_seconds
        ordinal = -1
        for changes in self._given_out(stream.name, delta, position):
            ordinal = changes[-1].ordinal
            yield changes
        item.stand(delta.token)
        yield place.stand(delta.token, position, ordinal)

    def _given_out(self, name: str, delta: ItemDelta, position: int) -> Iterator[list[Change]]:
        """A delta's changes in small runs; each is decoded when its turn comes."""
        run: list[Change] = []
        for ordinal, changed in enumerate(delta.changes):
            run.append(self._change(name, changed, position, ordinal))
            if len(run) == CHANGES_TOGETHER:
                yield run
                run = []
        if run:
            yield run

    def _change(self, name: str, changed: Changed, position: int, ordinal: int) -> Change:
        item, gone = self._items[name], changed.op == "d"
        return Change(
            f"{name}/{changed.resource}",
            changed.op,
            changed.id or None,
            {CONTEXT: item.context} if gone else None,
            None if gone else item.document(changed.resource, (changed.id, changed.raw)),
            position,
            ordinal,
            int(self._now() * 1000),
            None if changed.id else NO_ID,
        )

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        place = self._places[stream.name]
        async with place.lock:
            held = place.held
            if held is None or not held.serves(collection, start):
                held, _ = await self._read_whole(stream.name)
            return held.page(collection, start, rows_max, self._now())

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        place = self._places[stream.name]
        async with place.lock:
            held, _ = await self._read_whole(stream.name)
            return held.look_up(collection, ids)

    async def window(
        self, stream: Stream, collection: str, window: Window
    ) -> tuple[Page, dict[str, Told]]:
        place = self._places[stream.name]
        async with place.lock:
            at, asked = place.next_round()
            rows, told = await self._items[stream.name].window(window)
            place.due_at = 0.0  # the stream must pass it
        now = self._now()
        held = HeldRead(
            {collection: rows},
            self._loader(stream.name),
            at=at,
            asked=asked,
            time_ms=int(now * 1000),
            now=now,
        )
        return held.page(collection, None, len(rows), now), told

    def _loader(self, name: str) -> Load:
        item = self._items[name]
        return lambda collection, row: item.document(collection.rpartition("/")[2], row)

    async def _read_whole(self, name: str) -> tuple[HeldRead, dict[str, Any]]:
        place, item = self._places[name], self._items[name]
        at, asked = place.next_round()
        rows, token = await item.whole()
        held = {f"{name}/{resource}": found for resource, found in rows.items()}
        return place.hold(held, self._loader(name), at, asked), token

    async def total(self, stream: Stream, collection: str) -> int | None:
        held = self._places[stream.name].held
        return None if held is None else held.total(collection)

    async def history_seconds(self) -> None:
        """Nobody tells how long deltas are remembered."""

    async def close(self) -> None:
        await self._api.close()

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Of every item that is followed, once the source is open."""
        return tuple(self._places)

    def polled_at(self, stream: Stream) -> float | None:
        """When an item last answered a poll, in seconds since 1970."""
        return self._places[stream.name].polled_at


def _check_name(name: str, known: dict[str, PlaidItem]) -> None:
    """An item's name is in its collections' names, so it must be told from the rest of them."""
    if not name or any(sign in name for sign in "/:"):
        raise SettingsError(f"an item's name has no / and no colon: {name!r}")
    if name in known:
        raise SettingsError(f"two items are called {name!r}")
