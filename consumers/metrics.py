"""What the consumer counts; ``cdc.runtime.metrics`` implements it."""

from collections.abc import Mapping
from typing import Protocol

APPLIED = "applied"
DUPLICATE = "duplicate"
STALE = "stale"
PARKED = "parked"


class ConsumerMetrics(Protocol):
    """Names as ``contract.md`` 7. Called between commits: must not block and not raise."""

    def rows(self, entity: str, outcome: str, count: int) -> None:
        """``cdc_rows_total``: ``count`` events came to this outcome."""

    def lag(self, target: str, topic: str, partition: int, records: int) -> None:
        """``cdc_consumer_lag_records``: not yet applied, below the stable end."""

    def lag_seconds(self, target: str, topic: str, seconds: float) -> None:
        """``cdc_consumer_lag_seconds``: age of the oldest event that waits; 0: none does."""

    def committed(self, seconds: Mapping[float, int]) -> None:
        """``cdc_commit_to_commit_seconds``: source commit to Postgres commit, to events."""

    def dead_letters(self, counts: dict[str, int]) -> None:
        """``cdc_dead_letters``: open ones by entity; what is not named has none."""

    def replaced_text(self, entity: str, count: int) -> None:
        """Rows in which a character that Postgres cannot hold was replaced."""

    def retried(self, target: str, reason: str) -> None:
        """A batch or a connection failed and is tried again; ``reason``: the error's class."""

    def gap(self, target: str, topic: str, reason: str) -> None:
        """A stored offset could not be trusted; ``reason``: one word of ``consumers.offsets``."""


class NoMetrics:
    """Counts nothing."""

    def rows(self, entity: str, outcome: str, count: int) -> None: ...
    def lag(self, target: str, topic: str, partition: int, records: int) -> None: ...
    def lag_seconds(self, target: str, topic: str, seconds: float) -> None: ...
    def committed(self, seconds: Mapping[float, int]) -> None: ...
    def dead_letters(self, counts: dict[str, int]) -> None: ...
    def replaced_text(self, entity: str, count: int) -> None: ...
    def retried(self, target: str, reason: str) -> None: ...
    def gap(self, target: str, topic: str, reason: str) -> None: ...
