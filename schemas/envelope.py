"""The record on a topic: canonical key, Debezium's generic envelope as value, headers.

Contract: ``contract.md`` 3. Everything that is published or applied passes through here.
"""

from hashlib import blake2b
from typing import NamedTuple

import orjson

CONNECTOR_VERSION = "1"
"""``source.version``: the version of this envelope's content, not of the product."""

EVENT_ID_BYTES = 16

Headers = list[tuple[str, bytes]]


class Event(NamedTuple):
    """One record, ready to be sent. ``value`` None is a tombstone (and has no headers)."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers


def encode_key(book: str, source: str, row_id: str) -> bytes:
    """Canonical JSON (sorted keys, no spaces, UTF-8) of the primary key."""
    return orjson.dumps({"book": book, "id": row_id, "source": source})


def decode_key(key: bytes) -> tuple[str, str, str]:
    """(book, source, id); raises ``ValueError`` for a key that is not ours."""
    data = orjson.loads(key)
    try:
        parts = (data["book"], data["source"], data["id"])
    except (TypeError, KeyError) as error:
        raise ValueError("key is not {book, id, source}") from error
    if len(data) != 3 or not all(type(part) is str for part in parts):
        raise ValueError("key is not {book, id, source} of texts")
    return parts


def event_id(book: str, source: str, version: bytes, entity: str, row_id: str) -> str:
    """Derived, never random: the same change read again has the same id. 32 hex digits."""
    text = orjson.dumps([book, source, version.hex(), entity, row_id])
    return blake2b(text, digest_size=EVENT_ID_BYTES).hexdigest()
