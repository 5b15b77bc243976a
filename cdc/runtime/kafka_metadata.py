"""Kafka's Metadata request, version 12: the one that tells topic ids, which aiokafka lacks."""

from io import BytesIO
from typing import ClassVar

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

UUID_BYTES = 16
METADATA_API_KEY = 3
METADATA_API_VERSION = 12
"""First in Kafka 3.1."""


class Uuid(AbstractType[str]):
    """16 bytes on the wire, 32 hex digits here."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return bytes.fromhex(value)

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        return data.read(UUID_BYTES).hex()


class MetadataResponse12(Response):
    API_KEY = METADATA_API_KEY
    API_VERSION = METADATA_API_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequest12(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = METADATA_API_KEY
    API_VERSION = METADATA_API_VERSION
    RESPONSE_TYPE = MetadataResponse12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[MetadataRequest12]):
    """Asks for the named topics, creating none."""

    API_KEY: ClassVar[int] = METADATA_API_KEY

    def __init__(self, names: list[str], *, with_operations: bool = False) -> None:
        self._names = names
        self._with_operations = with_operations

    def build(self, request_struct_class: type[MetadataRequest12]) -> MetadataRequest12:
        unknown_id = bytes(UUID_BYTES).hex()
        topics: list[tuple[str, str, dict[int, bytes]]] = [
            (unknown_id, name, {}) for name in self._names
        ]
        return request_struct_class(topics, False, self._with_operations, {})
