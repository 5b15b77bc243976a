"""``where`` and ``deleted_when``: equality with declared values, compiled once.

A declared text equals a text, and an ObjectId or UUID of that text. Numbers are equal by value,
whatever their type; a bool is no number. In a mapping with rows a name is the element's, where it
has it, else its holder's, up to the document's; ``^`` says which is meant.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from cdc.mapping.declared import PRESENT, Condition
from cdc.mapping.paths import Path, Scope, lexical_reader, parse, reader

Accepts = Callable[[Any], bool]
Declared = Mapping[str, Condition | tuple[Condition, ...]]


class Conditions:
    """Conditions on one row. ``depth``: how many arrays lie between document and row.

    ``present``: that word is met by any value but null.
    """

    def __init__(self, declared: Declared, depth: int = 0, *, present: bool = False) -> None:
        paths = [parse(text) for text in declared]
        accepted = [
            _is_present if present and value == PRESENT else _accepts(value)
            for value in declared.values()
        ]
        self._each = [
            (lexical_reader(path), accepts) for path, accepts in zip(paths, accepted, strict=True)
        ]
        self._paths = list(zip(paths, accepted, strict=True))
        self._depth = depth

    def __bool__(self) -> bool:
        return bool(self._each)

    def all(self, scope: Scope) -> bool:
        """Whether every condition is met."""
        return all(accepts(read(scope)) for read, accepts in self._each)

    def any(self, scope: Scope) -> bool:
        """Whether one of the conditions is met."""
        return any(accepts(read(scope)) for read, accepts in self._each)

    def possible(self, scope: Scope, depth: int) -> bool:
        """Whether rows below ``scope``, ``depth`` arrays down, could meet all conditions."""
        return all(
            accepts(reader(path)(scope))
            for path, accepts in (
                (self._seen_from(path, scope, depth), accepts) for path, accepts in self._paths
            )
            if path is not None
        )

    def _seen_from(self, path: Path, scope: Scope, depth: int) -> Path | None:
        """The same place as a path from ``scope``; None: it lies below, and cannot be told."""
        if path.climbs or path.position:
            climbs = path.climbs - (self._depth - depth)
            return path._replace(climbs=climbs) if climbs >= 0 else None
        at: Scope | None = scope
        climbs = 0
        while at is not None:
            if path.names[0] in at.document:
                return path._replace(climbs=climbs)
            at, climbs = at.holder, climbs + 1
        return None


def _is_present(value: Any) -> bool:
    return value is not None


def _accepts(declared: Condition | tuple[Condition, ...]) -> Accepts:
    if isinstance(declared, tuple):
        return _any_of([_accepts(each) for each in declared])
    if isinstance(declared, bool):
        return lambda value: value is declared
    if isinstance(declared, str):
        return lambda value: (
            value == declared
            or (isinstance(value, ObjectId | UUID) and str(value) == declared.lower())
        )
    return _equals_number(Decimal(str(declared)))


def _any_of(each: Sequence[Accepts]) -> Accepts:
    return lambda value: any(accepts(value) for accepts in each)


def _equals_number(declared: Decimal) -> Accepts:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, int):
            return declared == int(value)
        if isinstance(value, float):
            return Decimal(repr(value)) == declared
        if not isinstance(value, Decimal128):
            return False
        exact = value.to_decimal()
        return exact.is_finite() and exact == declared

    return accepts
