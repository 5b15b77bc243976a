"""THE loop of a source: read → normalise → publish → cursor. Read this first.

    source ──▶ stream_reader (one task a stream) ──▶ queue of one batch ──▶ publish ──▶ Kafka
                 read, normalise, weave whole reads                    events + cursor,
                                                                       one transaction each

A session begins with the fence and the cursor behind it, and ends at the first error; what then
happens stands in one table (``runtime/errors.py``). Nothing survives from session to session but
what a person asked for and what the broker refused: the position is always read again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from cdc.begin import Beginning, Lost
from cdc.cursors import CollectionRead, Cursor, cursor_key, decode_cursor, encode_cursor
from cdc.finish_read import FinishRead
from cdc.kafka.broker import Broker, TransactionalPublisher
from cdc.kafka.refusals import Refusals
from cdc.progress import Progress, State
from cdc.publisher import RecordsRefused
from cdc.report import Report
from cdc.runtime.errors import Fenced, Gap, LedgerError, Policy, Rejected, Unfit, policy
from cdc.sources.protocol import Source, Stream
from cdc.stream_reader import IDLE_SECONDS, Batch, Normaliser, StreamReader
from cdc.whole_read import LookUp
from cdc.wishes import Resync, Wishes
from schemas.envelope import Event
from schemas.topics import cursor_partition, entity_of

STOP_SECONDS = 10.0
"""So long the batch under way may take to be committed when the source is stopped."""
ASKED_SECONDS_MAX = 3720.0
"""A server may ask to be left alone for so long: an hour's quota, and what is late of it."""
REJECTED_SECONDS = 300.0
"""What a server rejects is not asked again for so long, or until a person asks."""

Queue = asyncio.Queue[Batch | None]


