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
from cdc.runtime.errors import Gap, StreamsChanged, Unfit
from cdc.sources.polled import HeldRead, PolledStream
from cdc.sources.polled_objects import HeldRow, change_of
from cdc.sources.polled_source import PolledSource, in_runs
from cdc.sources.protocol import Change, Checkpoint, Document, Item, Notice, Stream
from cdc.sources.ynab_answers import PlanSummary, Told
from cdc.sources.ynab_api import YnabApi
from cdc.sources.ynab_plan import RESOURCES, Delta, Whole, YnabPlan

SINCE_DATE = date(1990, 1, 1)
POLL_SECONDS = 30.0
PLANS_SECONDS = 3600.0
"""How long the list of plans is believed: one may be new, or have another name."""
ABSENT_SECONDS = 300.0
"""The same while a plan that is wanted is not in it."""
FORGOTTEN_SECONDS = 7 * 24 * 3600.0
"""How long YNAB is trusted to remember what was deleted: nothing says so."""
READS_AT_ONCE = 100
"""Plans are few, and a whole read costs requests: none waits for another."""
SPREAD_SECONDS = 900.0
"""Polls are so far apart that what is left of the quota would last for this long."""


class YnabSource(PolledSource[Whole]):
    """See ``protocol.Source``.

    ``plans``: names or ids to follow; empty: all. One that does not exist has a stream of its own,
    which says so. ``told``: what its plans contradict themselves in.
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
        super().__init__(
            name, now=now, poll_seconds=poll_seconds, reads_at_once=READS_AT_ONCE, pause=pause
        )
        self._api = api
        self._wanted = tuple(plans)
        self._since_date = since_date
        self._told = told or Told()
        self._plans: dict[str, YnabPlan] = {}
        self.absent: dict[str, Unfit] = {}
        """Plans that were wanted and never seen."""
        self._listed_at = float("-inf")

    async def open(self) -> tuple[Stream, ...]:
        if self._list_is_old() or not self._places:
            listed, self.absent = self._chosen(await self._api.plans())
            self._plans = {plan.id: self._followed(plan) for plan in listed}
            self._places = {name: self._place(name) for name in (*self._plans, *self.absent)}
            self._listed_at = self._now()
        return tuple(place.stream for place in self._places.values())

    def _list_is_old(self) -> bool:
        believed_seconds = ABSENT_SECONDS if self.absent else PLANS_SECONDS
        return self._now() - self._listed_at > believed_seconds

    async def _look_for_plans(self) -> None:
        """Names as they are now. Raises ``StreamsChanged`` where a plan was not followed so far."""
        if not self._list_is_old():
            return
        self._listed_at = self._now()  # nobody else asks meanwhile
        try:
            listed, _ = self._chosen(await self._api.plans())
        except QuotaSpent:
            return  # the list can wait
        for plan in listed:
            if plan.id not in self._plans:
                self._listed_at = float("-inf")
                raise StreamsChanged(f"there is a plan to follow: {plan.name}", subject=self.name)
            self._plans[plan.id].summary = plan

    def _chosen(self, plans: Sequence[PlanSummary]) -> tuple[list[PlanSummary], dict[str, Unfit]]:
        """The plans to be followed, and what is wanted and absent.

        One that was known before may be back at any time.
        """
        names = ", ".join(sorted(str(plan.name) for plan in plans)) or "none"
        absent: dict[str, Unfit] = {}
        if not self._wanted:
            return list(plans), absent
        known = {plan.summary.id: plan.summary for plan in self._plans.values()}
        known |= {plan.id: plan for plan in plans}
        chosen: dict[str, PlanSummary] = {}
        for wanted in self._wanted:
            found = {plan.id: plan for plan in known.values() if wanted in (plan.id, plan.name)}
            chosen |= found
            if not found:
                absent[wanted] = Unfit(
                    f"the token's owner has no plan {wanted}",
                    subject=self.name,
                    hint=f"there are: {names}",
                )
        return list(chosen.values()), absent

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
        return self._places.get(plan_id) or PolledStream(stream, self._now, self._room)

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        if stream.name in self.absent:
            await self._look_for_plans()
            raise self.absent[stream.name]
        place, plan = self._places[stream.name], self._plans[stream.name]
        place.due_at = 0.0
        if after is not None:
            _check_age(after, self._now())
            if place.came_from_elsewhere(after):
                plan.forget()
            return place.place(after)
        async with self._reading(place):
            held, whole = await self._read_whole(place)
            plan.go_on_from(whole)
            return place.stand(whole.token, held.at, -1)

    async def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        place = self._places[stream.name]
        if not await place.rest(wait_seconds, self._pause):
            place.let_go()
            yield place.checkpoint()
            return
        await self._look_for_plans()
        async with place.lock:
            position, asked = place.next_round()
            delta = await self._delta(place)
            if delta is not None:
                self._polled(place, delta, position, asked)
        if delta is None:
            yield place.checkpoint()
            return
        if delta.movements is not None:
            names = tuple(f"{stream.name}/{resource}" for resource in delta.movements)
            yield Notice("what was before is not known", names, position, deletes_allowed=False)
        ordinal = -1
        for changes in in_runs(self._changes_of(stream.name, delta, position)):
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
            named = [(f"{plan_id}/{name}", object_id) for name, object_id in delta.told()]
            place.held.move_on(named, position, asked)
        place.polled_at = self._now()
        place.due_at = place.polled_at + self._interval_seconds(delta.token)
        if delta.movements is not None:
            rows = {f"{plan_id}/{name}": found for name, found in delta.movements.items()}
            place.hold(rows, _loader(delta.answer.document), position, asked)

    def _interval_seconds(self, token: dict[str, Any]) -> float:
        """To the next poll: the less of the quota is left, the longer."""
        requests = len(self._plans) * YnabPlan.requests_a_poll(token)
        spread = requests * SPREAD_SECONDS / max(self._api.quota.left, 1)
        return max(self._poll_seconds, spread)

    def _changes_of(self, plan_id: str, delta: Delta, position: int) -> Iterator[Change]:
        time_ms = int(self._now() * 1000)

        def gone(resource: str, object_id: str) -> Change:
            return Change(f"{plan_id}/{resource}", "d", object_id, None, None, position, 0, time_ms)

        if delta.summary is not None:
            after = delta.summary
            yield Change(f"{plan_id}/plans", "u", plan_id, None, after, position, 0, time_ms)
        for resource, entry in delta.entries():
            if entry.deleted:
                yield gone(resource, entry.id)
            else:
                load = partial(delta.answer.document, resource)
                row = (entry.id, entry.raw)
                yield change_of(f"{plan_id}/{resource}", "u", row, load, position, 0, time_ms)
        for resource, object_id in delta.gone:
            yield gone(resource, object_id)

    async def _read_whole(self, place: PolledStream) -> tuple[HeldRead, Whole]:
        plan_id = place.stream.name
        at, asked = place.next_round()
        self._told.read_whole(plan_id)
        whole = await self._plans[plan_id].whole(at)
        rows = {f"{plan_id}/{resource}": found for resource, found in whole.rows.items()}
        return place.hold(rows, _loader(whole.document), at, asked, since=whole.since), whole

    def mended(self) -> None:
        self._api.mended()

    async def close(self) -> None:
        await self._api.close()

    @property
    def quota_left(self) -> int:
        """Requests that the token may still make, as of the last one."""
        return self._api.quota.left


def _loader(document: Callable[[str, HeldRow], Document]) -> Callable[[str, HeldRow], Document]:
    """From documents by resource to those by collection."""
    return lambda collection, row: document(collection.partition("/")[2], row)


def _check_age(after: Checkpoint, now: float) -> None:
    """A delta to very old knowledge could be a whole answer, which is silent about deletes."""
    age_seconds = now - after.position / 1000
    if age_seconds > FORGOTTEN_SECONDS:
        days = int(age_seconds // 86_400)
        raise Gap(f"the plan was last polled {days} days ago", operation="go on")
