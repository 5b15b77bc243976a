"""Dead letters: what cannot be mapped (told by a source) or applied (found here)."""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import orjson

from cdc.runtime.errors import Refused
from cdc.runtime.kafka_records import Record
from cdc.runtime.postgres import Connection
from consumers.rows import Place, Row
from schemas.sql import query

APPLY = "apply"
SUBJECT_CHARACTERS_MAX = 500
DETAIL_CHARACTERS_MAX = 2_000


class Parked(NamedTuple):
    """One row of ``sync.dead_letters``; ``subject`` is what makes it one with its like."""

    book: str
    source: str
    entity: str
    stage: str
    subject: str
    mapping: str
    collection: str | None
    document_id: str | None
    row_id: str | None
    common_id: str | None
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: str
    path: str | None
    reason: str
    detail: str | None
    version: bytes

    @property
    def identity(self) -> tuple[str, ...]:
        """What the table's unique key is made of."""
        return (self.book, self.source, self.entity, self.stage, self.subject, self.mapping)


def parked_record(
    record: Record,
    place: Place,
    entity: str,
    reason: str,
    detail: str,
    *,
    key: tuple[str, str, str] | None = None,
    version: bytes = b"",
) -> Parked:
    """A record of an entity topic that cannot be applied, whole, so that it can be tried again."""
    book, source, row_id = key or ("", "", None)
    headers = {
        name: None if value is None else value.decode("utf-8", "replace")
        for name, value in record.headers
    }
    return Parked(
        book=text(book),
        source=text(source),
        entity=entity,
        stage=APPLY,
        subject=subject(row_id or at(place, record)),
        mapping="",
        collection=None,
        document_id=text(row_id) if row_id is not None else None,
        row_id=text(row_id) if row_id is not None else None,
        common_id=None,
        topic=place.topic,
        partition=place.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=text(orjson.dumps(headers).decode().replace("\\u0000", "\\ufffd")),
        path=None,
        reason=reason,
        detail=text(detail)[:DETAIL_CHARACTERS_MAX],
        version=version,
    )


def parked_row(row: Row, entity: str, why: Refused) -> Parked:
    """A row, kept with its record, that Postgres refused."""
    assert row.record is not None
    return parked_record(
        row.record, row.place, entity, why.code, why.message, key=row.key, version=row.version
    )


def text(value: str) -> str:
    """What Postgres can hold of it."""
    return value.replace("\0", "\ufffd")


def at(place: Place, record: Record) -> str:
    """Where a record lies, as the subject of a letter that has no better."""
    return f"{place.topic}/{place.partition}/{record.offset}"


def subject(identity: str) -> str:
    """``identity`` itself, or where it is too long for an index, its beginning and its hash."""
    identity = text(identity)
    if len(identity) <= SUBJECT_CHARACTERS_MAX:
        return identity
    return f"{identity[:SUBJECT_CHARACTERS_MAX]}…{sha256(identity.encode()).hexdigest()}"


async def park(connection: Connection, letters: Iterable[Parked]) -> None:
    """Writes dead letters, of each only the newest; each counts an attempt."""
    newest: dict[tuple[str, ...], Parked] = {}
    attempts: Counter[tuple[str, ...]] = Counter()
    for letter in letters:
        identity = letter.identity
        attempts[identity] += 1
        if identity not in newest or letter.version >= newest[identity].version:
            newest[identity] = letter
    if newest:
        columns = map(list, zip(*newest.values(), strict=True))
        counts = [attempts[identity] for identity in newest]
        await connection.execute(query("park"), *columns, counts)
