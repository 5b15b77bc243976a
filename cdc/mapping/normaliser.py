"""Changes of documents to events: the step between reading and publishing.

A mapping that can be understood change by change takes the short way. One with rows, conditions
or an id of its own compares the document before and after: what is new or differs is published,
what is gone is deleted, and a document that never met the conditions leaves no trace.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cdc.mapping import ids
from cdc.mapping.columns import Surroundings
from cdc.mapping.compiled import Content
from cdc.mapping.dead_letters import DeadLetters, Fault
from cdc.mapping.declared import MappingDeclaration
from cdc.mapping.paths import Scope
from cdc.mapping.plan import Plan
from cdc.mapping.refusal import Refusal
from cdc.mapping.rows import Found
from cdc.mapping.values import Totals
from cdc.mapping.writer import Origin, Stamp, Writer
from cdc.runtime.errors import Gap
from cdc.sources.protocol import Change
from schemas.entities import ENTITIES
from schemas.envelope import Event
from schemas.topics import ENTITY_PARTITIONS, entity_topic_name
from schemas.version import pack

Partitions = Mapping[str, int] | Callable[[str], int]


class Normalised(NamedTuple):
    """Events ready to be sent, dead letters among them; the faults; events by entity and op."""

    events: list[Event]
    faults: list[Fault]
    counts: Counter[tuple[str, str]]


class _Batch(NamedTuple):
    events: list[Event]
    faults: list[Fault]
    counted: list[tuple[str, str]]
    stamp: Stamp


class Normaliser:
    """One source's mappings, compiled. ``totals``: what was counted on the way, for metrics."""

    def __init__(
        self,
        *,
        prefix: str,
        book: str,
        source: str,
        connector: str,
        database: str,
        declarations: Sequence[MappingDeclaration],
        settled_statuses: Sequence[str],
        default_currency: str,
        partitions: Partitions,
        clock_ms: Callable[[], int],
    ) -> None:
        """``declarations`` have passed ``checks``. ``partitions``: by entity; 8 where not told."""
        self.totals = Totals()
        self._prefix = prefix
        self._partitions = partitions
        self._origin = Origin(book, source, connector, database)
        self._clock_ms = clock_ms
        around = Surroundings(
            frozenset(status.casefold() for status in settled_statuses), default_currency
        )
        key = {"book": book, "source": source}
        self.plans = [Plan(each, around, key, self.totals) for each in declarations]
        self._letters = DeadLetters(prefix, self._origin, clock_ms)
        self._flows: dict[str, list[_Flow]] = {}
        self._deleters: dict[str, Writer] = {}
        for plan in self.plans:
            writer = self._writer(plan.name, plan.collection, plan.entity.name)
            kind = _ByImages if plan.needs_images else _ByKey
            self._flows.setdefault(plan.collection, []).append(kind(plan, writer, self._letters))
        self.mappings = {plan.name: plan.fingerprint for plan in self.plans}
        self.collections = tuple(self._flows)
        self.names_by_collection = {
            name: tuple(flow.plan.name for flow in flows) for name, flows in self._flows.items()
        }
        self.entities = tuple(dict.fromkeys(plan.entity.name for plan in self.plans))
        self.topics = tuple(entity_topic_name(prefix, name) for name in self.entities)

    def of(self, stream: str) -> "Normaliser":
        """The mappings of one stream: a database is the only one."""
        return self

    def needs_images(self, collection: str) -> bool:
        """Whether a mapping of this collection compares documents before and after."""
        return any(flow.plan.needs_images for flow in self._flows.get(collection, ()))

    def document_id(self, raw_id: Any) -> str:
        """The text of an ``_id``."""
        return ids.text(raw_id)

    def normalise(
        self, changes: Sequence[Change], *, epoch: int, snapshot: str = "false"
    ) -> Normalised:
        """All events of these changes in their order.

        Raises ``Gap`` for a change without the images that its mapping needs.
        """
        stamp = Stamp(snapshot, self._clock_ms())
        batch = _Batch([], [], [], stamp)
        flows = self._flows
        for change in changes:
            stamp.place(pack(epoch, change.position, change.ordinal), change.time_ms)
            for flow in flows.get(change.collection, ()):
                if change.fault is None:
                    flow.add(change, batch)
                else:
                    flow.add_undecoded(change, batch)
        return Normalised(batch.events, batch.faults, Counter(batch.counted))

    def deletion(
        self, mapping: str, entity: str, row_id: str, version: bytes, time_ms: int
    ) -> list[Event]:
        """The delete of a row that is no more, and its tombstone; ``mapping`` may be no more."""
        writer = self._deleters.get(mapping)
        if writer is None:
            writer = self._writer(mapping, mapping.partition(":")[0], entity)
            self._deleters[mapping] = writer
        stamp = Stamp("false", self._clock_ms())
        stamp.place(version, time_ms)
        return [writer.event("d", row_id, None, None, stamp), writer.tombstone(row_id)]

    def refused(self, event: Event, reason: str) -> list[Event]:
        """The dead letter of an event that the broker would not take; none of a tombstone."""
        plans = {plan.name: plan for plan in self.plans}
        return self._letters.of_refused(event, reason, plans)

    def _writer(self, mapping: str, collection: str, entity: str) -> Writer:
        told = self._partitions
        count = told(entity) if callable(told) else told.get(entity, ENTITY_PARTITIONS)
        return Writer(
            self._origin,
            ENTITIES[entity],
            mapping=mapping,
            collection=collection,
            topic=entity_topic_name(self._prefix, entity),
            partitions=count,
            totals=self.totals,
        )


