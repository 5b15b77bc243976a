"""The cursor: one record a stream on ``<prefix>.cursors``, written in the transaction it covers.

Everything that must survive a restart of a source is in it: the position, what the position is
bound to, which mappings made the topics, and how far a whole read has come. Key (canonical JSON):
``{"book","source","stream"}``; the partition is the source's (``schemas.topics``).
"""

from typing import Any
from zlib import crc32

import msgspec
import orjson

from cdc.runtime.errors import Gap

CURSOR_FORMAT = 1


class CollectionRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole read of one collection, or what is left of it when it is done.

    ``floor``: the newest position of the read before it; its pages must be read beyond, so that
    versions still grow. ``first_at``/``last_at``: positions of its first and newest published
    page (-1: none yet).
    ``next``: where the next page starts. ``done``: every page and the deletes are published.
    ``deletes_allowed``: a person allowed mass deletes. ``reason``: why it was started.
    ``unmapped``: per mapping the ids that were met and could not be mapped (never deleted), or
    None where they cannot be told (then the mapping's deletes are left out).
    ``held_deletes``: it would delete so much that a person is asked, in words. ``rows``: published.
    ``fresh``: the topics were empty when it began, so nothing can be left to delete.
    """

    reason: str
    floor: int = -1
    first_at: int = -1
    last_at: int = -1
    next: Any = None
    paged: bool = False
    done: bool = False
    deletes_allowed: bool = False
    held_deletes: str | None = None
    fresh: bool = False
    rows: int = 0
    unmapped: dict[str, tuple[str, ...] | None] = {}


def begun(
    old: CollectionRead | None,
    reason: str,
    *,
    watched: bool,
    deletes_allowed: bool = False,
    fresh: bool = False,
) -> CollectionRead:
    """A whole read that starts now, behind ``old``. Not watched any more: only its deletes."""
    old = old or CollectionRead("", done=True)
    return CollectionRead(
        reason,
        floor=max(old.floor, old.last_at),
        last_at=old.last_at,
        deletes_allowed=deletes_allowed or (old.deletes_allowed and not old.done),
        fresh=fresh,
        paged=not watched,
    )


class Cursor(msgspec.Struct, frozen=True):
    """A true cursor: every change up to it is on the topics, none after it is lost."""

    book: str
    source: str
    stream: str
    identity: dict[str, str]
    epoch: int
    token: Any
    position: int
    ordinal: int
    topics: dict[str, str]
    """Topic name to topic id: a topic made anew must be filled anew."""
    mappings: dict[str, str]
    """Mapping name to the fingerprint of its declaration."""
    reads: dict[str, CollectionRead]
    format: int = CURSOR_FORMAT


def cursor_key(book: str, source: str, stream: str) -> bytes:
    """The key of a stream's cursor record."""
    return orjson.dumps({"book": book, "source": source, "stream": stream})


def encode_cursor(cursor: Cursor) -> bytes:
    """The record's value: JSON, with a checksum over the rest."""
    body = msgspec.json.encode(cursor)
    return msgspec.json.encode({"cursor": msgspec.Raw(body), "crc32": crc32(body)})


class _Record(msgspec.Struct):
    cursor: msgspec.Raw
    crc32: int


def decode_cursor(value: bytes) -> Cursor:
    """The cursor in a record's value; raises ``Gap`` where it is damaged or of another format."""
    try:
        record = msgspec.json.decode(value, type=_Record)
        if crc32(record.cursor) != record.crc32:
            raise Gap("the stored cursor is damaged", operation="read cursor")
        cursor = msgspec.json.decode(record.cursor, type=Cursor)
    except msgspec.MsgspecError as error:
        raise Gap(f"the stored cursor cannot be read: {error}", operation="read cursor") from error
    if cursor.format != CURSOR_FORMAT:
        told = f"the stored cursor has format {cursor.format}, known is {CURSOR_FORMAT}"
        raise Gap(told, operation="read cursor")
    return cursor
