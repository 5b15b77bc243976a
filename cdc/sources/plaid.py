"""Plaid as a source: one stream an item, followed by its own cursor.

A whole read is an update from the very beginning: it tells everything there is and the cursor to
go on from, but nothing of what has gone. An item that needs a login stops alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cdc.runtime.errors import SettingsError
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.plaid_item import RESOURCES, HistoryToCome, ItemDelta, PlaidItem
from cdc.sources.polled import HeldRead, Load, PolledStream, Room
from cdc.sources.polled_objects import CONTEXT, NO_ID, change_of
from cdc.sources.polled_source import PolledSource, in_runs
from cdc.sources.protocol import Change, Checkpoint, Item, Page, Stream, Told, Window

POLL_SECONDS = 300.0
"""Banks are looked at by Plaid a few times a day: more often buys nothing."""
ACCOUNTS_SECONDS = 900.0
READS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Login:
    """An item as configured. ``name``: what a person calls it, for good."""

    name: str
    access_token: str

    def __repr__(self) -> str:
        return f"Login({self.name!r}, ***)"


class PlaidSource(PolledSource[dict[str, Any]]):
    """See ``protocol.Source``."""

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
        super().__init__(
            name, now=now, poll_seconds=poll_seconds, reads_at_once=READS_AT_ONCE, pause=pause
        )
        self._api = api
        self._histories = Room(READS_AT_ONCE)
        """Bounds the updates of years that are in memory: half of one is not to be published."""
        self._items: dict[str, PlaidItem] = {}
        for login in logins:
            _check_name(login.name, self._items)
            self._items[login.name] = PlaidItem(
                api, login.name, login.access_token, now=now, accounts_seconds=accounts_seconds
            )
            stream = Stream(login.name, tuple(f"{login.name}/{each}" for each in RESOURCES))
            self._places[login.name] = PolledStream(stream, now, self._room)

    async def open(self) -> tuple[Stream, ...]:
        return tuple(place.stream for place in self._places.values())

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        place, item = self._places[stream.name], self._items[stream.name]
        self._histories.leave(place)
        place.due_at = 0.0
        if after is not None:
            item.stand(after.token)
            return place.place(after)
        place.drop()
        if not place.room.has_room():  # its pages will be read when there is
            async with place.lock:
                return place.stand(await item.end(), place.next_round()[0], -1)
        async with self._reading(place):
            try:
                held, token = await self._read_whole(place)
            except HistoryToCome:  # what there is comes as changes; pages, when it is complete
                return place.stand(item.beginning(), place.next_round()[0], -1)
            return place.stand(token, held.at, -1)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        place, item = self._places[stream.name], self._items[stream.name]
        self._histories.leave(place)  # what it told last is on its way
        if not await place.rest(wait_seconds, self._pause):
            place.let_go()
            yield place.checkpoint()
            return
        async with self._room_for(place, item), place.lock:
            position, asked = place.next_round()
            delta = await item.delta(place.token)
            if place.held is not None:
                named = ((f"{stream.name}/{each.resource}", each.id) for each in delta.changes)
                place.held.move_on(named, position, asked)
            place.polled_at = self._now()
            place.due_at = place.polled_at + self._poll_seconds
        ordinal = -1
        for changes in in_runs(self._changes_of(stream.name, delta, position)):
            ordinal = changes[-1].ordinal
            yield changes
        item.stand(delta.token)
        yield place.stand(delta.token, position, ordinal)

    @asynccontextmanager
    async def _room_for(self, place: PolledStream, item: PlaidItem) -> AsyncIterator[None]:
        """Room for an update that may tell of years; kept until the stream asks for the next."""
        if item.may_tell_much(place.token):
            await self._histories.enter(place)
        try:
            yield
        except BaseException:
            self._histories.leave(place)
            raise

    def _changes_of(self, name: str, delta: ItemDelta, position: int) -> Iterator[Change]:
        item, time_ms = self._items[name], int(self._now() * 1000)
        for each in delta.changes:
            collection, row = f"{name}/{each.resource}", (each.id, each.raw)
            if each.op == "d":
                before, fault = {CONTEXT: item.context}, None if each.id else NO_ID
                row_id = each.id or None
                yield Change(collection, "d", row_id, before, None, position, 0, time_ms, fault)
            else:
                load = partial(item.document, each.resource)
                yield change_of(collection, each.op, row, load, position, 0, time_ms)

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

    async def _read_whole(self, place: PolledStream) -> tuple[HeldRead, dict[str, Any]]:
        name = place.stream.name
        at, asked = place.next_round()
        rows, token = await self._items[name].whole()
        held = {f"{name}/{resource}": found for resource, found in rows.items()}
        return place.hold(held, self._loader(name), at, asked), token

    def mended(self) -> None:
        self._api.mended()

    async def close(self) -> None:
        await self._api.close()


def _check_name(name: str, known: dict[str, PlaidItem]) -> None:
    """An item's name is in its collections' names, so it must be told from the rest of them."""
    if not name or any(sign in name for sign in "/:"):
        raise SettingsError(f"an item's name has no / and no colon: {name!r}")
    if name in known:
        raise SettingsError(f"two items are called {name!r}")
