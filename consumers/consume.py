"""THE loop of a consumer: poll → decode → fold → apply. Read this first.

    Kafka ──▶ poll, decode, fold ──▶ one batch ahead ──▶ apply ──▶ Postgres
                                              offsets by compare-and-set, rows, dead letters:
                                              one transaction for all partitions of a poll

A session begins with a fresh connection and the offset rows read from it, and ends at the first
error; what then happens stands in one table (``cdc/runtime/errors.py``). No position is
remembered over a session: a doubtful commit is settled by reading the rows again. What is suspect
says only how to read, never from where.
"""

import asyncio
from collections.abc import Callable, Mapping

from cdc.runtime.errors import (
    BrokenPromise,
    Conflict,
    Doubt,
    LedgerError,
    Policy,
    Refused,
    Unavailable,
    Unfit,
    policy,
)
from cdc.runtime.postgres import Connect, Connection, session
from cdc.runtime.retry import wait
from consumers.apply import Outcome, Writer
from consumers.batch import Batch, Move
from consumers.decode import Decoder
from consumers.feed import FAILURES_MAX, Feed, Polled
from consumers.isolate import Circuit
from consumers.letters import read_letter
from consumers.offsets import Start
from consumers.parked import APPLY, Parked
from consumers.placing import Placing
from consumers.rows import Fold, Place
from consumers.settings import ConsumerSettings
from consumers.state import Progress, State
from schemas.entities import entity as entity_named
from schemas.topics import entity_topic_name

POLL_EVENTS_MIN = 50
GROWTH = 8
"""After a batch was too large, those that follow grow by one part in so many."""
CONFLICT_SECONDS = 0.02
AWAY_SECONDS_MAX = 3.0
"""A server that was away is asked this often; what a person must mend, less and less."""


