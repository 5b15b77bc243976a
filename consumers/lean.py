"""Records as aiokafka's C parser gives them, without the object it makes of each afterwards.

That object repeats topic and partition, computes sizes nobody asks for, and costs a third of what
reading a record costs. The client's version is pinned; a test compares what comes of both ways.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords

BUFFERED_SECONDS_MAX = 60.0
"""So long a fetch waits for records of another that are not polled yet.

The client gives them 0.1 s, then asks the broker for the other partitions alone. Where these are
idle the broker answers only after ``fetch_wait_ms``, and the busy ones cannot be fetched meanwhile:
a commit that took a tenth of a second was followed by two seconds without events.
"""


class _LeanRecords(PartitionRecords):
    """The records of one fetched partition: aborted and control ones left out as ever."""

    def __iter__(self) -> Iterator[Any]:
        records: Iterator[Any] = self._records_iterator
        return records

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


class _Fetched(OrderedDict[Any, Any]):
    """What was fetched and not yet polled, by partition."""

    def __setitem__(self, partition: Any, result: Any) -> None:
        if type(result) is FetchResult:
            result._partition_records.__class__ = _LeanRecords
        super().__setitem__(partition, result)


def keep_lean(consumer: Any) -> None:
    """For a consumer that was started and has not yet fetched; doubles without a fetcher pass."""
    fetcher = getattr(consumer, "_fetcher", None)
    if fetcher is not None:
        assert not fetcher._records
        fetcher._records = _Fetched()
        fetcher._prefetch_backoff = BUFFERED_SECONDS_MAX
