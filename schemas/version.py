"""Versions order the changes of one key, across sources, whole reads and restarts.

A version is 14 bytes, compared as bytes (so by Postgres' ``bytea`` too):

    epoch (2) | position (8) | ordinal (4)      all big-endian, unsigned

- epoch: grows when a source starts over and its positions would not (another cluster).
- position: for MongoDB the cluster time (seconds << 32 | increment); for APIs the
  server_knowledge or the sync round.
- ordinal: counts inside a run of equal positions (the writes of one MongoDB transaction share
  their cluster time). A row of a whole read carries the highest ordinal: it holds everything up to
  and including its position.
"""

import struct
from typing import NamedTuple

ORDINAL_MAX = 0xFFFF_FFFF
POSITION_MAX = 0xFFFF_FFFF_FFFF_FFFF
EPOCH_MAX = 0xFFFF
VERSION_BYTES = 14

_LAYOUT = struct.Struct(">HQI")
pack = _LAYOUT.pack
"""``pack(epoch, position, ordinal)`` without the tuple: for the hot path."""


class Version(NamedTuple):
    """A version in parts; the tuple's order is the order of the bytes."""

    epoch: int
    position: int
    ordinal: int

    def encode(self) -> bytes:
        """The 14 bytes; raises ``struct.error`` where a part is out of its range."""
        return _LAYOUT.pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> "Version":
        """The parts of ``data``; raises ``struct.error`` unless it is exactly 14 bytes."""
        return cls(*_LAYOUT.unpack(data))
