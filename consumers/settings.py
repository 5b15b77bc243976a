"""What a consumer is told: one frozen object, checked and filled by ``cdc/app.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.postgres import PostgresTarget
from consumers.projections import PROJECTIONS
from schemas.topics import (
    DEAD_LETTER_PARTITIONS,
    LAG_MS,
    dead_letters_topic,
    entity_topic_name,
    target_group,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLimits:
    """Sizes and times, each with its unit in its name."""

    poll_events_max: int = 4_000
    fetch_bytes_max: int = 2 * 1024 * 1024
    partition_fetch_bytes_max: int = 512 * 1024
    fetch_wait_ms: int = 2_000
    poll_wait_ms: int = 1_000
    session_timeout_ms: int = 6_000
    heartbeat_ms: int = 2_000
    rebalance_timeout_ms: int = 30_000
    metadata_age_ms: int = 30_000
    """So soon the group notices topics and partitions that came, went or were made anew."""
    kafka_silent_seconds: float = 10.0
    """After so long without an answer it says so; the client goes on trying by itself."""
    touch_seconds: float = 30.0
    """So often an idle consumer moves ``updated_at`` of its offset rows."""
    keep_seconds: float = 5.0
    """So often it writes what it sees, its heartbeat and Kafka's own offsets."""
    check_seconds: float = 30.0
    """So often it looks for topics made anew, missed deletes and open dead letters."""
    conflicts_max: int = 5
    """Lost races for locks in a row, before it waits like for any missing server."""
    gap_after_seconds: float = LAG_MS / 1000
    """After so long without a sign of life deletes may have been compacted away unseen.

    The topics' lag alone: their delete retention keeps tombstones, which we skip. What tells of a
    delete is the record before, and the tombstone lets compaction drop that when the lag is over.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """One target: a database that gets the rows of some entities.

    ``entities``: entity name to the partitions its topic is declared with. ``instance``: a name
    unique to this process and the same after a restart, or None.
    """

    target: str
    database: PostgresTarget
    kafka: KafkaConnection
    topic_prefix: str
    entities: Mapping[str, int]
    instance: str | None = None
    limits: ConsumerLimits = field(default_factory=ConsumerLimits)

    @property
    def group(self) -> str:
        """The consumer group, and the name of its offset rows."""
        return target_group(self.topic_prefix, self.target)

    @property
    def applied(self) -> dict[str, int]:
        """The entities that have a table: the topics of others are left for later versions."""
        return {name: count for name, count in self.entities.items() if name in PROJECTIONS}

    @property
    def dead_letters_topic(self) -> str:
        return dead_letters_topic(self.topic_prefix).name

    @property
    def topics(self) -> dict[str, int]:
        """Every topic that is read, with its declared partitions."""
        found = {entity_topic_name(self.topic_prefix, e): n for e, n in self.applied.items()}
        return found | {self.dead_letters_topic: DEAD_LETTER_PARTITIONS}
