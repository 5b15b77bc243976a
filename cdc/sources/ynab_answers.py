"""What YNAB answers, taken apart into objects without decoding them: a plan may have 100,000.

Both forms end in the same ``PlanAnswer``: the plan in one body (flat arrays), and the lists, in
which lines and categories are nested in their parents.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from cdc.runtime.errors import BadAnswer
from cdc.sources.polled import by_id
from cdc.sources.polled_objects import (
    CONTEXT,
    HeldRow,
    Unreadable,
    head_of,
    object_of,
    usable_id,
)
from cdc.sources.protocol import Document

PLAN_RESOURCES = (
    "accounts",
    "payees",
    "payee_locations",
    "category_groups",
    "categories",
    "months",
    "transactions",
    "subtransactions",
    "scheduled_transactions",
    "scheduled_subtransactions",
)
"""The arrays of a plan's body, and the resources they are."""


DIGITS_MAX = 6
"""More decimals than any currency has."""


class CurrencyFormat(Struct):
    iso_code: str | None = None
    decimal_digits: Annotated[int, Meta(ge=0, le=DIGITS_MAX)] | None = None


class PlanSummary(Struct):
    """A plan in the list of plans. What is only kept is checked with the plan's row."""

    id: str
    name: Any = None
    last_modified_on: Any = None
    first_month: Any = None
    last_month: Any = None
    date_format: Any = None
    currency_format: Any = None


class PlanBody(PlanSummary):
    """A plan with everything in it, or with everything that is different."""

    accounts: list[Raw] | None = None
    payees: list[Raw] | None = None
    payee_locations: list[Raw] | None = None
    category_groups: list[Raw] | None = None
    categories: list[Raw] | None = None
    months: list[Raw] | None = None
    transactions: list[Raw] | None = None
    subtransactions: list[Raw] | None = None
    scheduled_transactions: list[Raw] | None = None
    scheduled_subtransactions: list[Raw] | None = None


class Head(Struct):
    """The part of an object that must be known before it is decoded."""

    id: str
    deleted: bool | None = None


class ParentHead(Head):
    """A transaction. ``subtransactions``: in the lists only, its complete set of lines."""

    amount: Any = None
    subtransactions: list[Raw] | None = None


class LineHead(Head):
    amount: Any = None
    transaction_id: str | None = None
    scheduled_transaction_id: str | None = None


class GroupHead(Head):
    categories: list[Raw] | None = None


class MonthHead(Struct):
    month: str
    deleted: bool | None = None
    categories: list[Raw] | None = None


_HEAD = msgspec.json.Decoder(Head)
_PARENT = msgspec.json.Decoder(ParentHead)
_LINE = msgspec.json.Decoder(LineHead)
_GROUP = msgspec.json.Decoder(GroupHead)
_MONTH = msgspec.json.Decoder(MonthHead)

LINES_OF = {
    "transactions": "subtransactions",
    "scheduled_transactions": "scheduled_subtransactions",
}


class PlanContext(NamedTuple):
    """What every object of a plan needs to be understood. ``digits``: its currency's decimals."""

    id: str
    currency: str | None
    digits: int


def context_of(plan: PlanSummary) -> PlanContext:
    """Raises ``BadAnswer`` where the currency is not what it should be: no amount has a meaning."""
    try:
        money = msgspec.convert(plan.currency_format or {}, CurrencyFormat)
    except msgspec.ValidationError as error:
        raise BadAnswer(
            f"unexpected shape: currency_format: {error}",
            category="shape",
            operation=f"GET /plans/{plan.id}",
        ) from error
    digits = 2 if money.decimal_digits is None else money.decimal_digits
    return PlanContext(plan.id, money.iso_code, digits)


class Entry(NamedTuple):
    """An object. An empty id: it has none that could be used."""

    id: str
    raw: Raw
    deleted: bool


