"""What YNAB answers, taken apart into objects without decoding them: a plan may have 100,000.

Both forms end in the same ``PlanAnswer``: the plan in one body (flat arrays), and the lists, in
which lines and categories are nested in their parents.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from cdc.runtime.http import UNTYPED
from cdc.sources.polled import CONTEXT, HeldRow
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


class CurrencyFormat(Struct):
    iso_code: str | None = None
    decimal_digits: int | None = None


class PlanSummary(Struct):
    """A plan in the list of plans. ``currency_format`` undecoded: it is kept as it is."""

    id: str
    name: str
    last_modified_on: str | None = None
    first_month: str | None = None
    last_month: str | None = None
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

    amount: int | None = None
    subtransactions: list[Raw] | None = None


class LineHead(Head):
    amount: int | None = None
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
    """Raises ``msgspec.ValidationError`` where the currency is not what it should be."""
    money = msgspec.convert(plan.currency_format or {}, CurrencyFormat)
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
    line_sets: dict[str, list[str]] = field(default_factory=dict)
    knowledge: dict[str, int] = field(default_factory=dict)

    def add(self, resource: str, raws: Iterable[Raw] | None) -> None:
        """Objects of a flat array."""
        entries = self.entries.setdefault(resource, [])
        for raw in raws or ():
            try:
                head = _HEAD.decode(raw)
                entries.append(Entry(head.id, raw, bool(head.deleted)))
            except msgspec.ValidationError:
                entries.append(Entry("", raw, False))

    def add_months(self, raws: Iterable[Raw] | None) -> None:
        """Months, with the categories that are nested in them."""
        months = self.entries.setdefault("months", [])
        for raw in raws or ():
            try:
                head = _MONTH.decode(raw)
            except msgspec.ValidationError:
                months.append(Entry("", raw, False))
                continue
            month_id = f"{self.plan.id}/{head.month}"
            months.append(Entry(month_id, raw, bool(head.deleted)))
            self.add_month_categories(head.month, head.categories)

    def add_month_categories(self, month: str, raws: Iterable[Raw] | None) -> None:
        entries = self.entries.setdefault("month_categories", [])
        for raw in raws or ():
            try:
                head = _HEAD.decode(raw)
                category_id = f"{self.plan.id}/{month}/{head.id}"
                entries.append(Entry(category_id, raw, bool(head.deleted)))
            except msgspec.ValidationError:
                entries.append(Entry("", raw, False))

    def add_groups(self, raws: Iterable[Raw] | None) -> None:
        """Category groups with their categories nested: the list form."""
        raws = list(raws or ())
        self.add("category_groups", raws)
        self.entries.setdefault("categories", [])
        for raw in raws:
            try:
                self.add("categories", _GROUP.decode(raw).categories)
            except msgspec.ValidationError:
                self.entries["categories"].append(Entry("", raw, False))

    def add_parents(self, resource: str, raws: Iterable[Raw] | None, tell: Tell) -> None:
        """Transactions with their lines nested: the list form. Each set of lines is complete."""
        raws = list(raws or ())
        self.add(resource, raws)
        self.entries.setdefault(LINES_OF[resource], [])
        for raw in raws:
            try:
                head = _PARENT.decode(raw)
            except msgspec.ValidationError:
                continue  # its id or amount is wrong: it goes to the dead letters by itself
            self.add(LINES_OF[resource], head.subtransactions)
            if not head.deleted:
                lines = [_line(line) for line in head.subtransactions or ()]
                self._take_set(resource, head, [line for line in lines if line], tell)

    def add_lines(self, resource: str, raws: Iterable[Raw] | None, tell: Tell) -> None:
        """Lines of a flat array: those of all splits if ``whole``, else those that changed.

        A set that adds up to its parent's amount is the complete one.
        """
        raws = list(raws or ())
        self.add(LINES_OF[resource], raws)
        lines: dict[str, list[LineHead]] = {}
        for raw in raws:
            line = _line(raw)
            if line is not None:
                parent_id = line.transaction_id or line.scheduled_transaction_id
                lines.setdefault(parent_id or "", []).append(line)
        for entry in self.entries.get(resource, ()) if lines else ():
            if entry.id in lines and not entry.deleted:
                try:
                    head = _PARENT.decode(entry.raw)
                except msgspec.ValidationError:
                    continue
                self._take_set(resource, head, lines[entry.id], tell)

    def _take_set(self, resource: str, head: ParentHead, lines: list[LineHead], tell: Tell) -> None:
        live = [line for line in lines if not line.deleted]
        total = sum(line.amount or 0 for line in live)
        nested = head.subtransactions is not None
        adds_up = total == head.amount
        if live and not adds_up and (self.whole or nested):
            tell(resource, head.id, False)
        elif not self.whole and (adds_up or (nested and not live)):
            tell(resource, head.id, True)
        if nested or self.whole or (live and adds_up):
            self.line_sets[head.id] = [line.id for line in live]

    def document(self, resource: str, row: HeldRow) -> Document:
        """An object decoded, with what it needs of its surroundings."""
        document = UNTYPED.decode(row[1])
        if not isinstance(document, dict):
            document = {}
        document[CONTEXT] = self.plan
        if resource in LINES_OF:
            lines = self.line_sets.get(row[0])
            document["subtransaction_ids"] = [] if lines is None and self.whole else lines
        elif resource == "categories":
            document["month"] = self.month
        elif resource == "month_categories" and row[0]:
            document["month"] = row[0].split("/")[1]
            document["category_id"] = document["id"]
        return document

    def held_rows(self, resource: str) -> list[HeldRow]:
        """What is live, sorted by id."""
        entries = self.entries.get(resource, ())
        rows = [(entry.id, entry.raw) for entry in entries if not entry.deleted]
        rows.sort(key=_id_of)
        return rows


def _line(raw: Raw) -> LineHead | None:
    try:
        return _LINE.decode(raw)
    except msgspec.ValidationError:
        return None


def _id_of(row: HeldRow) -> str:
    return row[0]


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
