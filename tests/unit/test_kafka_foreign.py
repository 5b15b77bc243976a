"""Records with header names that are no UTF-8, through the client's own fetcher."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from cdc.runtime.kafka_foreign import ForeignRecords, read_foreign_records

BATCH = 6
FOREIGN = {2, 4}


class NoText(str):
    """The name of a header that is no UTF-8 on the wire."""

    def encode(self, *_: str) -> bytes:
        return b"\xff\xfe"


def batch(codec: int, first: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 1_000_000)
    for number in range(BATCH):
        name = NoText("?") if number in FOREIGN else "schema"
        builder.append(number, 1000 + number, b"key", b"value", [(name, b"1")])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")  # as the broker does; it is not in the checksum
    return bytes(data)


def read(kind: Any, data: bytes) -> list[tuple[Any, ...]]:
    """What a consumer is given of one fetch from offset 1 on."""
    place = TopicPartition("topic", 0)
    records = fetcher.PartitionRecords(
        place, kind(data), [], 1, None, None, True, fetcher.READ_COMMITTED
    )
    return [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]


@pytest.mark.parametrize("codec", [0, 1, 4], ids=["plain", "gzip", "zstd"])
def test_each_record_is_given_once_with_its_name_replaced(codec: int) -> None:
    data = batch(codec, 0) + batch(codec, BATCH)
    assert read(ForeignRecords, data) == [
        (
            offset,
            1000 + offset % BATCH,
            b"key",
            b"value",
            (("\ufffd\ufffd" if offset % BATCH in FOREIGN else "schema", b"1"),),
        )
        for offset in range(1, 2 * BATCH)
    ]


def test_the_client_still_needs_it_and_looks_for_it_there() -> None:
    """Else ``kafka_foreign.py`` can go, or does nothing."""
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords, batch(0, 0))
    assert "MemoryRecords" in vars(fetcher)
    read_foreign_records()
    assert fetcher.MemoryRecords is ForeignRecords
