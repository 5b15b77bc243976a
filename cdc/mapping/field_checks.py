"""What may be wrong with one field: does its source fit its column, and its options its type?"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfoNotFoundError

from cdc.mapping import dates
from cdc.mapping.columns import CHOICES, CURRENCY
from cdc.mapping.declared import FieldDeclaration, FieldType, Scalar
from cdc.mapping.numbers import signs
from cdc.mapping.values import type_of
from cdc.runtime.settings_reader import Fault, did_you_mean
from schemas.entities import Column, Entity, Kind

_PLAIN = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_TYPES: dict[Kind, tuple[FieldType, ...]] = {
    Kind.TEXT: ("text", "ref", "date", "timestamp", "bool", "int", "decimal"),
    Kind.DECIMAL: ("decimal",),
    Kind.DATE: ("date",),
    Kind.TIMESTAMP: ("timestamp",),
    Kind.BOOL: ("bool",),
    Kind.INT: ("int",),
    Kind.JSON: (),
}
_OPTIONS: dict[str, tuple[FieldType, ...]] = {
    "decimal": ("decimal",),
    "minor_units": ("decimal",),
    "format": ("date", "timestamp"),
    "zone": ("date", "timestamp"),
    "epoch": ("date", "timestamp"),
}
_MAPPED: tuple[FieldType, ...] = ("text", "int", "bool")


def faults(field: FieldDeclaration, column: Column, entity: Entity, place: str) -> Iterator[Fault]:
    """All of one field. ``place``: of the field."""
    if column.kind is Kind.JSON:
        yield Fault(place, "", "a column of JSON cannot be filled by a mapping", "leave it out")
        return
    yield from _source_faults(field, column, place)
    yield from _type_faults(field, column, place)
    yield from _option_faults(field, place)
    if field.minor_units and entity.column(CURRENCY) is None:
        yield Fault(f"{place}.minor_units", "true", f"{entity.name} has no currency")
    yield from _value_faults(field, column, entity, place)


def _source_faults(field: FieldDeclaration, column: Column, place: str) -> Iterator[Fault]:
    """Where the value comes from: one or several paths, parts joined, or a constant."""
    if field.const is not None:
        given = field.model_fields_set - {"const"}
        if given:
            yield Fault(place, "", "const stands alone", "leave const or the rest out")
    elif field.path is None and field.join is None:
        yield Fault(place, "", "says no path, join or const", 'write "a.path"')
    if field.with_ is not None and field.join is None:
        yield Fault(
            f"{place}.with", repr(field.with_), "goes with join", "add join, or leave it out"
        )
    if field.join is not None and (
        column.kind is not Kind.TEXT or field.type not in (None, "text")
    ):
        yield Fault(f"{place}.join", "", "joins texts to a text", "leave join or the type out")


def _type_faults(field: FieldDeclaration, column: Column, place: str) -> Iterator[Fault]:
    fitting = _TYPES[column.kind]
    kind = type_of(column.kind, field)
    if field.map is not None:
        if field.type is not None and field.type not in _MAPPED:
            yield Fault(f"{place}.type", repr(field.type), "map reads text, int and bool")
    elif field.type is not None and field.type not in fitting:
        reason = f"does not fit the column, which is {column.kind}"
        yield Fault(f"{place}.type", repr(field.type), reason, f"write {' or '.join(fitting)}")
    for option, types in _OPTIONS.items():
        if option in field.model_fields_set and (field.map is not None or kind not in types):
            yield Fault(f"{place}.{option}", "", f"goes with type {' or '.join(types)}")
    if field.otherwise is not None and field.map is None:
        yield Fault(f"{place}.otherwise", repr(field.otherwise), "goes with map")


def _option_faults(field: FieldDeclaration, place: str) -> Iterator[Fault]:
    if field.decimal is not None:
        try:
            signs(field.decimal)
        except ValueError as error:
            yield Fault(f"{place}.decimal", repr(field.decimal), str(error), 'write "1,234.50"')
    if field.zone is not None:
        try:
            dates.zone_named(field.zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            fix = did_you_mean(field.zone, dates.zones())
            fix = fix if fix.startswith("did") else "write a name like Europe/Madrid"
            yield Fault(f"{place}.zone", repr(field.zone), "is no time zone", fix)
    if field.format is not None and not dates.tells_day(field.format):
        reason = "does not tell a day of the calendar"
        yield Fault(f"{place}.format", repr(field.format), reason, 'write "%d/%m/%Y"')


def _value_faults(
    field: FieldDeclaration, column: Column, entity: Entity, place: str
) -> Iterator[Fault]:
    """Declared values must be what the column holds."""
    values: dict[str, Scalar | None] = {
        "const": field.const,
        "default": field.default,
        "otherwise": field.otherwise,
    }
    values |= {f"map.{word}": value for word, value in (field.map or {}).items()}
    choices = CHOICES.get((entity.name, column.name))
    for name, value in values.items():
        if value is None:
            continue
        if not _fits(value, column):
            fix = f"write {_FORMS[column.kind]}"
            yield Fault(f"{place}.{name}", repr(value), f"{column.name} is {column.kind}", fix)
        elif choices is not None and value not in choices:
            fix = did_you_mean(str(value), choices)
            yield Fault(f"{place}.{name}", repr(value), f"is no {column.name}", fix)


_FORMS = {
    Kind.TEXT: "a text",
    Kind.DECIMAL: 'a whole number, or a text like "1.50"',
    Kind.DATE: 'a text like "2026-03-01"',
    Kind.TIMESTAMP: 'a text like "2026-03-01T12:00:00.000Z"',
    Kind.BOOL: "true or false",
    Kind.INT: "a whole number",
}


def _fits(value: Scalar, column: Column) -> bool:
    if column.kind is Kind.BOOL:
        return isinstance(value, bool)
    if column.kind is Kind.INT or (column.kind is Kind.DECIMAL and not isinstance(value, str)):
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if column.name == CURRENCY:
        return re.fullmatch("[A-Z]{3}", value) is not None
    return column.kind is Kind.TEXT or _is_written(value, column.kind)


def _is_written(value: str, kind: Kind) -> bool:
    if kind is Kind.DECIMAL:
        return _PLAIN.fullmatch(value) is not None
    try:
        if kind is Kind.DATE:
            return date.fromisoformat(value).isoformat() == value
        return value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
