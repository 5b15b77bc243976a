"""YNAB as a source: one stream a plan, polled by ``server_knowledge``.

A poll where nothing has changed costs one request, and the token's quota decides how often there
is one. A plan that fails does not touch the others: each has its own knowledge and its own place.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import Any

from cdc.quota import QuotaSpent
from cdc.runtime.errors import Gap, Unfit
from cdc.sources.polled import CHANGES_TOGETHER, NO_ID, HeldRead, HeldRow, PolledStream
from cdc.sources.protocol import Change, Checkpoint, Document, Item, Page, Stream
from cdc.sources.ynab_answers import PlanSummary, Told
from cdc.sources.ynab_api import YnabApi
from cdc.sources.ynab_plan import RESOURCES, Delta, YnabPlan

SINCE_DATE = date(1990, 1, 1)
POLL_SECONDS = 30.0
PLANS_SECONDS = 3600.0
"""How long the list of plans is believed when a session starts anew."""
FORGOTTEN_SECONDS = 7 * 24 * 3600.0
"""How long YNAB is trusted to remember what was deleted: nothing says so."""
SPREAD_SECONDS = 900.0
"""Polls are so far apart that what is left of the quota would last for this long."""


class YnabSource:
    """See ``protocol.Source``.

    ``plans``: names or ids to follow; empty: all. ``now``: seconds since 1970. ``pause`` waits.
    ``told``: what its plans contradict themselves in.
    """

    connector = "ynab"

    def __init__(
        self,
        name: str,
        api: YnabApi,
        *,
        now: Callable[[], float],
        plans: Sequence[str] = (),
        since_date: date = SINCE_DATE,
        poll_seconds: float = POLL_SECONDS,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        told: Told | None = None,
    ) -> None:
        self.name = name
        self._api = api
        self._now = now
        self._wanted = tuple(plans)
        self._since_date = since_date
        self._poll_seconds = poll_seconds
        self._pause = pause
        self._told = told or Told()
        self._plans: dict[str, YnabPlan] = {}
        self._places: dict[str, PolledStream] = {}
        self._listed_at = float("-inf")

    async def open(self) -> tuple[Stream, ...]:
        if not self._plans or self._now() - self._listed_at > PLANS_SECONDS:
            listed = self._chosen(await self._api.plans())
            self._plans = {plan.id: self._followed(plan) for plan in listed}
            self._places = {name: self._place(name) for name in self._plans}
            self._listed_at = self._now()
        return tuple(place.stream for place in self._places.values())

    def _chosen(self, plans: Sequence[PlanSummary]) -> list[PlanSummary]:
        missing = set(self._wanted) - {plan.id for plan in plans} - {plan.name for plan in plans}
        if missing:
            raise Unfit(
                f"the token's owner has no plan {', '.join(sorted(missing))}",
                subject=self.name,
                hint=f"there are: {', '.join(sorted(plan.name for plan in plans)) or 'none'}",
            )
        if not self._wanted:
            return list(plans)
        return [plan for plan in plans if plan.id in self._wanted or plan.name in self._wanted]

    def _followed(self, summary: PlanSummary) -> YnabPlan:
        plan = self._plans.get(summary.id)
        if plan is None:
            return YnabPlan(
                self._api,
                summary,
                since_date=self._since_date,
                now=self._now,
                tell=partial(self._told.sum_of, summary.id),
            )
        plan.summary = summary
        return plan

    def _place(self, plan_id: str) -> PolledStream:
        collections = tuple(f"{plan_id}/{resource}" for resource in RESOURCES)
        stream = Stream(plan_id, collections, {"plan": plan_id})
        return self._places.get(plan_id) or PolledStream(stream, self._now)

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        place = self._places[stream.name]
        place.due_at = 0.0
        if after is not None:
            _check_age(after, self._now())
            return place.place(after)
        async with place.lock:
            held, token = await self._read_whole(stream.name, stands=True)
            return place.stand(token, held.at, -1)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        place = self._places[stream.name]
        if not await place.rest(wait_seconds, self._pause):
            place.let_go()
            yield place.checkpoint()
            return
        async with place.lock:
            position, asked = place.next_round()
            delta = await self._delta(place)
            if delta is not None:
                self._polled(place, delta, position, asked)
        if delta is None:
            yield place.checkpoint()
            return
        ordinal = -1
        for changes in self._given_out(stream.name, delta, position):
            ordinal = changes[-1].ordinal
            yield changes
        yield place.stand(delta.token, position, ordinal)

    async def _delta(self, place: PolledStream) -> Delta | None:
        """What is different; None, and no error, where the quota says later."""
        try:
            return await self._plans[place.stream.name].delta(place.token)
        except QuotaSpent as error:
            place.due_at = self._now() + (error.retry_after_seconds or self._poll_seconds)
            return None

    def _polled(self, place: PolledStream, delta: Delta, position: int, asked: int) -> None:
        plan_id = place.stream.name
        if place.held is not None:
            named = [(f"{plan_id}/{name}", entry.id) for name, entry in delta.entries()]
            named += [(f"{plan_id}/{name}", object_id) for name, object_id in delta.gone]
            if delta.summary is not None:
                named.append((f"{plan_id}/plans", plan_id))
            place.held.move_on(named, position, asked)
        place.polled_at = self._now()
        place.due_at = place.polled_at + self._interval_seconds(delta.token)

    def _interval_seconds(self, token: dict[str, Any]) -> float:
        """To the next poll: the less of the quota is left, the longer."""
        requests = len(self._plans) * YnabPlan.requests_a_poll(token)
        spread = requests * SPREAD_SECONDS / max(self._api.quota.left, 1)
        return max(self._poll_seconds, spread)

    def _given_out(self, plan_id: str, delta: Delta, position: int) -> Iterator[list[Change]]:
        """A delta's changes in small runs; each is decoded when its turn comes."""
        run: list[Change] = []
        for ordinal, change in enumerate(self._changes_of(plan_id, delta, position)):
            run.append(change._replace(ordinal=ordinal))
            if len(run) == CHANGES_TOGETHER:
                yield run
                run = []
        if run:
            yield run

    def _changes_of(self, plan_id: str, delta: Delta, position: int) -> Iterator[Change]:
        time_ms = int(self._now() * 1000)
        if delta.summary is not None:
            document = delta.summary
            yield Change(f"{plan_id}/plans", "u", plan_id, None, document, position, 0, time_ms)
        for resource, entry in delta.entries():
            collection = f"{plan_id}/{resource}"
            if not entry.id:
                yield Change(collection, "u", None, None, None, position, 0, time_ms, NO_ID)
            elif entry.deleted:
                yield Change(collection, "d", entry.id, None, None, position, 0, time_ms)
            else:
                after = delta.answer.document(resource, (entry.id, entry.raw))
                yield Change(collection, "u", entry.id, None, after, position, 0, time_ms)
        for resource, object_id in delta.gone:
            yield Change(f"{plan_id}/{resource}", "d", object_id, None, None, position, 0, time_ms)

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

    async def _read_whole(
        self, plan_id: str, *, stands: bool = False
    ) -> tuple[HeldRead, dict[str, Any]]:
        """Reads and holds the plan. ``stands``: the stream goes on from it."""
        place, plan = self._places[plan_id], self._plans[plan_id]
        at, asked = place.next_round()
        self._told.read_whole(plan_id)
        whole = await plan.whole()
        if stands:
            plan.go_on_from(whole)

        def load(collection: str, row: HeldRow) -> Document:
            return whole.document(collection.partition("/")[2], row)

        rows = {f"{plan_id}/{resource}": found for resource, found in whole.rows.items()}
        return place.hold(rows, load, at, asked), whole.token

    async def total(self, stream: Stream, collection: str) -> int | None:
        held = self._places[stream.name].held
        return None if held is None else held.total(collection)

    async def history_seconds(self) -> None:
        """Nobody tells how long deltas are remembered."""

    async def close(self) -> None:
        await self._api.close()

    @property
    def quota_left(self) -> int:
        """Requests that the token may still make, as of the last one."""
        return self._api.quota.left

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Of every plan that is followed, once the source is open."""
        return tuple(self._places)

    def polled_at(self, stream: Stream) -> float | None:
        """When a plan last answered a poll, in seconds since 1970."""
        return self._places[stream.name].polled_at


def _check_age(after: Checkpoint, now: float) -> None:
    """A delta to very old knowledge could be a whole answer, which is silent about deletes."""
    age_seconds = now - after.position / 1000
    if age_seconds > FORGOTTEN_SECONDS:
        days = int(age_seconds // 86_400)
        raise Gap(f"the plan was last polled {days} days ago", operation="go on")
