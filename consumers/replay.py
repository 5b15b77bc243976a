"""Applying a part of a topic again, beside the live consumer and without moving its offset.

The part chooses *keys*; each of them gets its highest version up to the live offset. So any part
may be replayed at any time, with no effect but missing or damaged rows made right: a row is
written where it is missing, older, or equal in version and different in content.

A dry run does the same and rolls it back: only the table itself knows what it would refuse.

Each partition is read twice, to bound memory: once to find where each key's highest version lies,
then to apply those records. Very many keys are done in several rounds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import blake2b
from zlib import crc32

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cdc.runtime.errors import SettingsError
from cdc.runtime.kafka import KafkaConnection, bounded, started
from cdc.runtime.kafka_errors import mapped
from cdc.runtime.kafka_records import Record, records, spans
from cdc.runtime.postgres import Connect, Connection, session, transaction
from consumers.apply import arrays, turn_of
from consumers.decode import Decoder, read_version
from consumers.isolate import Circuit, isolate
from consumers.offsets import read_offsets
from consumers.parked import Parked, park, parked_row
from consumers.projections import PROJECTIONS
from consumers.rows import Fold, Place, Row
from consumers.settings import ConsumerSettings
from consumers.statements import REPLAY, compare, upsert
from schemas.entities import entity as entity_named
from schemas.topics import entity_topic_name

KEYS_MAX = 200_000
"""Keys of one round: about 50 MB."""
ROWS_AT_ONCE = 1_000
DIGEST_BYTES = 16
NEVER = 2**63 - 1

Bound = int | datetime | None
"""An offset, a time (aware), or the log's start or the live offset."""


@dataclass(slots=True)
class Replayed:
    """What a replay read and did (or, in a dry run, would do)."""

    read: int = 0
    keys: int = 0
    inserted: int = 0
    updated: int = 0
    healed: int = 0
    unchanged: int = 0
    parked: int = 0

    def document(self) -> dict[str, int]:
        return asdict(self)


