"""A plan read by its lists: for plans that are too large to come in one answer.

Each list has a knowledge of its own. Transactions are asked for in stretches of time, each with
both dates given (without them YNAB leaves out what is older than a year, silently); a stretch that
is too slow is halved. What has been read is kept, so that a try that ends early is not for nothing:
a plan of many years takes more requests than an hour has. What deltas tell meanwhile is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from msgspec import Raw

from cdc.runtime.errors import Gap
from cdc.sources.ynab_answers import PlanAnswer, PlanSummary, Tell, context_of, is_day
from cdc.sources.ynab_api import TooSlow, YnabApi

DELTA_LISTS = (
    "accounts",
    "categories",
    "payees",
    "months",
    "scheduled_transactions",
    "transactions",
)
STRETCH_DAYS = 366
STRETCH_DAYS_MIN = 16
YEARS_AHEAD = 6
MONTHS_CHANGED_MAX = 24
"""A change further back is read whole rather than month by month."""


@dataclass(slots=True)
class ListsRead:
    """A whole read by lists under way. ``since_date``: where transactions begin.

    ``at``: the round in which it began.
    """

    api: YnabApi
    plan: PlanSummary
    since_date: date
    today: date
    tell: Tell
    at: int
    _told: set[tuple[str, str]] = field(default_factory=set)
    _lists: dict[str, list[Raw]] = field(default_factory=dict)
    _months: dict[str, list[Raw]] = field(default_factory=dict)
    _knowledge: dict[str, int] = field(default_factory=dict)
    _transactions: list[Raw] = field(default_factory=list)
    _from: date | None = None
    _days: int = STRETCH_DAYS

    def move_on(self, told: Iterable[tuple[str, str]]) -> None:
        """A delta has told these (resource, id): what was read of them before is too old."""
        self._told.update(told)

    async def read(self) -> PlanAnswer:
        """The plan whole; goes on where an earlier try has ended."""
        for resource in (*DELTA_LISTS[:-1], "payee_locations"):
            if resource not in self._lists:
                objects, knowledge = await self.api.objects(self.plan.id, resource)
                self._lists[resource] = objects
                if knowledge is not None:
                    self._knowledge[resource] = knowledge
        await self._read_transactions()
        answer = PlanAnswer(context_of(self.plan), f"{self.today:%Y-%m}-01", whole=True)
        fill(answer, self._lists, self.tell)
        answer.add_parents("transactions", self._transactions, self.tell)
        for month in _months(answer):
            if month not in self._months:
                self._months[month] = await self.api.month_categories(self.plan.id, month)
        for month, categories in self._months.items():
            answer.add_month_categories(month, categories)
        answer.knowledge = dict(self._knowledge)
        for resource, entries in answer.entries.items() if self._told else ():
            entries[:] = [each for each in entries if (resource, each.id) not in self._told]
        return answer

    async def _read_transactions(self) -> None:
        end = self.today.replace(year=self.today.year + YEARS_AHEAD, day=1)
        start = self._from or self._first_stretch_start()
        while start <= end:
            first = start == self._first_stretch_start()
            since = self.since_date if first else start
            until = min(start + timedelta(days=self._days - 1), end)
            try:
                objects, knowledge = await self.api.objects(
                    self.plan.id,
                    "transactions",
                    since_date=since.isoformat(),
                    until_date=until.isoformat(),
                )
            except TooSlow:
                if self._days <= STRETCH_DAYS_MIN:
                    raise
                self._days //= 2
                continue
            self._transactions += objects
            if knowledge is not None:  # the first, smallest one: later ones would leave a gap
                self._knowledge.setdefault("transactions", knowledge)
            self._from = start = until + timedelta(days=1)

    def _first_stretch_start(self) -> date:
        first_month = str(self.plan.first_month)
        start = date.fromisoformat(first_month) if is_day(first_month) else self.today
        return max(self.since_date, min(start, self.today))


def fill(answer: PlanAnswer, lists: dict[str, list[Raw]], tell: Tell) -> None:
    """What the lists hold, months without their categories."""
    for resource, raws in lists.items():
        if resource == "categories":
            answer.add_groups(raws)
        elif resource == "months":
            answer.add_months(raws)
        elif resource.endswith("transactions"):
            answer.add_parents(resource, raws, tell)
        else:
            answer.add(resource, raws)


async def lists_delta(
    api: YnabApi,
    plan: PlanSummary,
    knowledge: dict[str, int],
    *,
    since_date: date,
    today: date,
    tell: Tell,
) -> PlanAnswer:
    """What is different since each list's own knowledge. Raises ``Gap`` where one has none."""
    answer = PlanAnswer(context_of(plan), f"{today:%Y-%m}-01", whole=False)
    lists: dict[str, list[Raw]] = {}
    for resource in DELTA_LISTS:
        if resource not in knowledge:
            raise Gap(f"there is no knowledge of {resource}", subject=plan.id)
        dates = {"since_date": since_date.isoformat()} if resource == "transactions" else {}
        objects, now = await api.objects(plan.id, resource, knowledge[resource], **dates)
        lists[resource] = objects
        answer.knowledge[resource] = knowledge[resource] if now is None else now
    fill(answer, lists, tell)
    changed = _months(answer)
    if changed:
        for month in await _months_since(api, plan, min(changed)):
            answer.add_month_categories(month, await api.month_categories(plan.id, month))
    return answer


async def _months_since(api: YnabApi, plan: PlanSummary, first: str) -> list[str]:
    """The months from ``first`` on: what is left in a category is carried into all later ones,
    which the list of months does not tell."""
    every = PlanAnswer(context_of(plan), "", whole=True)
    every.add_months((await api.objects(plan.id, "months"))[0])
    months = [month for month in _months(every) if month >= first]
    if len(months) > MONTHS_CHANGED_MAX:
        raise Gap(f"{len(months)} months have changed at once", subject=plan.id)
    return months


def _months(answer: PlanAnswer) -> list[str]:
    live = (entry for entry in answer.entries["months"] if entry.id and not entry.deleted)
    return [entry.id.rpartition("/")[2] for entry in live]
