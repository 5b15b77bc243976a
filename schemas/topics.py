"""Every topic, declared once: its name, partitions, retention. Names as ``contract.md`` 3.

The partition of a record is ``crc32(key) mod partitions``: counts are fixed for a topic's life.
"""

from typing import NamedTuple
from zlib import crc32

CURSOR_PARTITIONS = 16
ENTITY_PARTITIONS = 8
DEAD_LETTER_PARTITIONS = 1

DAY_MS = 24 * 3600 * 1000
LAG_MS = 7 * DAY_MS
"""Compaction leaves the last 7 days of an entity topic whole."""
DELETE_RETENTION_MS = 7 * DAY_MS
"""Tombstones stay at least 7 days after they may be compacted."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Largest record batch, as sent, that the broker takes on our topics."""
CURSOR_SEGMENT_BYTES = 1024 * 1024
"""Kafka's smallest: only closed segments are compacted, and a start reads all that is not."""
EVENT_BYTES_MAX = 1024 * 1024
"""Largest event (key, value and headers, uncompressed) that we publish; above: dead letter."""


class Topic(NamedTuple):
    """A topic as ``cdc topics`` creates it and every start verifies it."""

    name: str
    partitions: int
    config: dict[str, str]


_COMMON = {"max.message.bytes": str(MESSAGE_BYTES_MAX)}


def entity_topic_name(prefix: str, entity: str) -> str:
    """``entity`` is ``domain.plural``, as ``accounting.transactions``."""
    return f"{prefix}.{entity}"


def entity_of(topic: str) -> str:
    """The entity of one of our entity topics, whatever the prefix."""
    return ".".join(topic.rsplit(".", 2)[-2:])


def entity_topic(prefix: str, entity: str, partitions: int = ENTITY_PARTITIONS) -> Topic:
    """Compacted; the broker's append time, so that history of 2015 is not deleted at once."""
    return Topic(
        entity_topic_name(prefix, entity),
        partitions,
        _COMMON
        | {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(LAG_MS),
            "delete.retention.ms": str(DELETE_RETENTION_MS),
            "message.timestamp.type": "LogAppendTime",
        },
    )


def cursors_topic(prefix: str) -> Topic:
    """One record a source lives on: compacted without lag, never deleted by time."""
    return Topic(
        f"{prefix}.cursors",
        CURSOR_PARTITIONS,
        _COMMON
        | {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": "0",
            "delete.retention.ms": str(DELETE_RETENTION_MS),
            "message.timestamp.type": "LogAppendTime",
            "segment.ms": str(DAY_MS),
            "segment.bytes": str(CURSOR_SEGMENT_BYTES),
        },
    )


def dead_letters_topic(prefix: str) -> Topic:
    """What a source could not map. Not compacted: kept 30 days, long since imported by then."""
    return Topic(
        f"{prefix}.dead_letters",
        DEAD_LETTER_PARTITIONS,
        _COMMON
        | {
            "cleanup.policy": "delete",
            "retention.ms": str(30 * DAY_MS),
            "message.timestamp.type": "LogAppendTime",
        },
    )


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` on a topic of that many partitions."""
    return crc32(key) % partitions


def cursor_partition(book: str, source: str) -> int:
    """The partition of the cursors topic that holds the cursor of this source."""
    return crc32(f"{book}/{source}".encode()) % CURSOR_PARTITIONS


def target_group(prefix: str, target: str) -> str:
    """The consumer group of a target; also ``sync.offsets.group_name``."""
    return f"{prefix}.target.{target}"


def source_group(prefix: str, book: str, source: str) -> str:
    """The group that decides which daemon runs a source."""
    return f"{prefix}.source.{book}.{source}"


def transactional_id(prefix: str, book: str, source: str) -> str:
    """The id by which the broker fences an older daemon of the same source."""
    return f"{prefix}.{book}.{source}"
