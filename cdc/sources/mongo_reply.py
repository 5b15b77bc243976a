"""A cursor's reply taken apart without decoding it: its documents as bytes.

The driver's way to raw documents makes an object of each, checks it and looks at its fields: more
than a microsecond an event. What is needed is where each begins and ends. Layout: bsonspec.org.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

import bson
from bson.raw_bson import RawBSONDocument

_ARRAY, _DOCUMENT, _INT64 = 0x04, 0x03, 0x12
_FIXED_BYTES = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16}
_length = Struct("<i").unpack_from
_int64 = Struct("<q").unpack_from


class Reply(NamedTuple):
    """``cursor``: 0 where the server has ended it. ``token``: of change streams. ``size``: bytes.

    ``fields``: what else the reply's cursor says, by name.
    """

    documents: list[bytes]
    cursor: int
    token: dict[str, Any] | None
    at: Any
    size: int


def take_apart(reply: RawBSONDocument) -> Reply:
    """Documents, cursor id, resume token and time of a find, aggregate or getMore."""
    data = bytes(reply.raw)
    documents: list[bytes] = []
    cursor, token, at = 0, None, None
    start = next(place for name, _, place in _elements(data, 0) if name == b"cursor")
    for name, kind, place in _elements(data, start):
        if kind == _ARRAY and name in (b"firstBatch", b"nextBatch"):
            documents = _documents(data, place)
        elif kind == _INT64 and name == b"id":
            cursor = _int64(data, place)[0]
        elif name == b"postBatchResumeToken":
            token = bson.decode(data[place : place + _length(data, place)[0]])
        elif name == b"atClusterTime":
            increment, seconds = Struct("<II").unpack_from(data, place)
            at = (seconds << 32) | increment
    return Reply(documents, cursor, token, at, len(data))


def _documents(data: bytes, start: int) -> list[bytes]:
    """An array's documents."""
    end = start + _length(data, start)[0] - 1
    place, found, index = start + 4, [], data.index
    while place < end:
        place = index(0, place + 1) + 1
        size = _length(data, place)[0]
        found.append(data[place : place + size])
        place += size
    return found


def _elements(data: bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, type and place of a document's values; ends at a type that no reply holds."""
    end = start + _length(data, start)[0] - 1
    place = start + 4
    while place < end:
        kind = data[place]
        stop = data.index(0, place + 1)
        name, place = data[place + 1 : stop], stop + 1
        yield name, kind, place
        if kind in (_ARRAY, _DOCUMENT):
            place += _length(data, place)[0]
        elif kind == 0x02:
            place += 4 + _length(data, place)[0]
        elif kind == 0x05:
            place += 5 + _length(data, place)[0]
        else:
            place += _FIXED_BYTES[kind]
