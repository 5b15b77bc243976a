"""The cursor as the broker has it: read after the fence, never before, never from memory."""

from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import records, spans

CURSOR_SECONDS_MAX = 10.0
"""Two sources may share a partition: then this waits for the other's open transaction."""


async def read_cursors(
    connection: KafkaConnection,
    topic: str,
    partition: int,
    *,
    still_seconds_max: float = CURSOR_SECONDS_MAX,
) -> dict[bytes, bytes | None]:
    """The last committed record of every key on the partition, up to its very end.

    True only for keys whose older writers are fenced: start the publisher first. Raises
    ``Unfit`` where the topic is missing, ``Unavailable`` when an open transaction, or the broker,
    holds it up longer than ``still_seconds_max``.
    """
    found: dict[bytes, bytes | None] = {}
    start, end = (await spans(connection, topic, [partition]))[partition]
    async for batch in records(
        connection, topic, partition, start, end, still_seconds_max=still_seconds_max
    ):
        for record in batch:
            if record.key is not None:
                found[record.key] = record.value
    return found
