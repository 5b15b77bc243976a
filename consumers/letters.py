"""Records of ``<prefix>.dead_letters``: what a source could not map, brought into Postgres."""

from cdc.runtime.kafka_records import Record
from consumers.parked import Parked, at, parked_record, subject, text
from consumers.rows import Place
from schemas.dead_letter import MAP, decode_dead_letter


def read_letter(record: Record, place: Place) -> Parked:
    """The dead letter in a record; one that cannot be read is a dead letter itself."""
    try:
        letter = decode_dead_letter(record.value or b"")
        version = bytes.fromhex(letter.version)
        if letter.stage != MAP:
            raise ValueError(f"stage {letter.stage!r} is not told over the topic")
    except ValueError as error:
        return parked_record(record, place, "", "not a dead letter", str(error))
    return Parked(
        book=text(letter.book),
        source=text(letter.source),
        entity=text(letter.entity),
        stage=MAP,
        subject=subject(letter.document_id or at(place, record)),
        mapping=text(letter.mapping),
        collection=text(letter.collection),
        document_id=_clean(letter.document_id),
        row_id=_clean(letter.row_id),
        common_id=_clean(common_id(letter.mapping, letter.document_id, letter.row_id)),
        topic=place.topic,
        partition=place.partition,
        offset=record.offset,
        key=None,
        value=None,
        headers="{}",
        path=text(letter.path),
        reason=text(letter.reason),
        detail=None,
        version=version,
    )


def common_id(mapping: str, document_id: str | None, row_id: str | None) -> str | None:
    """What the ids of the document's rows begin with: its own, behind the mapping's prefix."""
    if document_id is None or row_id is None:
        return row_id or document_id
    *_, prefix = ("", *mapping.split(":", 2)[2:])
    whole = prefix + document_id
    if row_id == whole or row_id.startswith(f"{whole}/"):
        return whole
    parent = row_id.removeprefix(prefix).partition("/")[0]
    written_otherwise = ("/" in document_id and parent.startswith("json:")) or (
        document_id.startswith("#") and parent == f"str:{document_id}"
    )
    return prefix + parent if written_otherwise else row_id


def _clean(value: str | None) -> str | None:
    return None if value is None else text(value)
