r"""Paths into documents: dots descend, digits are a position in an array, ``\.`` is a literal dot.

In a mapping with rows a path begins at the row's element; every ``^`` climbs to the element or
document that holds it, and ``#`` is the element's position, counted from 0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Document = Mapping[str, Any]
Read = Callable[["Scope"], Any]
"""The value at a path; None where there is nothing."""

POSITION = "#"
_ESCAPED = "\\.^#["


class Scope(NamedTuple):
    """Where a path begins: a document, or an element with its position and what holds it."""

    document: Document
    position: int = 0
    holder: "Scope | None" = None


class Path(NamedTuple):
    """A parsed path. ``position``: the path ends in ``#`` (then there are no names)."""

    text: str
    climbs: int
    names: tuple[str, ...]
    position: bool = False

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Path:
    """The path; raises ``ValueError`` with what is wrong."""
    rest = text.lstrip("^")
    climbs = len(text) - len(rest)
    if climbs:
        if rest[:1] != ".":
            raise ValueError("a dot and a name follow ^")
        rest = rest[1:]
    if rest == POSITION:
        return Path(text, climbs, (), position=True)
    names = _split(rest)
    if not all(names):
        raise ValueError("a name is empty")
    return Path(text, climbs, tuple(names))


def parse_rows(text: str) -> tuple[tuple[str, ...], ...]:
    """The names down to each array of ``a[].b.c[]``; raises ``ValueError`` with what is wrong."""
    steps = text.split("[]")
    if len(steps) < 2 or steps[-1]:
        raise ValueError("rows end in []")
    found = []
    for index, step in enumerate(steps[:-1]):
        if index and not step.startswith("."):
            raise ValueError("a dot follows []")
        names = _split(step[1:] if index else step)
        if not all(names):
            raise ValueError("a name is empty")
        found.append(tuple(names))
    return tuple(found)


def _split(text: str) -> list[str]:
    names, name, escaped = [], "", False
    for sign in text:
        if escaped:
            if sign not in _ESCAPED:
                raise ValueError(f"\\{sign} means nothing; a literal dot is \\.")
            name, escaped = name + sign, False
        elif sign == "\\":
            escaped = True
        elif sign == ".":
            names.append(name)
            name = ""
        elif sign in "^#[":
            raise ValueError(f"{sign} cannot stand here; the sign itself is \\{sign}")
        else:
            name += sign
    if escaped:
        raise ValueError("ends in a backslash")
    return [*names, name]


def descend(value: Any, names: Sequence[str]) -> Any:
    """What lies under ``names``; None where something is missing on the way."""
    for name in names:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def reader(path: Path) -> Read:
    """Reads the value at the path."""
    climbs, names = path.climbs, path.names
    if path.position:
        return lambda scope: _climbed(scope, climbs).position
    if not climbs and len(names) == 1:
        (name,) = names
        return lambda scope: scope.document.get(name)
    return lambda scope: descend(_climbed(scope, climbs).document, names)


def lexical_reader(path: Path) -> Read:
    """As ``reader``; without ``^`` the nearest holder that has the path's first name counts.

    So that a condition of a mapping with rows may name fields of elements and documents alike.
    """
    if path.climbs or path.position:
        return reader(path)
    names = path.names

    def read(scope: Scope) -> Any:
        at: Scope | None = scope
        while at is not None:
            if names[0] in at.document:
                return descend(at.document, names)
            at = at.holder
        return None

    return read


def _climbed(scope: Scope, climbs: int) -> Scope:
    for _ in range(climbs):
        assert scope.holder is not None, "climbs are checked against the rows"
        scope = scope.holder
    return scope
