"""What does not map, as records beside the events of its neighbours."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import orjson

from cdc.mapping.plan import Plan
from cdc.mapping.writer import Origin
from schemas.dead_letter import SCHEMA_ID, DeadLetter, encode_dead_letter
from schemas.envelope import EVENT_ID_BYTES, Event, decode_key
from schemas.topics import DEAD_LETTER_PARTITIONS, dead_letters_topic, partition_of


class Fault(NamedTuple):
    """A document, or a row of one, that does not map. ``path``: as the mapping writes it.

    ``row_id``: of the row, or the beginning of the document's rows' ids; None: cannot be told.
    """

    mapping: str
    entity: str
    document_id: str | None
    row_id: str | None
    path: str
    reason: str


class _Source(msgspec.Struct):
    mapping: str
    collection: str
    change_version: str


class _Value(msgspec.Struct):
    source: _Source


class DeadLetters:
    """Writes the dead letters of one source."""

    def __init__(self, prefix: str, origin: Origin, clock_ms: Callable[[], int]) -> None:
        self._topic = dead_letters_topic(prefix).name
        self._origin = origin
        self._clock_ms = clock_ms

    def event(self, fault: Fault, version_hex: bytes, ordinal: int) -> Event:
        """``ordinal`` tells faults of one row of one change apart."""
        letter = DeadLetter(
            book=self._origin.book,
            source=self._origin.source,
            mapping=fault.mapping,
            entity=fault.entity,
            collection=fault.mapping.partition(":")[0],
            document_id=fault.document_id,
            row_id=fault.row_id,
            path=fault.path,
            reason=fault.reason,
            version=version_hex.decode(),
            ts_ms=self._clock_ms(),
        )
        return self._record(letter, ordinal)

    def of_refused(self, event: Event, reason: str, plans: Mapping[str, Plan]) -> list[Event]:
        """The dead letter of an event that could not be published."""
        if event.value is None or event.topic == self._topic:
            return []
        source = msgspec.json.decode(event.value, type=_Value).source
        row_id = decode_key(event.key)[2]
        plan = plans[source.mapping]
        letter = DeadLetter(
            book=self._origin.book,
            source=self._origin.source,
            mapping=source.mapping,
            entity=plan.entity.name,
            collection=source.collection,
            document_id=plan.document_of(row_id),
            row_id=row_id,
            path="",
            reason=f"the broker refused it: {reason}",
            version=source.change_version,
            ts_ms=self._clock_ms(),
        )
        return [self._record(letter, 0)]

    def _record(self, letter: DeadLetter, ordinal: int) -> Event:
        key = letter.key
        place = [letter.version, letter.mapping, letter.row_id, letter.path, ordinal]
        event_id = blake2b(key + orjson.dumps(place), digest_size=EVENT_ID_BYTES).hexdigest()
        return Event(
            self._topic,
            partition_of(key, DEAD_LETTER_PARTITIONS),
            key,
            encode_dead_letter(letter),
            [("event_id", event_id.encode()), ("schema", SCHEMA_ID.encode())],
        )