class Consumer:
    """Runs one target. Kafka, Postgres, waiting and chance are passed in."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        feed: Feed,
        connect: Connect,
        placing: Placing,
        progress: Progress,
        backoff: Callable[[int], float],
        chance: Callable[[], float],
    ) -> None:
        """``backoff``: seconds to wait after so many failures in a row. ``chance``: 0 to 1."""
        self._settings = settings
        self._limits = settings.limits
        self._feed = feed
        self._connect = connect
        self._placing = placing
        self._progress = progress
        self._backoff = backoff
        self._chance = chance
        self._circuit = Circuit()
        self._decoders = {
            entity_topic_name(settings.topic_prefix, name): (name, Decoder(entity_named(name)))
            for name in settings.applied
        }
        self._events_max = self._limits.poll_events_max
        self._failures = 0
        self._touched_at = 0.0
        self._doubtful: tuple[Batch, Outcome] | None = None
        self._suspect: dict[Place, int] = {}
        """Up to these offsets Postgres refused a row: read again, by careful batches."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; raises what the policy stops on. What is under way is finished."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except LedgerError as error:
                if policy(error) not in (Policy.RETRY, Policy.HAND_OVER):
                    raise
                self._failures += 1
                self._progress.retrying(error)
                if self._feed.failures >= FAILURES_MAX:
                    await self._feed.stop()
                await self._feed.stay()
                seconds = self._backoff(self._failures)
                if not isinstance(error, Unfit):
                    seconds = min(seconds, AWAY_SECONDS_MAX)
                await wait(stop, seconds)

    async def _session(self, stop: asyncio.Event) -> None:
        if not self._feed.open:
            await self._feed.start()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        reading: asyncio.Task[Batch] | None = None
        async with session(self._connect) as connection:
            writer = Writer(connection, self._settings.group, self._circuit)
            try:
                while not stop.is_set():
                    if not self._feed.positioned:
                        await _cancelled(reading)
                        await self._place(connection)
                        reading = None
                    reading = reading or asyncio.create_task(self._read(), name="read")
                    if not await self._arrived(reading, stopping):
                        continue
                    batch = reading.result()
                    reading = asyncio.create_task(self._read(), name="read ahead")
                    await self._apply(writer, batch)
            finally:
                self._feed.lose()
                stopping.cancel()
                await _cancelled(reading)

    async def _place(self, connection: Connection) -> None:
        starts = await self._placing.place(connection)
        self._settle_doubt(starts)
        trusted = {place: each.offset for place, each in starts.items() if each.gap is None}
        self._suspect = {
            place: end for place, end in self._suspect.items() if trusted.get(place, end) < end
        }
        self._progress.settled(starts)
        if self._feed.positioned:
            self._progress.placed(starts)

    async def _read(self) -> Batch:
        generation = self._feed.generation
        polled = await self._feed.poll(self._limits.poll_wait_ms, self._events_max)
        now = asyncio.get_running_loop().time()
        if polled.steps:
            self._touched_at = now
        elif now - self._touched_at >= self._limits.touch_seconds:
            self._touched_at = now
            polled = Polled({}, self._feed.stand())
        return self._decode(polled, generation)

    def _decode(self, polled: Polled, generation: int) -> Batch:
        batch = Batch(generation, careful=bool(self._suspect))
        for place, (before, after) in polled.steps.items():
            batch.moves[place] = Move(self._placing.topic_ids[place.topic], before, after)
        for place in list(polled.records):
            records = polled.records.pop(place)  # let go when its rows are made
            batch.last_written_ms[place] = records[-1].timestamp
            if place.topic == self._settings.dead_letters_topic:
                letters = (read_letter(record, place) for record in records)
                batch.parked += (each for each in letters if self._concerns(each))
                continue
            entity, decoder = self._decoders[place.topic]
            fold = batch.folds.setdefault(entity, Fold())
            replaced = decoder.replaced_texts
            for record in records:
                if record.value is None:  # a tombstone, for compaction
                    continue
                row = decoder.row(record, place, keep=batch.careful)
                if isinstance(row, Parked):
                    batch.parked.append(row)
                else:
                    fold.add(row)
            if decoder.replaced_texts > replaced:
                batch.replaced_texts[entity] += decoder.replaced_texts - replaced
        batch.folds = {entity: fold for entity, fold in batch.folds.items() if fold.rows}
        batch.events = sum(len(fold.source_ms) for fold in batch.folds.values())
        return batch

    def _concerns(self, letter: Parked) -> bool:
        """A document that does not map is shown by the targets that take its entity's domain."""
        domains = {name.partition(".")[0] for name in self._settings.entities}
        return letter.stage == APPLY or letter.entity.partition(".")[0] in domains

    async def _arrived(self, reading: asyncio.Task[Batch], stopping: asyncio.Task[bool]) -> bool:
        """Waits for the batch, or its error; False: positions are lost, or it is time to stop."""
        lost = asyncio.create_task(self._feed.lost.wait(), name="positions lost")
        try:
            await asyncio.wait({reading, lost, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if stopping.done() or not reading.done():
            return False
        return reading.exception() is not None or self._feed.positioned

    async def _apply(self, writer: Writer, batch: Batch) -> None:
        if batch.generation != self._feed.generation or not batch.moves:
            self._idle()
            return
        self._progress.enter(State.CONSUMING if batch.events else State.IDLE)
        outcome = await self._applied(writer, batch)
        if outcome is None:
            return
        self._failures = 0
        grown = self._events_max + self._events_max // GROWTH + 1
        self._events_max = min(grown, self._limits.poll_events_max)
        self._progress.committed(batch, outcome)
        for place, move in batch.moves.items():
            if move.next >= self._suspect.get(place, move.next + 1):
                del self._suspect[place]

    def _idle(self) -> None:
        silent = self._feed.silent_seconds(self._progress.clock())
        if silent > self._limits.kafka_silent_seconds:
            self._progress.enter(State.WAITING, "Kafka does not answer")
        else:
            self._progress.enter(State.IDLE)

    async def _applied(self, writer: Writer, batch: Batch) -> Outcome | None:
        """Again where a race was lost; None: a row is refused, so all is read again, careful."""
        conflicts = 0
        while True:
            outcome = Outcome()
            try:
                await writer.apply(batch, outcome)
            except Refused as refusal:
                if batch.careful or not batch.folds:
                    raise BrokenPromise(f"no row is to blame: {refusal.message}") from refusal
                self._suspect = {place: move.next for place, move in batch.moves.items()}
                self._feed.lose()
                return None
            except Conflict:
                conflicts += 1
                if conflicts > self._limits.conflicts_max:
                    raise
                await asyncio.sleep(CONFLICT_SECONDS * conflicts * (0.5 + self._chance()))
            except Doubt:
                self._doubtful = (batch, outcome)
                raise
            except Unavailable:
                # A statement that takes too long takes less with fewer rows.
                self._events_max = max(POLL_EVENTS_MIN, self._events_max // 2)
                raise
            else:
                return outcome

    def _settle_doubt(self, starts: Mapping[Place, Start]) -> None:
        """Counts a batch whose commit was not answered, where its offsets say that it stands."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is None:
            return
        batch, outcome = doubtful
        moved = [(place, move) for place, move in batch.moves.items() if move.next > move.expected]
        if moved and all(
            place in starts and starts[place].offset == move.next for place, move in moved
        ):
            self._progress.committed(batch, outcome)


async def _cancelled(task: asyncio.Task[Batch] | None) -> None:
    """Ends a read; whatever it brought is read again."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
