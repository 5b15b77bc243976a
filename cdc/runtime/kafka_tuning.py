"""Two constants inside aiokafka that it gives no option for.

The client's version is pinned; a test fails when one of these names is no longer there.
"""

import sys

import cramjam
from aiokafka.producer import sender
from aiokafka.record.default_records import DefaultRecordBatchBuilder

TRANSACTION_BACKOFF_SECONDS = 0.002
"""Wait after the coordinator's "concurrent transactions"; 20 ms by default (``kafka.md`` 2.1)."""
ZSTD_LEVEL = 1
"""On events like ours half the CPU of the default level 3, and no larger."""


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=ZSTD_LEVEL))


def tune() -> None:
    """Sets them, for every client of the process."""
    sender.BACKOFF_OVERRIDE = TRANSACTION_BACKOFF_SECONDS
    builders = sys.modules[DefaultRecordBatchBuilder.__module__]  # the C ones, or Python's
    vars(builders)["zstd_encode"] = _zstd
