"""A mapping, compiled: everything that is decided before the first document arrives."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import orjson

from cdc.mapping import ids
from cdc.mapping.columns import CURRENCY, SETTLED, Surroundings
from cdc.mapping.compiled import Columns, Content
from cdc.mapping.conditions import Conditions
from cdc.mapping.declared import ID, MappingDeclaration
from cdc.mapping.paths import Document, Scope
from cdc.mapping.refusal import Refusal
from cdc.mapping.rows import ArrayRows, DocumentRows, Found, RowId, possible_row
from cdc.mapping.values import Totals
from schemas.entities import ENTITIES

LANGUAGE_VERSION = 1
"""Grows when the same declaration comes to give other events: then all is read whole."""


class Plan:
    """One mapping. ``content_before`` does not count what it meets: it has been counted before."""

    def __init__(
        self,
        declaration: MappingDeclaration,
        around: Surroundings,
        key: Mapping[str, str],
        totals: Totals,
    ) -> None:
        """``key``: book and source."""
        self.declaration = declaration
        self.name = declaration.name
        self.source = key["source"]
        self.collection = declaration.collection
        self.entity = ENTITIES[declaration.entity]
        self.needs_images = declaration.needs_images
        self.by_difference = declaration.rows is not None
        self.is_soft_deleted = self._soft_deleted()
        self._columns = Columns(declaration, self.entity, around, key, totals)
        before = Columns(declaration, self.entity, around, key, Totals())
        self._content_before = before.content
        self._rows = ArrayRows(declaration) if self.by_difference else DocumentRows(declaration)
        self.content = self._columns.content
        self.fingerprint = self._fingerprint(around)

    def _soft_deleted(self) -> Callable[[Document], bool] | None:
        """For mappings that need no images; None: nothing says so."""
        if not self.declaration.deleted_when:
            return None
        conditions = Conditions(self.declaration.deleted_when, present=True)
        return lambda document: conditions.any(Scope(document))

    def _fingerprint(self, around: Surroundings) -> str:
        declared = self.declaration.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        columns = self.entity.column_names
        statuses = sorted(around.settled_statuses) if SETTLED in columns else None
        currency = around.default_currency if CURRENCY in columns else None
        content = [LANGUAGE_VERSION, declared, statuses, currency, self.entity.schema_id]
        return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    def row_id_reader(self) -> Callable[[Any], str]:
        """From ``_id`` to the row's id, for mappings that need no images."""
        prefix = self.declaration.id_prefix
        paths = self.declaration.fields[ID].path
        if paths == ("_id",):
            if not prefix:
                return ids.text
            return lambda raw_id: prefix + ids.text(raw_id)
        row_id = RowId(self.declaration)
        return lambda raw_id: row_id.of({"_id": raw_id})

    def find(self, document: Document | None) -> list[Found]:
        """The rows that a document holds."""
        return [] if document is None else self._rows.find(document)

    def possible_row(self, raw_id: Any) -> str | None:
        """What can be told of the row's id from ``_id`` alone."""
        return possible_row(self.declaration, raw_id)

    def document_id(self, raw_id: Any) -> str | None:
        """The document's id, written as in its rows' ids."""
        try:
            text = ids.text(raw_id)
        except ids.Untellable:
            return None
        return ids.part(text) if self.by_difference else text

    def document_of(self, row_id: str) -> str | None:
        """The document's id from a row's; None where the row's id does not hold it."""
        text = row_id.removeprefix(self.declaration.id_prefix)
        if self.by_difference:
            return text.partition("/")[0]
        return text if self.declaration.fields[ID].path == ("_id",) else None

    def content_before(
        self, document: Document, row_id: str, scope: Scope | None = None
    ) -> Content | None:
        """An old state; None where it does not map."""
        try:
            return self._content_before(document, row_id, scope)
        except Refusal:
            return None

    def explain(self, scope: Scope, refusal: Refusal) -> Refusal:
        """The refusal with its path, as the mapping writes it."""
        return self._columns.explain(scope, refusal) if refusal.path is None else refusal
