"""Where to go on: the offset rows of Postgres, held against the topics as they are now.

| stored row                                   | starts at       | told as   |
|----------------------------------------------|-----------------|-----------|
| none                                         | the log's start |           |
| of a topic of that name, but another id      | the log's start | recreated |
| before the log's start (retention)           | the log's start | expired   |
| beyond the log's end (a log that was cut)    | the log's start | truncated |
| untouched longer than deletes are kept       | as stored       | silent    |
| as it should be                              | as stored       |           |

Starting again at the start does no harm: the versions of the rows guard them. After *silent* the
deletes that compaction has forgotten are found by a scan (``gap.py``). A log that was cut is not
scanned, however long nobody read it: what is not on it may have been cut off, not deleted, and a
row that lives at the source would go. A person is told how to build the table anew.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from cdc.runtime.errors import Fenced
from cdc.runtime.postgres import Connection, transaction, translated
from consumers.rows import Place
from schemas.sql import query


class GapReason(StrEnum):
    """Why a stored offset cannot be simply gone on from."""

    RECREATED = "recreated"
    EXPIRED = "expired"
    TRUNCATED = "truncated"
    SILENT = "silent"


class Stored(NamedTuple):
    """An offset row. ``gap_end``: below it deletes may have been missed and are looked for."""

    topic_id: str
    next_offset: int
    gap_end: int | None
    silent_seconds: float


class Span(NamedTuple):
    """A partition as it is: its topic's id, first offset, end of what is committed."""

    topic_id: str
    start: int
    end: int


class Start(NamedTuple):
    """Where a partition is gone on from; ``gap``: what must be told."""

    topic_id: str
    offset: int
    gap_end: int | None = None
    gap: GapReason | None = None


def decide(stored: Stored | None, span: Span, gap_after_seconds: float) -> Start:
    """The table above."""
    at_start = Start(span.topic_id, span.start)
    if stored is None:
        return at_start
    if stored.topic_id != span.topic_id:
        return at_start._replace(gap=GapReason.RECREATED)
    if stored.next_offset < span.start:
        return at_start._replace(gap_end=stored.gap_end, gap=GapReason.EXPIRED)
    if stored.next_offset > span.end:
        return at_start._replace(gap=GapReason.TRUNCATED)
    start = Start(span.topic_id, stored.next_offset, stored.gap_end)
    if stored.silent_seconds > gap_after_seconds and span.end > stored.next_offset:
        return start._replace(gap_end=span.end, gap=GapReason.SILENT)
    return start


async def read_offsets(connection: Connection, group: str) -> dict[Place, Stored]:
    """Every offset row of the group."""
    with translated("read offsets"):
        rows = await connection.fetch(query("read_offsets"), group)
    return {
        Place(row["topic"], row["partition"]): Stored(
            row["topic_id"], row["next_offset"], row["gap_end"], row["silent_seconds"]
        )
        for row in rows
    }


async def settle_offsets(
    connection: Connection,
    group: str,
    stored: Mapping[Place, Stored],
    starts: Mapping[Place, Start],
) -> None:
    """Brings the rows to ``starts``; raises ``Fenced`` where one is no longer as it was read."""
    added = {place: start for place, start in starts.items() if place not in stored}
    moved = {place: start for place, start in starts.items() if start.gap is not None}
    if not added and not moved:
        return
    async with transaction(connection, "settle offsets"):
        tag = await connection.execute(
            query("add_offsets"),
            group,
            [place.topic for place in added],
            [place.partition for place in added],
            [start.topic_id for start in added.values()],
            [start.offset for start in added.values()],
        )
        done = int(tag.rpartition(" ")[2])
        for place, start in moved.items():
            known = stored[place]
            tag = await connection.execute(
                query("restart_offset"),
                group,
                *place,
                known.topic_id,
                known.next_offset,
                start.topic_id,
                start.offset,
                start.gap_end,
            )
            done += int(tag.rpartition(" ")[2])
        if done != len(added) + len(moved):
            raise Fenced("another consumer placed them", operation="settle", subject=group)
