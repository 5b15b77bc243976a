"""A table per entity: how an API's object becomes a row. Declarations, and what reads them.

The tables themselves stand beside their sources (``sources/ynab_tables.py``, ``plaid_tables.py``).
Values are converted exactly or refused with their path: nothing is guessed or rounded.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

from cdc.sources.polled_objects import CONTEXT, INT64
from cdc.sources.protocol import Document
from schemas.entities import Entity, Kind
from schemas.money import plain

Convert = Callable[[Any, Document], Any]
"""(value, the whole document) to what travels; raises ``Wrong``."""


class Wrong(Exception):
    """A value that cannot be converted, and why."""


def text(value: Any, _: Document) -> str:
    if type(value) is not str:
        raise Wrong("not a text")
    return value


def flag(value: Any, _: Document) -> bool:
    if type(value) is not bool:
        raise Wrong("not true or false")
    return value


def count(value: Any, _: Document) -> int:
    if type(value) is not int or not -INT64 <= value < INT64:
        raise Wrong("not a whole number")
    return value


def day(value: Any, _: Document) -> str:
    if type(value) is not str or len(value) != 10:
        raise Wrong("not a date")
    try:
        found = date.fromisoformat(value).isoformat()
    except ValueError:
        raise Wrong("not a date") from None
    if found != value:  # days of weeks are written otherwise, as long
        raise Wrong("not a date")
    return value


def instant(value: Any, _: Document) -> str:
    """A time with its zone, as UTC; milliseconds only where there are any."""
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise Wrong("a time without a zone")
        at = at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Wrong("not a time") from None
    unit = "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=unit).removesuffix("+00:00") + "Z"


def amount(value: Any, _: Document) -> str:
    """A number as it is written."""
    if type(value) is int:
        return str(value)
    if type(value) is not Decimal or not value.is_finite() or abs(value.adjusted()) > 100:
        raise Wrong("not an amount")
    return plain(value)


def turned(value: Any, document: Document) -> str:
    """An amount with the other sign."""
    written = amount(value, document)
    if not Decimal(written):
        return written
    return written[1:] if written.startswith("-") else f"-{written}"


def as_json(value: Any, document: Document) -> Any:
    """Any value; fractions and very large numbers as text; no NUL: Postgres cannot hold it."""
    kind = type(value)
    if kind is str:
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if kind is dict:
        return {
            name.replace("\0", "\ufffd"): None if item is None else as_json(item, document)
            for name, item in value.items()
        }
    if kind is list:
        return [as_json(item, document) for item in value]
    too_long = kind is int and not -INT64 <= value < INT64
    return str(value) if kind is Decimal or too_long else value


PLAINLY: Mapping[Kind, Convert] = {
    Kind.TEXT: text,
    Kind.BOOL: flag,
    Kind.INT: count,
    Kind.DATE: day,
    Kind.TIMESTAMP: instant,
    Kind.DECIMAL: amount,
    Kind.JSON: as_json,
}


class Read(NamedTuple):
    """Where a column comes from: the first of ``paths`` (keys joined by dots) that is not null.

    ``convert`` None: by the column's kind.
    """

    paths: tuple[str, ...]
    convert: Convert | None = None


def read(*paths: str, by: Convert | None = None) -> Read:
    return Read(paths, by)


@dataclass(frozen=True, slots=True)
class Table:
    """One resource into one entity.

    ``columns``: what is read otherwise than from the key of the column's name. ``only``: none but
    ``columns`` are read. ``context``: columns that come from what the object belongs to.
    ``known``: words of open enumerations: others are kept and counted. ``ignored``: keys, and
    endings of keys (``*_formatted``), that repeat what stands elsewhere. ``detailed``: keys that
    go into ``details`` as expected. Whatever else appears goes there too, and is counted.
    """

    resource: str
    entity: Entity
    columns: Mapping[str, Read] = field(default_factory=dict)
    only: bool = False
    context: Callable[[Any], Mapping[str, Any]] = lambda found: {}
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    detailed: frozenset[str] = frozenset()
    kinds: Mapping[Kind, Convert] = field(default_factory=lambda: PLAINLY)


class Row(NamedTuple):
    """Columns as they travel. ``news``: (what, key) that no table knows, to be counted."""

    columns: dict[str, Any]
    news: list[tuple[str, str]]


class Misfit(Exception):
    """An object that does not fit its table: ``path`` and ``reason``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class _Column(NamedTuple):
    name: str
    paths: tuple[tuple[str, ...], ...]
    convert: Convert
    required: bool

    @property
    def is_plain(self) -> bool:
        return len(self.paths) == 1 and len(self.paths[0]) == 1


