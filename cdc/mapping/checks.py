"""Everything that is wrong with declared mappings, found at once, each with its way out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdc.mapping import field_checks
from cdc.mapping.builtin import DECLARATIONS
from cdc.mapping.columns import is_computed
from cdc.mapping.declared import ID, FieldDeclaration, MappingDeclaration
from cdc.mapping.paths import parse, parse_rows
from cdc.runtime.settings_reader import Fault, did_you_mean
from schemas.entities import ENTITIES, Entity

PLACE = "mappings"
_FORMS = ("str", "int", "dec", "uuid", "date", "bin", "json")


def declarations(tables: Sequence[Mapping[str, Any]]) -> tuple[MappingDeclaration, ...]:
    """The mappings of a source; the built-in shape where none is declared.

    The tables have no ``faults``; raises pydantic's error where they have some all the same.
    """
    if not tables:
        return DECLARATIONS
    return tuple(MappingDeclaration.model_validate(table) for table in tables)


def faults(tables: Sequence[Mapping[str, Any]], place: str = PLACE) -> list[Fault]:
    """All of them. ``place``: where the tables stand, as ``sources.property.mappings``."""
    found: list[Fault] = []
    declared: dict[str, MappingDeclaration] = {}
    for number, table in enumerate(tables):
        at = f"{place}[{number}]"
        try:
            declared[at] = MappingDeclaration.model_validate(table)
        except ValidationError as error:
            found += _form_faults(error, at)
    for at, declaration in declared.items():
        found += _mapping_faults(declaration, at)
    return [*found, *_prefix_faults(declared)]


def _form_faults(error: ValidationError, at: str) -> list[Fault]:
    """What the models themselves refuse; of the branches of a union only the first."""
    by_place: dict[str, Fault] = {}
    for each in error.errors(include_url=False):
        path, model = _walked(each["loc"])
        place = ".".join((at, *path))
        by_place.setdefault(place, _form_fault(each, place, path, model))
    return list(by_place.values())


def _walked(loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """The path of a setting without the tags of unions, and the model that holds it."""
    parts = [str(part) for part in loc]
    if parts[:1] == ["fields"] and len(parts) > 2:
        return parts[:3], FieldDeclaration
    return parts[:2], MappingDeclaration


def _form_fault(error: ErrorDetails, place: str, path: list[str], model: type[BaseModel]) -> Fault:
    kind = error["type"]
    if kind == "extra_forbidden":
        known = [info.alias or name for name, info in model.model_fields.items()]
        return Fault(place, "", "unknown key", did_you_mean(path[-1], known))
    if kind == "missing":
        return Fault(place, "", "is missing", "give it a value")
    value = error["input"]
    shown = repr(value) if isinstance(value, str | int | float) else ""
    text = error["msg"].removeprefix("Input ")
    if model is FieldDeclaration and kind == "model_type":
        text = "is neither a path nor a table"
    return Fault(place, shown, text[:1].lower() + text[1:])


def _mapping_faults(declaration: MappingDeclaration, at: str) -> Iterator[Fault]:
    if ":" in declaration.collection:
        yield Fault(f"{at}.collection", repr(declaration.collection), "holds a colon")
    depth = 0
    if declaration.rows is not None:
        try:
            depth = len(parse_rows(declaration.rows))
        except ValueError as error:
            fix = "write leases[] or leases[].payments[]"
            yield Fault(f"{at}.rows", repr(declaration.rows), str(error), fix)
            return
    for name in ("where", "deleted_when"):
        for path in getattr(declaration, name):
            yield from path_faults(path, f"{at}.{name}", depth)
    yield from _id_faults(declaration, at, depth)
    entity = ENTITIES.get(declaration.entity)
    if entity is None:
        fix = did_you_mean(declaration.entity, ENTITIES)
        yield Fault(f"{at}.entity", repr(declaration.entity), "there is no such entity", fix)
        return
    yield from _column_faults(declaration, entity, at, depth)


def path_faults(path: str, place: str, depth: int) -> Iterator[Fault]:
    """``depth``: how many levels there are to climb."""
    try:
        parsed = parse(path)
    except ValueError as error:
        yield Fault(place, repr(path), f"is no path: {error}")
        return
    if parsed.climbs > depth or (parsed.position and parsed.climbs >= depth):
        reason = f"climbs {parsed.climbs} of {depth} levels" if parsed.climbs else "has no position"
        yield Fault(place, repr(path), reason, "^ and # are for the levels of rows")


def _id_faults(declaration: MappingDeclaration, at: str, depth: int) -> Iterator[Fault]:
    field, place = declaration.fields.get(ID), f"{at}.fields.{ID}"
    if field is None:
        if declaration.rows is None:
            yield Fault(place, "", "is missing", 'add id = "_id"')
        return
    bare = FieldDeclaration(path=field.path, type=field.type)
    if field.path is None or field != bare or field.type not in (None, "text", "ref"):
        yield Fault(place, "", "an id is a path, or a path of type ref", 'write id = "_id"')
        return
    if field.type == "ref" and declaration.rows is None and "_id" in field.path:
        yield Fault(place, "'_id'", "of type ref, two documents may get one id", "leave type out")
    for path in field.path:
        yield from path_faults(path, place, depth)


def _column_faults(
    declaration: MappingDeclaration, entity: Entity, at: str, depth: int
) -> Iterator[Fault]:
    for name, field in declaration.fields.items():
        if name == ID:
            continue
        place, column = f"{at}.fields.{name}", entity.column(name)
        if column is None:
            reason = f"{entity.name} has no such column"
            yield Fault(place, "", reason, did_you_mean(name, (*entity.column_names, ID)))
            continue
        for path in field.all_paths:
            yield from path_faults(path, place, depth)
        yield from field_checks.faults(field, column, entity, place)
    for column in entity.columns:
        if column.required and column.name not in declaration.fields and not is_computed(column):
            fix = f"add fields.{column.name}"
            reason = f"{entity.name} needs it in every row"
            yield Fault(f"{at}.fields.{column.name}", "", reason, fix)


def _prefix_faults(declared: Mapping[str, MappingDeclaration]) -> Iterator[Fault]:
    for at, declaration in declared.items():
        prefix = declaration.id_prefix
        if prefix.partition(":")[0] in _FORMS and ":" in prefix:
            reason = "looks like the form of another id"
            yield Fault(f"{at}.id_prefix", repr(prefix), reason, 'write a word of your own and ":"')
    told: set[str] = set()
    for (_, first), (at, second) in permutations(declared.items(), 2):
        if first.entity != second.entity or at in told:
            continue
        one, other = first.id_prefix, second.id_prefix
        collide = one == other if not (one and other) else other.startswith(one)
        if collide and not (one == other and at < _at(declared, first)):
            told.add(at)
            reason = f"ids may collide with those of {first.name} in one entity"
            yield Fault(
                f"{at}.id_prefix", repr(other), reason, "give all but one a prefix of its own"
            )


def _at(declared: Mapping[str, MappingDeclaration], wanted: MappingDeclaration) -> str:
    return next(at for at, each in declared.items() if each is wanted)
