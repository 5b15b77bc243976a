"""Where a row comes from: the row, the event that its lineage names, whether the two agree."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from cdc.runtime.errors import Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import Record, records, spans
from cdc.runtime.postgres import Connection, session, translated
from consumers.apply import arrays
from consumers.decode import Decoder, Unreadable, read_key, read_version
from consumers.parked import Parked
from consumers.projections import PROJECTIONS
from consumers.rows import Key, Place
from consumers.settings import ConsumerSettings
from consumers.statements import compare, rows_of
from schemas.entities import entity as entity_named

NOT_THERE = "it is not on the topic any more: compacted away, or the topic was made anew"


@dataclass(frozen=True, slots=True)
class Traced:
    """A row with its event. ``agrees``: the row is what the event says; None where that is not
    known, because the event is gone (``missing`` says why).
    """

    target: str
    row: dict[str, Any]
    event: dict[str, Any] | None
    agrees: bool | None
    missing: str | None = None

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
    place, offset = Place(row["topic"], row["partition"]), row["offset"]
    shown = {name: _plain(value) for name, value in row.items()}
    record = await _record(settings.kafka, place, offset, (row["book"], row["source"], row["id"]))
    if record is None:
        return Traced(settings.target, shown, None, None, NOT_THERE)
    agrees = await _agrees(connection, entity, row["version"], record, place)
    return Traced(settings.target, shown, _event(record, place), agrees)


async def _record(kafka: KafkaConnection, place: Place, offset: int, key: Key) -> Record | None:
    """The record there, if it is this key's: a topic made anew counts from 0 again."""
    try:
        first, end = (await spans(kafka, place.topic, [place.partition]))[place.partition]
    except Unfit:  # no such topic or partition any more
        return None
    if not first <= offset < end:
        return None
    async for batch in records(kafka, *place, offset, offset + 1):
        return batch[0] if _is_event(batch[0], key) else None
    return None


def _is_event(record: Record, key: Key) -> bool:
    try:
        return read_key(record.key) == key and read_version(record.value or b"") is not None
    except Unreadable:
        return False


async def _agrees(
    connection: Connection, entity: str, version: bytes, record: Record, place: Place
) -> bool:
    """Whether a replay of the event would leave the row as it is."""
    found = Decoder(entity_named(entity)).row(record, place, keep=False)
    if isinstance(found, Parked) or found.version != version:
        return False
    with translated("trace", entity):
        counts = await connection.fetchrow(
            compare(PROJECTIONS[entity], known=found.known), place.topic, *arrays([found])
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
    """As the topics write it: amounts and times as text, bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if hasattr(value, "isoformat") else value
