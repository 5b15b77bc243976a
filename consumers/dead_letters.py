"""Dead letters as a person meets them: list, show, try again, drop.

A letter of stage ``apply`` holds its record and is applied again here, through the same guard. One
of stage ``map`` is asked from its source's owner (``sync.requests``), who alone publishes: what
comes of it arrives over the topic.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from cdc.runtime.postgres import Connection, transaction, translated
from consumers.apply import arrays, turn_of
from consumers.decode import Decoder
from consumers.isolate import Circuit, isolate
from consumers.parked import APPLY, Parked, park, parked_row
from consumers.projections import PROJECTIONS
from consumers.rows import Place, Row
from consumers.statements import REPLAY, upsert
from schemas.dead_letter import MAP
from schemas.entities import entity as entity_named
from schemas.sql import query

LETTERS_PAGE = 1_000
RECORDS_PAGE = 100
"""So many letters are in memory at a time; fewer where each brings its record, of up to 1 MB."""
RETRY_IDS_MAX = 1_000
"""Of one request: its documents are read at once, and held in memory together."""
RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters: these ids (open or not), or the open ones of an entity, or all open ones."""

    ids: tuple[int, ...] = ()
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with everything that is known of it. ``open``: still to be dealt with."""

    id: int
    book: str
    source: str
    entity: str
    stage: str
    mapping: str
    collection: str | None
    document_id: str | None
    row_id: str | None
    topic: str | None
    partition: int | None
    offset: int | None
    key: bytes | None
    value: bytes | None
    headers: dict[str, str | None]
    path: str | None
    reason: str
    detail: str | None
    version: str
    attempts: int
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None
    open: bool

    def document(self, *, whole: bool) -> dict[str, Any]:
        """Plain JSON; ``whole``: with the record itself."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("key", "value"):
            raw = found.pop(name)
            if whole:
                found[name] = None if raw is None else raw.decode("utf-8", "replace")
        for name in ("first_seen", "last_seen", "resolved_at"):
            found[name] = None if found[name] is None else found[name].isoformat()
        if not whole:
            del found["headers"]
        return found


Wanted = dict[tuple[str, str | None], list[str]]
"""Ids of documents by source and collection."""


class Retried(NamedTuple):
    """Ids by what came of the retry. ``requests``: ids of what was asked of sources' owners."""

    applied: tuple[int, ...]
    refused: tuple[int, ...]
    asked: tuple[int, ...]
    requests: tuple[int, ...]


class StoredRecord(NamedTuple):
    """A record as a letter kept it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


async def find(
    connection: Connection, selection: Selection, *, closed: bool = False, whole: bool = False
) -> AsyncIterator[list[Letter]]:
    """The selected letters in the order of their ids, a page at a time.

    ``whole``: with their records.
    """
    ids = list(selection.ids) or None
    which = (ids, selection.entity, closed or bool(ids), RECORDS_PAGE if whole else LETTERS_PAGE)
    last = 0
    while True:
        with translated("find dead letters"):
            rows = await connection.fetch(query("find_dead_letters"), *which, last, whole)
        if not rows:
            return
        yield [Letter(**{**row, "headers": orjson.loads(row["headers"] or "{}")}) for row in rows]
        last = rows[-1]["id"]


async def drop(connection: Connection, selection: Selection) -> tuple[int, ...]:
    """Closes the selected letters for good, and names those that were not closed before."""
    dropped: list[int] = []
    async for letters in find(connection, selection):
        with translated("drop dead letters"):
            ids = [letter.id for letter in letters]
            rows = await connection.fetch(query("resolve_dead_letters"), ids)
        dropped += sorted(row["id"] for row in rows)
    return tuple(dropped)


async def retry(
    connection: Connection, control: Connection, selection: Selection, *, by: str
) -> Retried:
    """Tries the selected letters again. ``control``: the database of requests; ``by``: who asks."""
    applied: list[int] = []
    refused: list[int] = []
    asked: list[int] = []
    wanted: Wanted = defaultdict(list)
    async for letters in find(connection, selection, whole=True):
        for letter in letters:
            if letter.stage == APPLY:
                done = await _apply_again(connection, letter)
                (applied if done else refused).append(letter.id)
            elif letter.stage == MAP and letter.document_id is not None:
                asked.append(letter.id)
                wanted[letter.source, letter.collection].append(letter.document_id)
    requests = await _ask(control, wanted, by)
    return Retried(tuple(applied), tuple(refused), tuple(asked), requests)


async def _apply_again(connection: Connection, letter: Letter) -> bool:
    record = StoredRecord(
        letter.offset or 0,
        0,
        letter.key,
        letter.value,
        tuple(
            (name, None if value is None else value.encode())
            for name, value in letter.headers.items()
        ),
    )
    place = Place(letter.topic or "", letter.partition or 0)
    projection = PROJECTIONS.get(letter.entity)
    if projection is None:  # a record of the dead letters' own topic
        return False
    row = Decoder(entity_named(letter.entity)).row(record, place, keep=True)
    parked: list[Parked] = [row] if isinstance(row, Parked) else []

    async def write(rows: Sequence[Row]) -> int:
        statement = upsert(projection, known=rows[0].known, mode=REPLAY)
        await connection.execute(statement, place.topic, *arrays(rows))
        return len(rows)

    turn = turn_of(projection) if isinstance(row, Row) else None
    async with transaction(connection, "retry dead letter", turn=turn):
        if isinstance(row, Row):
            done = await isolate(connection, [row], write, Circuit(), projection.table)
            parked += (parked_row(bad, letter.entity, why) for bad, why in done.refused)
        if parked:
            await park(connection, parked)
        else:
            await connection.execute(query("resolve_dead_letters"), [letter.id])
    return not parked


async def _ask(control: Connection, wanted: Wanted, by: str) -> tuple[int, ...]:
    """Requests for each collection of a source, with so many documents at the most."""
    requests = []
    for (source, collection), found in sorted(wanted.items(), key=str):
        ids = sorted(set(found))
        for start in range(0, len(ids), RETRY_IDS_MAX):
            part = ids[start : start + RETRY_IDS_MAX]
            said = orjson.dumps({"collection": collection, "ids": part}).decode()
            with translated("ask for documents again", source):
                requests.append(
                    await control.fetchval(query("enqueue_request"), source, RETRY, said, by)
                )
    return tuple(requests)
