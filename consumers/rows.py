"""Rows as text, on their way from a record to a table; each key folded to its highest version."""

import re
from typing import NamedTuple

import msgspec

from cdc.runtime.kafka_records import Record

Key = tuple[str, str, str]
"""(book, source, id): the primary key, and the order in which rows are written."""

NULL = "\\N"
REST_PARTS = 5
"""Behind a line's content: deleted, version (hex), source time (ms), partition, offset."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


class Place(NamedTuple):
    """A partition."""

    topic: str
    partition: int


class Row(msgspec.Struct, gc=False):
    """One row, ready for Postgres: its ``line`` in COPY's text format, without the line's end.

    Made while the event's texts are at hand: a batch of thousands does not stay in the processor's
    caches. ``known``: its content is; a delete may come without any. ``source_ms``: when it
    happened at the source. ``record``: None unless it was asked for; it is most of the memory.
    """

    key: Key
    version: bytes
    line: str
    known: bool
    source_ms: int
    place: Place
    record: Record | None

    def texts(self) -> list[str | None]:
        """In the order of the staging table's columns; None is null."""
        return [None if part == NULL else unescaped(part) for part in self.line.split("\t")]

    def take_content(self, older: "Row") -> None:
        """What ``older``, of the same key, held."""
        held, mine = older.line.split("\t"), self.line.split("\t")
        self.line = "\t".join(held[:-REST_PARTS] + mine[-REST_PARTS:])
        self.known = older.known


def escaped(part: str | None) -> str:
    """A value as COPY's text format has it."""
    return NULL if part is None else part.translate(_ESCAPES)


def unescaped(part: str) -> str:
    """The value that COPY would read."""
    if "\\" not in part:
        return part
    return _ESCAPED.sub(lambda found: _MEANT[found[1]], part)


class Fold:
    """The events of one entity, each key folded to its highest version.

    Two versions of a key must not meet in one statement. What a newer event replaced was applied
    with it; an older one after a newer is stale, an equal one a duplicate.
    """

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.replaced = 0
        self.stale = 0
        self.duplicates = 0
        self.source_ms: list[int] = []

    def add(self, row: Row) -> None:
        """Takes ``row`` where it is the newest of its key so far."""
        self.source_ms.append(row.source_ms)
        older = self.rows.setdefault(row.key, row)
        if older is row:
            return
        if row.version > older.version:
            if not row.known and older.known:  # a delete leaves the last content
                row.take_content(older)
            self.rows[row.key] = row
            self.replaced += 1
        elif row.version == older.version:
            self.duplicates += 1
        else:
            self.stale += 1

    def sorted(self) -> list[Row]:
        """In the order of their keys, which every writer keeps."""
        rows = self.rows
        return [rows[key] for key in sorted(rows)]
