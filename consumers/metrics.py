"""What the consumer counts; ``cdc.runtime.metrics`` implements it."""

from collections.abc import Sequence
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

    def committed(self, seconds: Sequence[float]) -> None:
        """``cdc_commit_to_commit_seconds``: source commit to Postgres commit, an entry an event."""

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
    def committed(self, seconds: Sequence[float]) -> None: ...
    def replaced_text(self, entity: str, count: int) -> None: ...
    def retried(self, target: str, reason: str) -> None: ...
    def gap(self, target: str, topic: str, reason: str) -> None: ...