class Replay:
    """One replay of one topic into one target."""

    def __init__(
        self,
        settings: ConsumerSettings,
        topic: str,
        *,
        connect: Connect | None = None,
        dry_run: bool = False,
        keys_max: int = KEYS_MAX,
    ) -> None:
        """Raises ``SettingsError`` for a topic that this target does not take."""
        names = {entity_topic_name(settings.topic_prefix, name): name for name in settings.applied}
        if topic not in names:
            raise SettingsError(
                f"{topic} is not a topic of target {settings.target}",
                operation="replay",
                hint=f"its topics: {', '.join(sorted(names))}",
            )
        self.result = Replayed()
        self._settings = settings
        self._topic = topic
        self._connect = connect or settings.database.connect
        self._dry_run = dry_run
        self._keys_max = keys_max
        self._entity = names[topic]
        self._projection = PROJECTIONS[self._entity]
        self._decoder = Decoder(entity_named(self._entity))
        self._circuit = Circuit()

    async def run(self, partition: int | None, start: Bound, stop: Bound) -> Replayed:
        """Replays ``start`` to ``stop`` (exclusive) of one partition, or of all."""
        async with session(self._connect) as connection:
            lives = await read_offsets(connection, self._settings.group)
            wanted = None if partition is None else [partition]
            for number, (first, _) in (
                await spans(self._settings.kafka, self._topic, wanted)
            ).items():
                place = Place(self._topic, number)
                if place not in lives:  # never consumed: nothing to put right
                    continue
                live = lives[place].next_offset
                low = max(first, await self._offset(place, start, first))
                high = min(live, await self._offset(place, stop, live))
                rounds = -(-(high - low) // self._keys_max)
                for turn in range(rounds):
                    chosen = await self._choose(place, range(low, high), live, turn, rounds)
                    await self._apply(connection, place, range(low, live), chosen)
        return self.result

    async def _offset(self, place: Place, bound: Bound, default: int) -> int:
        if isinstance(bound, datetime):
            found = await offset_at(self._settings.kafka, *place, bound)
            return NEVER if found is None else found
        return default if bound is None else bound

    async def _choose(
        self, place: Place, part: range, live: int, turn: int, rounds: int
    ) -> set[int]:
        """The offsets of the records to apply: each chosen key's highest version."""
        highest: dict[bytes, tuple[bytes, int]] = {}
        unreadable: set[int] = set()
        async for batch in records(self._settings.kafka, *place, part.start, live):
            for record in batch:
                if crc32(record.key or b"") % rounds != turn:
                    continue
                chooses = record.offset in part
                self.result.read += chooses
                if record.value is None:  # a tombstone says no more than the delete before it
                    continue
                version = read_version(record.value)
                if version is None:
                    unreadable |= {record.offset} if chooses else set()
                    continue
                digest = blake2b(record.key or b"", digest_size=DIGEST_BYTES).digest()
                known = highest.get(digest)
                if (known is not None or chooses) and (known is None or version >= known[0]):
                    highest[digest] = (version, record.offset)
        self.result.keys += len(highest)
        return unreadable.union(offset for _, offset in highest.values())

    async def _apply(
        self, connection: Connection, place: Place, part: range, chosen: set[int]
    ) -> None:
        if not chosen:
            return
        waiting: list[Record] = []
        async for batch in records(
            self._settings.kafka, *place, min(chosen), min(part.stop, max(chosen) + 1)
        ):
            waiting += (record for record in batch if record.offset in chosen)
            if len(waiting) >= ROWS_AT_ONCE:
                await self._write(connection, place, waiting)
                waiting = []
        await self._write(connection, place, waiting)

    async def _write(self, connection: Connection, place: Place, waiting: Sequence[Record]) -> None:
        fold, parked = Fold(), list[Parked]()
        for record in waiting:
            found = self._decoder.row(record, place, keep=True)
            if isinstance(found, Parked):
                parked.append(found)
            else:
                fold.add(found)
        counts: Counter[str] = Counter()

        async def write(rows: Sequence[Row]) -> int:
            found: Counter[str] = Counter()  # where a row is refused, all of them come again
            for part in ([r for r in rows if r.known], [r for r in rows if not r.known]):
                if part:
                    found.update(await self._write_alike(connection, part))
            counts.update(found)
            return len(rows)

        turn = turn_of(self._projection)
        async with transaction(connection, "replay", turn=turn, dry_run=self._dry_run):
            done = await isolate(
                connection, fold.sorted(), write, self._circuit, self._projection.table
            )
            parked += (parked_row(row, self._entity, why) for row, why in done.refused)
            await park(connection, parked)
        self._circuit.passed(len(fold.rows), done.codes)
        result = self.result
        result.inserted += counts["inserted"]
        result.updated += counts["updated"]
        result.healed += counts["healed"]
        result.unchanged += done.written - counts.total()
        result.parked += len(parked)

    async def _write_alike(self, connection: Connection, rows: Sequence[Row]) -> dict[str, int]:
        """Rows that all have content, or all have none."""
        known, columns, topic = rows[0].known, arrays(rows), self._topic
        found = await connection.fetchrow(compare(self._projection, known=known), topic, *columns)
        statement = upsert(self._projection, known=known, mode=REPLAY)
        await connection.execute(statement, topic, *columns)
        return dict(found or {})


async def offset_at(
    kafka: KafkaConnection, topic: str, partition: int, moment: datetime
) -> int | None:
    """The first offset whose record the broker took at or after ``moment``; None: none was."""
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False)
    await started(consumer, kafka, "ask offset by time")
    try:
        found = await consumer.offsets_for_times({where: round(moment.timestamp() * 1000)})
    except (KafkaError, OSError, TimeoutError) as error:
        raise mapped(error, "ask offset by time", subject=topic) from error
    finally:
        await bounded(consumer.stop())
    return found[where].offset if found.get(where) is not None else None
