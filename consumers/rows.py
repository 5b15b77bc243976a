"""Rows as text, on their way from a record to a table; each key folded to its highest version."""

from typing import NamedTuple

import msgspec

from cdc.runtime.kafka_records import Record

Key = tuple[str, str, str]
"""(book, source, id): the primary key, and the order in which rows are written."""

NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Place(NamedTuple):
    """A partition."""

    topic: str
    partition: int


class Row(msgspec.Struct, gc=False):
    """One row as text: key, content (None is null), and what the lineage is made of.

    ``known``: its content is; a delete may come without any. ``plain``: no text in it needs
    escaping. ``source_ms``: when it happened at the source.
    """

    key: Key
    version: bytes
    content: tuple[str | None, ...]
    deleted: bool
    known: bool
    plain: bool
    source_ms: int
    place: Place
    record: Record

    def texts(self) -> tuple[str | None, ...]:
        """In the order of the staging table's columns."""
        return (*self.key, *self.content, *self._rest().split("\t"))

    def line(self) -> str:
        """The same as a line of COPY's text format, without its end."""
        parts = [NULL if part is None else part for part in (*self.key, *self.content)]
        if not self.plain:
            parts = [part if part is NULL else part.translate(_ESCAPES) for part in parts]
        return "\t".join(parts) + "\t" + self._rest()

    def _rest(self) -> str:
        """Deleted, version (hex), source time (ms), partition and offset: nothing to escape."""
        return (
            f"{'t' if self.deleted else 'f'}\t{self.version.hex()}\t{self.source_ms}"
            f"\t{self.place[1]}\t{self.record.offset}"
        )


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
                row.content, row.known, row.plain = older.content, True, older.plain
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
