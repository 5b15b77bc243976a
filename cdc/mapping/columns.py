"""The columns of a mapping: how each is read and converted, from its declaration.

``settled`` and ``currency`` fill themselves in where nothing is declared (``contract.md`` 4).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from cdc.mapping import dates
from cdc.mapping.declared import FieldDeclaration, MappingDeclaration
from cdc.mapping.paths import Path, Read, Scope, parse, reader
from cdc.mapping.refusal import Refusal
from cdc.mapping.values import (
    Convert,
    Totals,
    converter,
    currency,
    one_of,
    text,
    type_of,
    wire,
    wired,
    with_null,
)
from schemas.entities import Column, Entity, Kind
from schemas.entities.accounting import TRANSACTION_TYPES

CURRENCY, SETTLED, STATUS = "currency", "settled", "status"
CHOICES: dict[tuple[str, str], Collection[str]] = {
    ("accounting.transactions", "type"): TRANSACTION_TYPES
}
"""Columns that hold nothing but these words."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the source says for all its mappings."""

    settled_statuses: frozenset[str]
    default_currency: str


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """``paths``: empty where nothing is read. ``read``: for what is not the first path that has a
    value. ``constant``: what stands there when nothing is read. ``fast``: the kind of value that
    most rows have, for the compiler. ``words``: of a map, by text."""

    column: Column
    paths: tuple[Path, ...]
    read: Read | None
    convert: Convert
    constant: Any
    fast: str
    minor_units: bool = False
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether the document is looked at."""
        return bool(self.paths)

    def value(self, scope: Scope) -> Any:
        """The raw value."""
        if self.read is not None:
            return self.read(scope)
        return first(scope, self.paths)

    def told(self, scope: Scope) -> str:
        """The path to tell where the value is refused: the one that was taken."""
        for path in self.paths:
            if reader(path)(scope) is not None:
                return str(path)
        return str(self.paths[0]) if self.paths else self.column.name


def first(scope: Scope, paths: tuple[Path, ...]) -> Any:
    """The first value that is not null."""
    for path in paths:
        if (value := reader(path)(scope)) is not None:
            return value
    return None


def column_plans(
    declaration: MappingDeclaration, entity: Entity, around: Surroundings, totals: Totals
) -> list[ColumnPlan]:
    """One a column, in the entity's order."""
    return [
        _plan(column, declaration.fields.get(column.name), entity, around, totals)
        for column in entity.columns
    ]


def _plan(
    column: Column,
    declared: FieldDeclaration | None,
    entity: Entity,
    around: Surroundings,
    totals: Totals,
) -> ColumnPlan:
    default = around.default_currency if column.name == CURRENCY else None
    if declared is None or declared.const is not None:
        constant = default if declared is None else wire(column.kind, declared.const)
        return ColumnPlan(column, (), None, _same, constant, "constant")
    convert = converter(column.kind, declared, totals)
    fast = _fast(column, declared)
    if column.name == CURRENCY and declared.map is None:
        convert, fast = currency(convert), "currency"
    choices = CHOICES.get((entity.name, column.name))
    if choices is not None and declared.map is None:
        convert, fast = one_of(choices, convert), ""
    if declared.default is not None:
        default, fast = wire(column.kind, declared.default), fast.replace("text or null", "text")
    paths = tuple(parse(each) for each in declared.path or ())
    read = None if declared.join is None else _joined(paths, declared)
    if read is not None:
        paths = tuple(parse(each) for each in declared.all_paths)
    return ColumnPlan(
        column,
        paths,
        read,
        with_null(convert, default, required=column.required),
        None,
        fast,
        declared.minor_units,
        {} if declared.map is None else wired(column.kind, declared.map),
    )


def _same(value: Any) -> Any:
    return value


def _fast(column: Column, declared: FieldDeclaration) -> str:
    """The kind of value for which the compiler writes the conversion out."""
    kind = type_of(column.kind, declared)
    if declared.map is not None:
        return "map"
    if kind == "text" and column.kind is Kind.TEXT:
        return "text" if column.required else "text or null"
    if kind == "date":
        return "date" if dates.zone_named(declared.zone) is UTC else ""
    return kind if kind in ("ref", "decimal") else ""


def _joined(paths: tuple[Path, ...], field: FieldDeclaration) -> Read:
    """The paths' value where it is a text, else the parts put together."""
    groups = [[parse(each) for each in group] for group in field.join_groups]
    between = field.with_ or ""

    def read(scope: Scope) -> Any:
        whole = first(scope, paths)
        if whole is not None and not _holds(whole, paths, groups):
            return whole
        lines = (" ".join(_parts(scope, group)) for group in groups)
        return between.join(line for line in lines if line) or None

    return read


def _holds(value: Any, paths: tuple[Path, ...], groups: list[list[Path]]) -> bool:
    """Whether the value is the document that the parts are taken from."""
    return isinstance(value, dict) and any(
        part.names[: len(path.names)] == path.names
        for path in paths
        for group in groups
        for part in group
    )


def _parts(scope: Scope, group: list[Path]) -> list[str]:
    found = []
    for path in group:
        value = reader(path)(scope)
        if value is not None:
            try:
                found.append(text(value))
            except Refusal as refusal:
                raise Refusal(refusal.reason, str(path)) from None
    return [each for each in found if each]


def is_computed(column: Column) -> bool:
    """Whether a column fills itself in where nothing is declared."""
    return column.name == CURRENCY or (column.name == SETTLED and column.kind is Kind.BOOL)
