"""Everything that is wrong with declared mappings, found at once, each with its way out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from cdc.mapping import field_checks
from cdc.mapping.columns import is_computed
from cdc.mapping.declared import ID, FieldDeclaration, MappingDeclaration
from cdc.mapping.paths import parse, parse_rows
from cdc.runtime.settings_reader import Fault, did_you_mean
from schemas.entities import ENTITIES, Entity

_ANY_DEPTH = 100  # where rows cannot be read, climbing cannot be judged
_FORMS = ("str", "int", "dec", "uuid", "date", "bin", "json")


def faults(declarations: Sequence[MappingDeclaration | None]) -> list[Fault]:
    """All of them. Places are keys below the mappings, dotted: ``0.fields.amount.zone``.

    Form (unknown keys, wrong kinds of values) is told by the models themselves: None stands for a
    mapping that they refused.
    """
    declared = {str(number): each for number, each in enumerate(declarations) if each is not None}
    found: list[Fault] = []
    for at, declaration in declared.items():
        found += _mapping_faults(declaration, at)
    return [*found, *_prefix_faults(declared)]


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
            depth = _ANY_DEPTH
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
