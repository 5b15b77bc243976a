"""One YNAB plan, asked: what is different, and what there is.

One request tells everything that is different in a plan. What it does not tell is read beside it,
by need: money movements when amounts of categories have changed, and the amounts of all categories
when a month has begun. A plan too large for one answer is read by its lists, where the payees'
locations are told whole, too. What is told whole is also looked at every hour.

The cursor's token: ``form`` (plan or lists), ``knowledge`` by endpoint, ``month`` whose amounts
stand in the categories, ``summary`` and ``movements`` (digests of what was told last; movements
stand for all that is told whole).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any

import orjson
from msgspec import Raw

from cdc.runtime.errors import BadAnswer, Gap, Unavailable
from cdc.sources.polled_objects import HeldRow, Unreadable, exact
from cdc.sources.protocol import Document
from cdc.sources.ynab_answers import (
    PLAN_RESOURCES,
    Entry,
    PlanAnswer,
    PlanSummary,
    Tell,
    answer_of,
    context_of,
    summary_document,
)
from cdc.sources.ynab_api import TooSlow, YnabApi
from cdc.sources.ynab_lists import ListsRead, lists_delta

MOVEMENTS = ("money_movement_groups", "money_movements")
TOLD_WHOLE = {"plan": MOVEMENTS, "lists": (*MOVEMENTS, "payee_locations")}
"""Lists without a delta, by form: their objects never say that they have gone."""
RESOURCES = ("plans", *PLAN_RESOURCES, "month_categories", *MOVEMENTS)
TOLD_WHOLE_SECONDS = 3600.0
"""So old may be what is told whole, where nothing else has changed."""
LISTS_REQUESTS = 7
"""What a poll by lists costs, about."""
TOO_SLOW_MAX = 2
"""So often one answer for a plan may be too slow; then it is read by its lists."""
GONE_MAX = 100
"""More movements than that have not gone at once without a second look."""
MONTH_LATE_SECONDS = 120.0
"""Categories are told anew so long after a month has begun: clocks differ."""

Token = dict[str, Any]
Digests = dict[str, bytes]


@dataclass(slots=True)
class Delta:
    """One poll's answer. ``gone``: of what is told whole that is told no more, (resource, id).

    ``movements``: all that is told whole, where what it was before is not known: nothing else tells
    what has gone. It is to be read whole then, and searched for.
    """

    answer: PlanAnswer
    token: Token
    summary: Document | None = None
    gone: list[tuple[str, str]] = field(default_factory=list)
    movements: dict[str, list[HeldRow]] | None = None

    def entries(self) -> Iterator[tuple[str, Entry]]:
        for resource, entries in self.answer.entries.items():
            for entry in entries:
                yield resource, entry

    def told(self) -> Iterator[tuple[str, str]]:
        """All that the delta tells of, (resource, id)."""
        if self.summary is not None:
            yield "plans", self.answer.plan.id
        for resource, entry in self.entries():
            yield resource, entry.id
        yield from self.gone


@dataclass(slots=True)
class Whole:
    """A plan as it stands: rows by resource, sorted by id, and the token to go on from."""

    rows: dict[str, list[HeldRow]]
    answer: PlanAnswer
    token: Token
    movements: Digests
    since: int
    """The round in which the first of it was read."""

    def document(self, resource: str, row: HeldRow) -> Document:
        if resource == "plans":
            found: Document = row[1]
            return found
        return self.answer.document(resource, row)


class YnabPlan:
    """Asks about one plan. Keeps no position: the token that is passed in is the truth."""

    def __init__(
        self,
        api: YnabApi,
        summary: PlanSummary,
        *,
        since_date: date,
        now: Callable[[], float],
        tell: Tell,
    ) -> None:
        self.summary = summary
        self._api = api
        self._since_date = since_date
        self._now = now
        self._tell = tell
        self._slow_wholes = 0
        self._slow_deltas = 0
        self._lists: ListsRead | None = None
        self._movements: dict[str, Digests] = {}
        """What was told whole, by the digest in the token: as published, and as told last."""
        self._told_whole_at = float("-inf")

    @staticmethod
    def requests_a_poll(token: Token) -> int:
        return LISTS_REQUESTS if token.get("form") == "lists" else 1

    def forget(self) -> None:
        """What has been read so far is not to be gone on with: what came after it is not known."""
        self._lists = None
        self._movements = {}

    async def delta(self, token: Token) -> Delta:
        """What is different since the token. Raises ``Gap`` where that cannot be told."""
        try:
            delta = await self._delta(token)
        except Gap:
            self._lists = None
            raise
        if self._lists is not None:
            self._lists.move_on(delta.told())
        return delta

    async def _delta(self, token: Token) -> Delta:
        knowledge: dict[str, int] = token.get("knowledge", {})
        answer = await self._different(token, knowledge)
        for endpoint, number in answer.knowledge.items():
            if number < knowledge.get(endpoint, 0):
                raise Gap(
                    f"the server's knowledge went back from {knowledge[endpoint]} to {number}",
                    operation=f"poll {endpoint}",
                    subject=self.summary.id,
                )
        delta = Delta(answer, token)
        await self._begin_month(token, answer)
        movements = token.get("movements", "")
        if movements not in self._movements or self._may_differ(token, answer):
            movements = await self._take_movements(movements, delta)
        document = summary_document(self.summary, context_of(self.summary))
        if _digest(document) != token.get("summary"):
            delta.summary = document
        delta.token = token | {
            "knowledge": knowledge | answer.knowledge,
            "month": answer.month,
            "summary": _digest(document),
            "movements": movements,
        }
        return delta

    async def _different(self, token: Token, knowledge: dict[str, int]) -> PlanAnswer:
        if token.get("form") == "lists":
            return await lists_delta(
                self._api,
                self.summary,
                knowledge,
                since_date=self._since_date,
                today=self._today(),
                tell=self._tell,
            )
        try:
            body, now = await self._api.plan(self.summary.id, knowledge.get("plan"))
        except TooSlow:
            await self._too_slow()
            raise
        self._slow_deltas = 0
        self.summary = _merged(body, self.summary)
        answer = answer_of(body, self._month(), whole=False, tell=self._tell)
        answer.knowledge["plan"] = now
        return answer

    async def _too_slow(self) -> None:
        """After some: does YNAB still answer what is small? Then this plan is too large for it."""
        self._slow_deltas += 1
        if self._slow_deltas <= TOO_SLOW_MAX:
            return
        try:
            await self._api.objects(self.summary.id, "accounts")
        except Unavailable:
            return  # YNAB is down, not slow
        self._slow_deltas = 0
        self._slow_wholes = TOO_SLOW_MAX
        raise Gap("the plan is too large for one answer: it is read by its lists")

    async def _begin_month(self, token: Token, answer: PlanAnswer) -> None:
        """A new month: the amounts of all categories mean another month without any edit."""
        if token.get("month", answer.month) == answer.month:
            return
        if self._month(MONTH_LATE_SECONDS) != answer.month:
            answer.month = token["month"]  # until it has begun for everybody
            return
        groups, _ = await self._api.objects(self.summary.id, "categories")
        for resource in ("category_groups", "categories"):
            entries = answer.entries.get(resource, [])
            answer.entries[resource] = [entry for entry in entries if entry.deleted]
        answer.add_groups(groups)

    def _may_differ(self, token: Token, answer: PlanAnswer) -> bool:
        """Whether what is told whole is asked for again."""
        if self._now() - self._told_whole_at > TOLD_WHOLE_SECONDS:
            return True
        if token.get("form") == "lists":
            return any(answer.entries.values())
        return bool(answer.entries.get("month_categories"))

    async def _take_movements(self, known: str, delta: Delta) -> str:
        """Adds what is told whole where it is new or different, and notes what has gone.

        Returns the new digest.
        """
        answer, names = delta.answer, TOLD_WHOLE[delta.token.get("form", "plan")]
        now = await self._told_whole(answer, names)
        digest = _digest_of(now)
        before = now if digest == known else self._movements.get(known)
        gone = set[str]() if before is None else before.keys() - now.keys()
        unusable = any(not entry.id for name in names for entry in answer.entries[name])
        if before is None or len(gone) > GONE_MAX or (gone and unusable):
            self._movements = {digest: now}
            delta.movements = {resource: answer.held_rows(resource) for resource in names}
            for resource in names:
                answer.entries[resource] = []
            return digest
        self._movements = {known: before, digest: now}
        for resource in names:
            answer.entries[resource] = [
                entry
                for entry in answer.entries[resource]
                if before.get(f"{resource}/{entry.id}") != _raw_digest(entry.raw)
            ]
        delta.gone += [(name, object_id) for name, _, object_id in (k.partition("/") for k in gone)]
        return digest

    async def _told_whole(self, answer: PlanAnswer, names: tuple[str, ...]) -> Digests:
        digests: Digests = {}
        for resource in names:
            if resource not in answer.entries:
                objects, _ = await self._api.objects(self.summary.id, resource)
                answer.add(resource, objects)
            for entry in answer.entries[resource]:
                if entry.id:
                    digests[f"{resource}/{entry.id}"] = _raw_digest(entry.raw)
        self._told_whole_at = self._now()
        return digests

    async def whole(self, at: int) -> Whole:
        """The plan as it stands; three requests, or by its lists. ``at``: the round."""
        since = at
        if self._slow_wholes < TOO_SLOW_MAX:
            form, answer = "plan", await self._body()
        else:
            form = "lists"
            if self._lists is None:
                self._lists = ListsRead(
                    self._api, self.summary, self._since_date, self._today(), self._tell, at
                )
            since, answer = self._lists.at, await self._lists.read()
            self._lists = None
        movements = await self._told_whole(answer, TOLD_WHOLE[form])
        document = summary_document(self.summary, answer.plan)
        token = {
            "form": form,
            "knowledge": answer.knowledge,
            "month": answer.month,
            "summary": _digest(document),
            "movements": _digest_of(movements),
        }
        rows = {name: answer.held_rows(name) for name in RESOURCES}
        rows["plans"] = [(self.summary.id, document)]
        return Whole(rows, answer, token, movements, since)

    def go_on_from(self, whole: Whole) -> None:
        """The stream stands at this whole read: later movements are compared with its own."""
        self._movements = {_digest_of(whole.movements): whole.movements}

    async def _body(self) -> PlanAnswer:
        try:
            body, knowledge = await self._api.plan(self.summary.id)
        except TooSlow:
            self._slow_wholes += 1
            raise
        except BadAnswer as error:
            if error.category == "too_large":
                self._slow_wholes = TOO_SLOW_MAX
            raise
        self._slow_wholes = 0
        self.summary = _merged(body, self.summary)
        answer = answer_of(body, self._month(), whole=True, tell=self._tell)
        answer.knowledge["plan"] = knowledge
        return answer

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now(), UTC).date()

    def _month(self, late_seconds: float = 0.0) -> str:
        at = datetime.fromtimestamp(self._now() - late_seconds, UTC)
        return f"{at:%Y-%m}-01"


def _merged(body: PlanSummary, known: PlanSummary) -> PlanSummary:
    """The plan's own facts where the body tells them, else as they were known."""
    told = {name: getattr(body, name) for name in PlanSummary.__struct_fields__}
    return PlanSummary(
        **{name: getattr(known, name) if value is None else value for name, value in told.items()}
    )


def _digest(document: Document) -> str:
    try:
        plain = orjson.dumps(exact(document), default=str)
    except Unreadable as error:
        raise BadAnswer(f"unexpected shape: {error}", category="shape") from error
    return blake2b(plain, digest_size=8).hexdigest()


def _digest_of(digests: Digests) -> str:
    parts = b"".join(key.encode() + b"\0" + digests[key] for key in sorted(digests))
    return blake2b(parts, digest_size=8).hexdigest()


def _raw_digest(raw: Raw) -> bytes:
    return blake2b(bytes(raw), digest_size=8).digest()
