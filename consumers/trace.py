"""Where a row comes from: the row, the event that its lineage names, whether the two agree."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from cdc.runtime.errors import Absent
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import Record, records, spans
from cdc.runtime.postgres import Connection, session, translated
from consumers.apply import arrays
from consumers.decode import Decoder, Unreadable, read_key, read_version
from consumers.parked import Parked
from consumers.projections import PROJECTIONS
from consumers.rows import Key, Place, Row
from consumers.settings import ConsumerSettings
from consumers.statements import compare, rows_of
from schemas.entities import entity as entity_named

NO_LINEAGE = "it names no event: no consumer of ours wrote it"
GONE = "its event is not on the topic any more: it was compacted away"
SUPERSEDED = (
    "its event is not on the topic any more: a newer one of this row was published since and is"
    " still to be applied, or the topic was made anew"
)
ANOTHER = (
    "another version of this row lies where its event was: the topic was made anew, or somebody"
    " altered the row's version"
)


@dataclass(frozen=True, slots=True)
class Traced:
    """A row with its event. ``agrees``: whether the row is what the event says; None where that
    cannot be told, and ``reason`` says why.
    """

    target: str
    row: dict[str, Any]
    event: dict[str, Any] | None
    agrees: bool | None
    reason: str | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)


async def trace(
    settings: ConsumerSettings, entity: str, row_id: str, source: str | None
) -> list[Traced]:
    """The rows of that id, of every book and source (or of this source), deleted ones, too."""
    async with session(settings.database.connect) as connection:
        with translated("trace", entity):
            rows = await connection.fetch(rows_of(PROJECTIONS[entity]), row_id, source)
        return [await _traced(settings, connection, entity, dict(row)) for row in rows]


async def _traced(
    settings: ConsumerSettings, connection: Connection, entity: str, row: dict[str, Any]
) -> Traced:
    shown = {name: _plain(value) for name, value in row.items()}

    def told(agrees: bool | None, reason: str | None, record: Record | None = None) -> Traced:
        event = None if record is None else _event(record, place)
        return Traced(settings.target, shown, event, agrees, reason)

    place, offset = Place(row["topic"], row["partition"]), row["offset"]
    if None in (*place, offset):
        return told(None, NO_LINEAGE)
    record = await _record(settings.kafka, place, offset)
    version = None if record is None else read_version(record.value or b"")
    key = (row["book"], row["source"], row["id"])
    if record is None or version is None or not _is_of(record, key):
        return told(None, GONE if row["deleted"] else SUPERSEDED)
    if version != row["version"]:
        return told(None, ANOTHER)
    found = Decoder(entity_named(entity)).row(record, place, keep=False)
    if isinstance(found, Parked):
        return told(None, f"its event cannot be read any more: {found.detail}", record)
    return told(await _agrees(connection, entity, found), None, record)


async def _record(kafka: KafkaConnection, place: Place, offset: int) -> Record | None:
    """What lies there; None where nothing does."""
    try:
        first, end = (await spans(kafka, place.topic, [place.partition]))[place.partition]
    except Absent:
        return None
    found: list[Record] = []
    if first <= offset < end:
        async for batch in records(kafka, *place, offset, offset + 1):
            found += batch
    return found[0] if found else None


def _is_of(record: Record, key: Key) -> bool:
    """A topic made anew counts from 0 again: another row's event may lie there."""
    try:
        return read_key(record.key) == key
    except Unreadable:
        return False


async def _agrees(connection: Connection, entity: str, row: Row) -> bool:
    """Whether a replay of the event would leave the row as it is."""
    with translated("trace", entity):
        counts = await connection.fetchrow(
            compare(PROJECTIONS[entity], known=row.known), row.place.topic, *arrays([row])
        )
    assert counts is not None  # of aggregates
    return not any(counts.values())


def _event(record: Record, place: Place) -> dict[str, Any]:
    return {
        "topic": place.topic,
        "partition": place.partition,
        "offset": record.offset,
        "published_at": datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(),
        "headers": {
            name: (value or b"").decode(errors="replace") for name, value in record.headers
        },
        "key": orjson.loads(record.key or b"null"),
        "value": orjson.loads(record.value or b"null"),
    }


def _plain(value: Any) -> Any:
    """Amounts as text, times in ISO 8601, bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if hasattr(value, "isoformat") else value
