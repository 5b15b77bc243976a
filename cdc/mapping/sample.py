"""What a sample of documents would become: how many map, which do not, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc.mapping.normaliser import Normaliser
from cdc.mapping.paths import Document
from cdc.mapping.plan import Plan
from cdc.mapping.refusal import Refusal
from cdc.mapping.rows import Found
from cdc.mapping.values import Totals
from cdc.mapping.writer import row_json

EXAMPLES_MAX = 5
"""So many ids of documents are shown for one reason."""


@dataclass(slots=True)
class Unmapped:
    """Documents that do not map for one reason."""

    count: int = 0
    example_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sampled:
    """One mapping. ``sampled``: documents that its conditions let in; ``mapped``: all of whose
    rows map."""

    mapping: str
    sampled: int = 0
    mapped: int = 0
    unmapped: dict[tuple[str, str], Unmapped] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Plain JSON, the most frequent reasons first."""
        reasons = sorted(self.unmapped.items(), key=lambda item: -item[1].count)
        return {
            "mapping": self.mapping,
            "sampled": self.sampled,
            "mapped": self.mapped,
            "unmapped": [
                {
                    "path": path,
                    "reason": reason,
                    "count": each.count,
                    "example_ids": each.example_ids,
                }
                for (path, reason), each in reasons
            ],
        }


def sample(normaliser: Normaliser, collection: str, documents: Iterable[Document]) -> list[Sampled]:
    """One result for each mapping of the collection; publishes nothing."""
    plans = [plan for plan in normaliser.plans if plan.collection == collection]
    results = [Sampled(plan.name) for plan in plans]
    for document in documents:
        for plan, result in zip(plans, results, strict=True):
            _add(plan, document, result)
    return results


def _add(plan: Plan, document: Document, result: Sampled) -> None:
    rows = plan.find(document)
    if not rows and not plan.by_difference:
        return
    result.sampled += 1
    refusals = _refusals(plan, rows)
    if not refusals:
        result.mapped += 1
    for place in dict.fromkeys((refusal.path or "", refusal.reason) for refusal in refusals):
        unmapped = result.unmapped.setdefault(place, Unmapped())
        unmapped.count += 1
        document_id = plan.document_id(document.get("_id"))
        if len(unmapped.example_ids) < EXAMPLES_MAX and document_id is not None:
            unmapped.example_ids.append(document_id)


def _refusals(plan: Plan, rows: Sequence[Found]) -> list[Refusal]:
    found = []
    for row in rows:
        if row.refusal is not None:
            found.append(row.refusal)
        elif not row.gone:
            try:
                row_json(plan.content(row.scope.document, row.id or "", row.scope), Totals())
            except Refusal as refusal:
                found.append(plan.explain(row.scope, refusal))
    return found