class Pipeline:
    """Runs one source. Clock, waiting, Kafka and the source are passed in."""

    def __init__(
        self,
        *,
        book: str,
        cursors_topic: str,
        source: Source,
        normaliser: Normaliser,
        broker: Broker,
        topics: Mapping[str, str],
        progress: Progress,
        report: Report,
        backoff: Callable[[int, float], float],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """``topics``: entity topics by name, with their entities. ``backoff``: seconds
        to wait after so many failures in a row, at the least so many.
        """
        self.progress = progress
        self._book = book
        self._cursors_topic = cursors_topic
        self._source = source
        self._normaliser = normaliser
        self._broker = broker
        self._topics = topics
        self._report = report
        self._backoff = backoff
        self._idle_seconds = idle_seconds
        self._wishes = Wishes()
        self._refusals = Refusals()
        self._readers: list[StreamReader] = []
        self._batches: Counter[str] = Counter()
        """Batches published, by stream."""
        self._running = asyncio.Event()
        self._running.set()
        self._paused = asyncio.Event()
        self._paused_by = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises ``Fenced``, to be handed over, and what the policy stops on."""
        attempt = 0
        while not stop.is_set():
            if not self._running.is_set():
                self._enter(State.PAUSED, self._paused_by)
                await _first(self._running.wait(), stop.wait())
                continue
            before = self.progress.events_total
            try:
                await self._session(stop)
            except LedgerError as error:
                attempt = attempt + 1 if self.progress.events_total == before else 1
                seconds = self._after(error, attempt)
                arrived, paused = self._wishes.arrived, self._paused
                await _first(arrived.wait(), paused.wait(), stop.wait(), timeout=seconds)

    def _after(self, error: LedgerError, attempt: int) -> float | None:
        """Seconds until the next session (None: a person must act); raises what stops us."""
        self._wishes.arrived.clear()
        if isinstance(error, RecordsRefused):
            self._report.transaction("refused")
            return 0.0
        decision = policy(error)
        if decision is Policy.READ_WHOLE:
            self._enter(State.GAP, str(error))
            self._wishes.lost = Lost(str(error))
            if isinstance(error, Gap) and error.needs_person:
                return None
            return self._backoff(attempt, 0.0) if attempt > 1 else 0.0
        if decision is Policy.BEGIN_ANEW:
            self._report.retrying(error)
            return 0.0
        if decision is Policy.RETRY:
            self._enter(State.STARTING, str(error))
            self._report.failed("", error)
            self._report.retrying(error)
            return self._wait_seconds(error, attempt)
        self._enter(State.FENCED if isinstance(error, Fenced) else State.FAILED, str(error))
        raise error

    def _wait_seconds(self, error: LedgerError, attempt: int) -> float:
        """The wait until the next try: as long as the server asked for, within a limit."""
        if isinstance(error, Rejected):  # the same again would be rejected, and costs quota
            return self._backoff(attempt, REJECTED_SECONDS)
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        return self._backoff(attempt, min(asked, ASKED_SECONDS_MAX))

    async def _session(self, stop: asyncio.Event) -> None:
        """From the fence to the first error, to ``stop`` or to a pause."""
        publisher = self._broker.publisher()
        queue: Queue = asyncio.Queue(1)
        try:
            async with asyncio.TaskGroup() as start:
                opening = start.create_task(self._source.open())
                start.create_task(publisher.start())
            streams = opening.result()
            self._wishes.reads = {stream.name: {} for stream in streams}
            self._wishes.unfit.clear()
            for gone in self.progress.troubles.keys() - self._wishes.reads.keys():
                del self.progress.troubles[gone]
            publishing = _task(self._publish(publisher, queue), f"publish {self._source.name}")
            follow = self._follow_alone if len(streams) == 1 else self._follow
            reading = [
                _task(follow(stream, queue), f"read {self._source.name} {stream.name}")
                for stream in streams
            ]
            await self._until_ended(reading, publishing, queue, stop)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            try:
                await self._source.close()
            finally:  # whoever ends us may do so again while the source closes
                await publisher.close()

    async def _follow_alone(self, stream: Stream, queue: Queue) -> None:
        """The only stream: its trouble is the source's, and ends the session."""
        reader = await self._reader(stream, queue, self._wishes.lost, alone=True)
        await self._read(stream, reader)

    async def _follow(self, stream: Stream, queue: Queue) -> None:
        """One of several: what befalls it is mended here, and the others go on."""
        troubles, lost = self.progress.troubles, self._wishes.lost
        attempt = 0
        while True:
            before = self._batches[stream.name]
            try:
                await self._read(stream, await self._reader(stream, queue, lost, alone=False))
            except LedgerError as error:
                decision = policy(error)
                if decision not in (Policy.RETRY, Policy.READ_WHOLE):
                    raise
                lost = Lost(str(error)) if decision is Policy.READ_WHOLE else None
                attempt = attempt + 1 if self._batches[stream.name] == before else 1
                seconds = self._wait_seconds(error, attempt)
                self._report.failed(stream.name, error)
                if troubles.get(stream.name) != str(error):
                    self._report.retrying(error)
                troubles[stream.name] = str(error)
                if isinstance(error, Unfit) and not isinstance(error, Rejected):
                    self._wishes.unfit[stream.name] = str(error)
                    self._wishes.settle()
                self._enter(self.progress.state, self._troubles())
            await queue.join()  # the position is read again: all that it gave must be there
            self._wishes.arrived.clear()
            await _first(self._wishes.arrived.wait(), timeout=seconds)

    async def _read(self, stream: Stream, reader: StreamReader) -> None:
        self._readers.append(reader)
        self._wishes.reads[stream.name] = dict(reader.whole.reads)
        self._wishes.settle()  # a session before may have read it
        self._wishes.hand_to([reader])
        try:
            await reader.run()
        finally:
            self._readers.remove(reader)

    def _troubles(self) -> str:
        """What keeps single streams from going on, in words."""
        return "; ".join(f"{name}: {why}" for name, why in self.progress.troubles.items())

    async def _until_ended(
        self,
        reading: Sequence["asyncio.Task[None]"],
        publishing: "asyncio.Task[None]",
        queue: Queue,
        stop: asyncio.Event,
    ) -> None:
        """Until a task dies (raises), or the end is asked for: then what is queued is finished."""
        ending = [_task(stop.wait(), "stop"), _task(self._paused.wait(), "pause")]
        tasks = [publishing, *reading]
        try:
            await asyncio.wait([*tasks, *ending], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await _cancelled(reading)
            try:
                async with asyncio.timeout(STOP_SECONDS) as limit:
                    # a publisher that has failed makes no room in a full queue
                    await _first(queue.put(None), asyncio.wait({publishing}))
                    await publishing
            except TimeoutError:
                if not limit.expired():
                    raise
                self._report.cut_off(STOP_SECONDS)
        finally:
            await _cancelled([*ending, *tasks])

    async def _reader(
        self, stream: Stream, queue: Queue, lost: Lost | None, *, alone: bool
    ) -> StreamReader:
        """The cursor behind the fence, checked; the source placed there; a reader for it."""
        key = cursor_key(self._book, self._source.name, stream.name)
        stored = (await self._broker.cursors()).get(key)
        beginning = Beginning(
            self._book,
            self._source,
            stream,
            self._normaliser.of(stream.name),
            self._broker,
            self._topics,
            self._report,
        )
        cursor = await beginning.cursor(
            _decoded(stored, lost),
            lost,
            accept=self._wishes.accept,
        )
        for name, read in cursor.reads.items():
            if not read.paged:
                self.progress.totals[name] = await self._source.total(stream, name)
        searched = {topic: entity_of(topic) for topic in cursor.topics} | dict(self._topics)
        finish = FinishRead(
            self._broker,
            self._normaliser.of(stream.name),
            searched,
            self._report,
            clock_ms=self._clock_ms,
            alone=alone,
        )
        return StreamReader(
            self._source,
            stream,
            self._normaliser,
            cursor,
            queue,
            finish,
            clock=self.progress.clock,
            on_quiet=lambda: self._quiet(stream.name),
            idle_seconds=self._idle_seconds,
        )

    def _clock_ms(self) -> int:
        return int(self.progress.clock() * 1000)

    async def _publish(self, publisher: TransactionalPublisher, queue: Queue) -> None:
        """Every batch with its cursor in one transaction, in order; None ends it."""
        partition = cursor_partition(self._book, self._source.name)
        while (batch := await queue.get()) is not None:
            cursor = batch.cursor
            key = cursor_key(cursor.book, cursor.source, cursor.stream)
            record = Event(self._cursors_topic, partition, key, encode_cursor(cursor), [])
            events = self._refusals.apply(batch.events, self._normaliser.refused)
            try:
                await publisher.publish(events, [record], isolate=self._refusals.isolate)
            except RecordsRefused as error:
                self._refusals.learn(events, error)
                raise
            except LedgerError:
                self._report.transaction("failed")
                raise
            self._refusals.passed()
            self._report.transaction("committed")
            self._published(batch)
            queue.task_done()

    def _published(self, batch: Batch) -> None:
        """The batch is on the topics for good: tell everyone who waits for that."""
        progress = self.progress
        progress.events_total += sum(batch.counts.values())
        if batch.newest_ms:
            progress.last_event_at = batch.newest_ms / 1000
        if batch.caught_up:
            progress.caught_up_at = progress.clock()
        self._wishes.lost = None
        self._batches[batch.cursor.stream] += 1
        progress.troubles.pop(batch.cursor.stream, None)
        self._report.answered(batch.cursor.stream)
        self._report.published(batch.counts, batch.faults)
        for callback in batch.published:
            callback()
        wishes = self._wishes
        wishes.unfit.pop(batch.cursor.stream, None)
        wishes.reads[batch.cursor.stream] = batch.cursor.reads
        wishes.settle()
        reads = {name: read for each in wishes.reads.values() for name, read in each.items()}
        progress.note_reads({name: read.rows for name, read in reads.items() if not read.paged})
        self._enter(*self._state_after(batch, reads))

    def _quiet(self, stream: str) -> None:
        """Nothing is waiting there."""
        self._report.answered(stream)
        self.progress.caught_up_at = self.progress.clock()
        if self.progress.state is State.STREAMING:
            self._enter(State.IDLE, self._troubles())

    def _state_after(self, batch: Batch, reads: Mapping[str, CollectionRead]) -> tuple[State, str]:
        held = next((read.held_deletes for read in reads.values() if read.held_deletes), None)
        reading = next((name for name, read in reads.items() if not read.paged), None)
        if reading is not None:
            return State.READING_WHOLE, f"{reading}: {reads[reading].reason}"
        if held is not None:
            return State.GAP, f"{held} (cdc resync {self._source.name} --allow-deletes)"
        quiet = batch.caught_up and not batch.events
        return (State.IDLE if quiet else State.STREAMING), self._troubles()

    def _enter(self, state: State, reason: str = "") -> None:
        if self.progress.enter(state, reason):
            self._report.state(state, reason)

    def resync(self, wish: Resync) -> None:
        """Read whole; ``wish.done`` is called when it has been published to its end."""
        self._source.mended()
        self._wishes.resyncs.append(wish)
        self._wishes.settle()
        self._wishes.arrived.set()
        self._wishes.hand_to(self._readers)

    def look_up(self, wish: LookUp) -> None:
        """Read a part again: dead letters that are retried, days of an API's history."""
        self._wishes.look_up(wish)
        self._wishes.hand_to(self._readers)

    def pause(self, reason: str) -> None:
        """Ends the session after the batch under way; the position is kept."""
        self._paused_by = reason
        self._running.clear()
        self._paused.set()

    def resume(self) -> None:
        self._source.mended()
        self._paused.clear()
        self._running.set()


def _decoded(stored: bytes | None, lost: Lost | None) -> Cursor | None:
    """None: there is none, or it is damaged and that has been told."""
    if stored is None:
        return None
    try:
        return decode_cursor(stored)
    except Gap:
        if lost is None:
            raise
        return None


def _task(work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
    return asyncio.create_task(work, name=name)


async def _cancelled(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancels them and waits until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _first(*waits: Coroutine[Any, Any, Any], timeout: float | None = None) -> None:
    """Until the first of them ends, or the time is over."""
    tasks = [_task(wait, "wait") for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancelled(tasks)