class Reader:
    """A table made ready to read."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._columns = tuple(_columns(table))
        self._empty = dict.fromkeys(table.entity.column_names)
        self._plain = tuple(
            (each.name, each.paths[0][0], each.convert, each.required)
            for each in self._columns
            if each.is_plain
        )
        self._deep = tuple(each for each in self._columns if not each.is_plain)
        heads = {path[0] for column in self._columns for path in column.paths}
        self._keys = heads | {each for each in table.ignored if "*" not in each} | {CONTEXT}
        self._endings = tuple(each[1:] for each in table.ignored if each.startswith("*"))
        self._has_details = table.entity.column("details") is not None

    @property
    def fingerprint(self) -> str:
        """Another one means that rows would come out otherwise: they are read again."""
        parts = [self.table.entity.schema_id]
        for column in self._columns:
            paths = "|".join(".".join(path) for path in column.paths)
            parts.append(f"{column.name}={paths}:{column.convert.__name__}")
        parts += sorted(self.table.ignored)
        return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()

    def row(self, document: Document) -> Row:
        """The object as a row; raises ``Misfit``."""
        columns = self._empty.copy()
        columns.update(self.table.context(document.get(CONTEXT)))
        key = ""
        try:
            for name, key, convert, required in self._plain:
                value = document.get(key)
                if value is not None:
                    columns[name] = convert(value, document)
                elif required:
                    raise Wrong("missing")
            for name, paths, convert, required in self._deep:
                key = ".".join(paths[0])
                value = _first(document, paths)
                if value is not None:
                    columns[name] = convert(value, document)
                elif required:
                    raise Wrong("missing")
        except Wrong as error:
            raise Misfit(key, str(error)) from None
        except RecursionError:
            raise Misfit(key, "is nested too deep") from None
        news: list[tuple[str, str]] = []
        for name, words in self.table.known.items():
            if columns[name] is not None and columns[name] not in words:
                news.append((name, str(columns[name])[:50]))
        further = document.keys() - self._keys
        if further and self._has_details:
            columns["details"] = self._details(document, further, news)
        return Row(columns, news)

    def _details(
        self, document: Document, further: Iterable[str], news: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        details: dict[str, Any] = {}
        for key in sorted(further):
            if key.endswith(self._endings) if self._endings else False:
                continue
            if key not in self.table.detailed:
                news.append(("details", key))
            try:
                if document[key] is not None:
                    details[key] = as_json(document[key], document)
            except RecursionError:
                raise Misfit(key, "is nested too deep") from None
        return details or None


def _first(document: Document, paths: tuple[tuple[str, ...], ...]) -> Any:
    """The first value that is not null at one of these paths."""
    for path in paths:
        value: Any = document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def _columns(table: Table) -> Iterable[_Column]:
    given = table.context(None)
    for column in table.entity.columns:
        if column.name in given or column.name == "details":
            continue
        declared = table.columns.get(column.name)
        if declared is None:
            if table.only:
                continue
            declared = Read((column.name,))
        paths = tuple(tuple(path.split(".")) for path in declared.paths)
        convert = declared.convert or table.kinds[column.kind]
        yield _Column(column.name, paths, convert, column.required)