class _Flow:
    """The way of one mapping's changes into a batch."""

    def __init__(self, plan: Plan, writer: Writer, letters: DeadLetters) -> None:
        self.plan = plan
        self._entity = plan.entity.name
        self._counted = {op: (self._entity, op) for op in "cudr"}
        self._writer = writer
        self._letters = letters

    def add(self, change: Change, batch: _Batch) -> None:
        raise NotImplementedError

    def add_undecoded(self, change: Change, batch: _Batch) -> None:
        """A change whose content cannot be read."""
        row_id = None if change.id is None else self.plan.possible_row(change.id)
        self._refuse(change, batch, row_id, Refusal(change.fault or ""), None)

    def _delete(self, row_id: str, before: Content | None, batch: _Batch) -> None:
        event = self._writer.event("d", row_id, before, None, batch.stamp)
        batch.events.extend((event, self._writer.tombstone(row_id)))
        batch.counted.append(self._counted["d"])

    def _refuse(
        self,
        change: Change,
        batch: _Batch,
        row_id: str | None,
        refusal: Refusal,
        scope: Scope | None,
        ordinal: int = 0,
    ) -> None:
        """``ordinal`` tells the refused rows of one change apart."""
        if scope is not None:
            refusal = self.plan.explain(scope, refusal)
        is_unknown = change.id is None and change.fault is not None
        document_id = None if is_unknown else self.plan.document_id(change.id)
        fault = Fault(
            self.plan.name, self._entity, document_id, row_id, refusal.path or "", refusal.reason
        )
        batch.faults.append(fault)
        batch.events.append(self._letters.event(fault, batch.stamp.version_hex, ordinal))


class _ByKey(_Flow):
    """For mappings whose rows are documents, told apart by ``_id`` alone."""

    def __init__(self, plan: Plan, writer: Writer, letters: DeadLetters) -> None:
        super().__init__(plan, writer, letters)
        self._row_id = plan.row_id_reader()
        self._content = plan.content
        self._is_gone = plan.is_soft_deleted

    def add(self, change: Change, batch: _Batch) -> None:
        _, op, raw_id, old, document, _, _, _, _ = change
        if document is None and op != "d":
            return  # looked up and not there any more: its delete follows
        try:
            row_id = self._row_id(raw_id)
        except (Refusal, ids.Untellable) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(str(error), "_id")
            self._refuse(change, batch, None, refusal, None)
            return
        before = None if old is None else self._before(old, row_id)
        if document is None or (self._is_gone is not None and self._is_gone(document)):
            self._delete(row_id, before, batch)
            return
        try:
            content = self._content(document, row_id, None)
            event = self._writer.event(op, row_id, before, content, batch.stamp)
        except Refusal as refusal:
            self._refuse(change, batch, row_id, refusal, Scope(document))
            return
        batch.events.append(event)
        batch.counted.append(self._counted[op])

    def add_undecoded(self, change: Change, batch: _Batch) -> None:
        row_id = self.plan.possible_row(change.id)
        if change.op == "d" and change.id is not None and row_id is not None:
            self._delete(row_id, None, batch)
        else:
            super().add_undecoded(change, batch)

    def _before(self, document: dict[str, Any], row_id: str) -> Content | None:
        if self._is_gone is not None and self._is_gone(document):
            return None
        return self.plan.content_before(document, row_id)


class _ByImages(_Flow):
    """For mappings whose rows are told by the document before and after."""

    def add(self, change: Change, batch: _Batch) -> None:
        self._require_images(change)
        before, after = self.plan.find(change.before), self.plan.find(change.after)
        old: dict[str, Found] = {}
        for row in before:
            if row.id is not None and row.is_row:
                old.setdefault(row.id, row)
        left = old.keys() - {row.id for row in after if row.is_row}
        for row_id, row in old.items():
            if row_id in left and not row.gone:
                self._delete(row_id, self._content_before(row), batch)
        for ordinal, row in enumerate(after):
            try:
                self._add_row(change, row, old.get(row.id or ""), batch)
            except Refusal as refusal:
                self._refuse(change, batch, row.id, refusal, row.scope, ordinal)

    def _add_row(self, change: Change, row: Found, old: Found | None, batch: _Batch) -> None:
        if row.refusal is not None:
            raise row.refusal
        assert row.id is not None, "a row without an id is refused"
        was_there = old is not None and not old.gone
        before = self._content_before(old) if old is not None and was_there else None
        if row.gone:
            if was_there or change.op == "r":
                self._delete(row.id, before, batch)
            return
        op = "r" if change.op == "r" else "u" if was_there else "c"
        content = self.plan.content(row.scope.document, row.id, row.scope)
        if self.plan.by_difference and before == content:
            return
        event = self._writer.event(op, row.id, before, content, batch.stamp)
        batch.events.append(event)
        batch.counted.append(self._counted[op])

    def _content_before(self, row: Found) -> Content | None:
        if row.id is None or row.gone or row.refusal is not None:
            return None
        return self.plan.content_before(row.scope.document, row.id, row.scope)

    def _require_images(self, change: Change) -> None:
        missing = (change.op in ("u", "d") and change.before is None) or (
            change.op in ("c", "u", "r") and change.after is None
        )
        if missing:
            command = f'{{collMod: "{self.plan.collection}", changeStreamPreAndPostImages: '
            raise Gap(
                "a change came without the document before or after it",
                needs_person=True,
                operation="map",
                subject=self.plan.name,
                hint=f"run db.runCommand({command}{{enabled: true}}}}), "
                f"then cdc resync {self.plan.source}",
            )
