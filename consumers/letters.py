"""Records of ``<prefix>.dead_letters``: what a source could not map, brought into Postgres."""

import msgspec

from consumers.batch import Place, Record
from consumers.parked import MAP, Parked, at, parked_record, subject, text


class _Letter(msgspec.Struct):
    book: str
    source: str
    entity: str
    mapping: str
    document_id: str | None
    reason: str
    row_id: str | None = None
    path: str | None = None
    version: str = ""
    collection: str | None = None


_decode = msgspec.json.Decoder(_Letter).decode


def read_letter(record: Record, place: Place) -> Parked:
    """The dead letter in a record; one that cannot be read is a dead letter itself."""
    try:
        letter = _decode(record.value or b"")
        version = bytes.fromhex(letter.version)
    except (msgspec.MsgspecError, ValueError) as error:
        return parked_record(record, place, "", "not a dead letter", str(error))
    return Parked(
        book=text(letter.book),
        source=text(letter.source),
        entity=text(letter.entity),
        stage=MAP,
        subject=subject(letter.document_id or at(place, record)),
        mapping=text(letter.mapping),
        collection=_clean(letter.collection),
        document_id=_clean(letter.document_id),
        row_id=_clean(letter.row_id),
        topic=place.topic,
        partition=place.partition,
        offset=record.offset,
        key=None,
        value=None,
        headers="{}",
        path=_clean(letter.path),
        reason=text(letter.reason),
        detail=None,
        version=version,
    )


def _clean(value: str | None) -> str | None:
    return None if value is None else text(value)
