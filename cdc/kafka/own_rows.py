"""What lies on our own entity topics, read back: keys with the version that stands there."""

from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import msgspec

from cdc.kafka.broker import Broker
from schemas.envelope import decode_key
from schemas.version import Version


class OwnRow(NamedTuple):
    """One record of one source. A tombstone has neither mapping nor version."""

    key: bytes
    deleted: bool
    mapping: str
    version: bytes


class _Origin(msgspec.Struct):
    change_version: str
    mapping: str


class _Value(msgspec.Struct):
    source: _Origin
    op: str


async def own_rows(
    broker: Broker, topic: str, partition: int, start: int, end: int, book: str, source: str
) -> AsyncIterator[OwnRow]:
    """The records of this book and source in order; what we did not write is passed over."""
    decode = msgspec.json.Decoder(_Value).decode
    names: dict[str, str] = {}
    async for records in broker.records(topic, partition, start, end):
        for record in records:
            if record.key is None or not _is_of(record.key, book, source):
                continue
            if record.value is None:
                yield OwnRow(record.key, True, "", b"")
                continue
            try:
                value = decode(record.value)
                version = bytes.fromhex(value.source.change_version)
            except (msgspec.MsgspecError, ValueError):
                continue  # the consumer reports it
            mapping = names.setdefault(value.source.mapping, value.source.mapping)
            yield OwnRow(record.key, value.op == "d", mapping, version)


def _is_of(key: bytes, book: str, source: str) -> bool:
    try:
        parts = decode_key(key)
    except ValueError:
        return False
    return parts[0] == book and parts[1] == source


async def highest_version(
    broker: Broker, topics: Iterable[str], book: str, source: str
) -> Version | None:
    """The highest version of this source on these topics; None where there is nothing of it."""
    highest = b""
    for topic in topics:
        for partition, (start, end) in enumerate(await broker.spans(topic)):
            if start < end:
                async for row in own_rows(broker, topic, partition, start, end, book, source):
                    highest = max(highest, row.version)
    return Version.decode(highest) if highest else None
