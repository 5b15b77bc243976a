"""The record on ``<prefix>.dead_letters``: what a source could not map, and why.

It names the document and the field, never a value: only mapped values leave a source. Key:
canonical JSON of book, source, entity, document_id and mapping.
"""

import msgspec
import orjson

MAP = "map"
SCHEMA_ID = "dead_letter/1"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """``row_id``: of the row, or of the document's rows' common part; ids None: cannot be told.

    ``version``: hex, of the change that did not map. ``path``: as the mapping writes it, empty
    where the whole document is meant. ``ts_ms``: when it was found, UTC.
    """

    book: str
    source: str
    mapping: str
    entity: str
    collection: str
    document_id: str | None
    row_id: str | None
    path: str
    reason: str
    version: str
    ts_ms: int
    stage: str = MAP

    @property
    def key(self) -> bytes:
        """The record's key."""
        return orjson.dumps(
            {
                "book": self.book,
                "document_id": self.document_id,
                "entity": self.entity,
                "mapping": self.mapping,
                "source": self.source,
            }
        )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeadLetter).decode


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The record's value."""
    return _encode(letter)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """Raises ``ValueError`` for a value that is no dead letter."""
    try:
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no dead letter: {error}") from None
