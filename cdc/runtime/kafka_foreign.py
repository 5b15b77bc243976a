"""Records that others wrote on our topics, with header names that are no UTF-8.

aiokafka decodes these names in its parser: one such record raises ``UnicodeDecodeError`` out of
every poll that meets it, and nobody gets past it. Here the batch is then read on from that record
by the client's parser in Python, with what does not decode replaced. What does decode is read by
the client's fast parser, as ever.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

_HEADERS_SINCE_MAGIC = 2


class ForeignRecords:
    """What one fetch brought of a partition; in the place of the client's ``MemoryRecords``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._batches = 0
        found = MemoryRecords(data)
        self._next_batch = found.next_batch
        self.has_next = found.has_next
        self.size_in_bytes = found.size_in_bytes

    def next_batch(self) -> Any:
        """The batch; control batches and old formats have no such headers and are as they are."""
        batch: Any = self._next_batch()
        number, self._batches = self._batches, self._batches + 1
        if batch is None or batch.magic < _HEADERS_SINCE_MAGIC or batch.is_control_batch:
            return batch
        return _Batch(batch, self._data, number)


class _Batch:
    """A batch of records: the attributes that the fetcher looks at, and the records."""

    __slots__ = (
        "_batch",
        "_data",
        "_number",
        "base_offset",
        "is_control_batch",
        "is_transactional",
        "next_offset",
        "producer_id",
        "validate_crc",
    )

    def __init__(self, batch: Any, data: bytes, number: int) -> None:
        self._batch = batch
        self._data = data
        self._number = number
        self.base_offset = batch.base_offset
        self.is_control_batch = False
        self.is_transactional = batch.is_transactional
        self.next_offset = batch.next_offset
        self.producer_id = batch.producer_id
        self.validate_crc = batch.validate_crc

    def __iter__(self) -> Iterator[Any]:
        """Where it does not decode, from the start again: the fetcher passes over what it had."""
        try:
            yield from self._batch
        except UnicodeDecodeError:
            yield from self._read_leniently()

    def _read_leniently(self) -> Iterator[Any]:
        batches = _MemoryRecordsPy(self._data)
        for _ in range(self._number):
            batches.next_batch()
        data: Any = batches._next_slice
        batch = _DefaultRecordBatchPy(data)
        batch._maybe_uncompress()
        batch._buffer = _Lenient(batch._buffer)
        return batch


class _Lenient(bytearray):
    """Bytes that decode to text whatever they are."""

    def __getitem__(self, at: Any) -> Any:
        found: Any = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, *_: str) -> str:
        return super().decode("utf-8", "replace")


def read_foreign_records() -> None:
    """From here on, by every consumer of the process."""
    vars(fetcher)["MemoryRecords"] = ForeignRecords