Tell = Callable[[str, str, bool], None]
"""Told whether a split adds up: (resource, id, whether); of whole reads only those that do not."""


class Told:
    """Hears in what plans contradict themselves. This one forgets it."""

    def sum_of(self, plan_id: str, resource: str, object_id: str, adds_up: bool) -> None:
        """Whether a split's lines add up to it."""

    def read_whole(self, plan_id: str) -> None:
        """The plan is read whole: all that contradicts itself is told again."""


@dataclass(slots=True)
class PlanAnswer:
    """Objects by resource. ``whole``: an absent set of lines is an empty one.

    ``knowledge``: by endpoint. ``month``: the UTC month in which categories' amounts were told.
    """

    plan: PlanContext
    month: str
    whole: bool
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    line_sets: dict[str, list[str] | None] = field(default_factory=dict)
    """Complete sets of lines by their parent; None: not known."""
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Objects that are not what they should be, by id: path and reason."""
    knowledge: dict[str, int] = field(default_factory=dict)

    def add(self, resource: str, raws: Iterable[Raw] | None) -> None:
        """Objects of a flat array."""
        self._add(resource, raws or (), lambda object_id: object_id)

    def _add(self, resource: str, raws: Iterable[Raw], key: Callable[[str], str]) -> None:
        """``key``: from an object's id to its row's."""
        entries = self.entries.setdefault(resource, [])
        for raw in raws:
            head = head_of(_HEAD, raw)
            if head is None or not usable_id(head.id):
                entries.append(Entry("", raw, False))
            else:
                entries.append(Entry(key(head.id), raw, bool(head.deleted)))

    def add_months(self, raws: Iterable[Raw] | None) -> None:
        """Months, with the categories that are nested in them."""
        months = self.entries.setdefault("months", [])
        for raw in raws or ():
            head = head_of(_MONTH, raw)
            if head is None or not is_day(head.month):
                months.append(Entry("", raw, False))
                self._lost("month_categories", raw)
                continue
            month_id = f"{self.plan.id}/{head.month}"
            months.append(Entry(month_id, raw, bool(head.deleted)))
            self.add_month_categories(head.month, head.categories)

    def add_month_categories(self, month: str, raws: Iterable[Raw] | None) -> None:
        self._add("month_categories", raws or (), lambda found: f"{self.plan.id}/{month}/{found}")

    def add_groups(self, raws: Iterable[Raw] | None) -> None:
        """Category groups with their categories nested: the list form."""
        raws = list(raws or ())
        self.add("category_groups", raws)
        self.entries.setdefault("categories", [])
        for raw in raws:
            head = head_of(_GROUP, raw)
            if head is None:
                self._lost("categories", raw)
            else:
                self.add("categories", head.categories)

    def _lost(self, resource: str, raw: Raw) -> None:
        """What is nested there cannot be told: its rows must not be taken for gone."""
        self.entries.setdefault(resource, []).append(Entry("", raw, False))

    def add_parents(self, resource: str, raws: Iterable[Raw] | None, tell: Tell) -> None:
        """Transactions with their lines nested: the list form. Each set of lines is complete."""
        raws = list(raws or ())
        self.add(resource, raws)
        self.entries.setdefault(LINES_OF[resource], [])
        for raw in raws:
            parent = head_of(_PARENT, raw)
            if parent is None:
                self._lost(LINES_OF[resource], raw)
                self._without_lines(raw)
                continue
            self.add(LINES_OF[resource], parent.subtransactions)
            if not parent.deleted:
                lines = [head_of(_LINE, line) for line in parent.subtransactions or ()]
                self._take_set(resource, parent, lines, tell)

    def _without_lines(self, raw: Raw) -> None:
        """A parent whose lines are no list: it is not what it should be, either."""
        head = head_of(_HEAD, raw)
        if head is not None:
            self.faults[head.id] = ("subtransactions", "not a list")

    def add_lines(self, resource: str, raws: Iterable[Raw] | None, tell: Tell) -> None:
        """Lines of a flat array: those of all splits if ``whole``, else those that changed.

        A set that adds up to its parent's amount is the complete one. Where a line's parent cannot
        be told, a set that does not add up may lack it: it is not known then.
        """
        raws = list(raws or ())
        self.add(LINES_OF[resource], raws)
        lines: dict[str, list[LineHead | None]] = {}
        stray: list[LineHead | None] = []
        for raw in raws:
            line = head_of(_LINE, raw)
            parent_id = line and (line.transaction_id or line.scheduled_transaction_id)
            (lines.setdefault(parent_id, []) if parent_id else stray).append(line)
        for entry in self.entries.get(resource, ()) if raws else ():
            if entry.deleted or not (entry.id in lines or (stray and self.whole)):
                continue
            parent = head_of(_PARENT, entry.raw)
            if parent is not None:
                found = lines.get(entry.id, [])
                if stray and _total(found) != parent.amount:
                    found = [*found, None]
                self._take_set(resource, parent, found, tell)

    def _take_set(
        self, resource: str, parent: ParentHead, lines: list[LineHead | None], tell: Tell
    ) -> None:
        """``lines``: None among them is one that cannot be read, so that the set is not known."""
        known = [line for line in lines if line is not None]
        if len(known) < len(lines):
            self.line_sets[parent.id] = None
            return
        live = [line for line in known if not line.deleted]
        nested = parent.subtransactions is not None
        adds_up = _total(live) == parent.amount
        if live and not adds_up and (self.whole or nested):
            tell(resource, parent.id, False)
        elif not self.whole and (adds_up or (nested and not live)):
            tell(resource, parent.id, True)
        if nested or self.whole or (live and adds_up):
            self.line_sets[parent.id] = [line.id for line in live]

    def document(self, resource: str, row: HeldRow) -> Document:
        """An object decoded, with what it needs of its surroundings; raises ``Unreadable``."""
        document = object_of(row[1])
        document[CONTEXT] = self.plan
        if resource in LINES_OF:
            if row[0] in self.faults:
                raise Unreadable(*self.faults[row[0]])
            absent: list[str] | None = [] if self.whole else None
            document["subtransaction_ids"] = self.line_sets.get(row[0], absent)
        elif resource == "categories":
            document["month"] = self.month
        elif resource == "month_categories":
            document["month"] = row[0].split("/")[1]
            document["category_id"] = document["id"]
        return document

    def held_rows(self, resource: str) -> list[HeldRow]:
        """What is live, by id."""
        entries = self.entries.get(resource, ())
        return by_id((entry.id, entry.raw) for entry in entries if not entry.deleted)


def _total(lines: Iterable[LineHead | None]) -> int | None:
    """The sum of the live ones; None where an amount is not one."""
    total = 0
    for line in lines:
        if line is not None and not line.deleted:
            if type(line.amount) is not int:
                return None
            total += line.amount
    return total


def is_day(text: str) -> bool:
    """Whether it is a date as YNAB writes it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def summary_document(plan: PlanSummary, context: PlanContext) -> Document:
    """A plan's own row."""
    names = PlanSummary.__struct_fields__
    document: Document = {name: getattr(plan, name) for name in names}
    document["kind"] = "plan"
    document[CONTEXT] = context
    return document


def answer_of(plan: PlanBody, month: str, *, whole: bool, tell: Tell) -> PlanAnswer:
    """The one-body form taken apart."""
    answer = PlanAnswer(context_of(plan), month, whole)
    for resource in PLAN_RESOURCES:
        raws: list[Raw] | None = getattr(plan, resource)
        if resource == "months":
            answer.add_months(raws)
        elif resource.endswith("subtransactions"):
            parent = next(name for name, lines in LINES_OF.items() if lines == resource)
            answer.add_lines(parent, raws, tell)
        else:
            answer.add(resource, raws)
    return answer
