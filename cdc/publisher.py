"""Events and the cursor that covers them, in one Kafka transaction: the only writer of our topics.

One object is one epoch of one source's transactional id. ``start`` fences every older one. After
any error the object is dead, whatever the client itself believes: make a new one, start it (the
fence makes late requests of the old one void), read the cursor again, go on from there. The
reasons are measured: ``kafka.md`` 2.1 to 2.3.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, ProducerClosed
from aiokafka.structs import TopicPartition

from cdc.kafka.batches import BATCH_BYTES, Batches, Codes, Failure, Refusal
from cdc.runtime.errors import (
    BrokenPromise,
    Doubt,
    Fenced,
    LedgerError,
    Refused,
    SettingsError,
    Unfit,
)
from cdc.runtime.kafka import (
    START_SECONDS_MAX,
    KafkaConnection,
    bootstrapped,
    bounded,
    ended,
    explained,
    started,
)
from cdc.runtime.kafka_abandon import abandon
from cdc.runtime.kafka_errors import code_kind, code_name, mapped
from cdc.runtime.kafka_hanging import Outcome, end_there, last_outcome, open_partitions
from cdc.runtime.kafka_tuning import tune
from schemas.envelope import Event

TRANSACTION_TIMEOUT_MS = 12_000
"""After this the broker aborts what a dead daemon left open."""
PUBLISH_SECONDS_MAX = 10.0
"""From the first record to the commit's answer; shorter than the transaction's own limit."""
ABORT_SECONDS_MAX = 2.0

_PRODUCE_API_KEY = 0
_ADD_PARTITIONS_API_KEY = 24


class RecordsRefused(Refused):
    """The broker would not take records for their content. Nothing of the batch was published.

    ``refusals`` name the topics and partitions; their ``index`` (into ``events``) is known only
    after ``publish(…, isolate=True)``.
    """

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        first = refusals[0]
        super().__init__(
            f"{first.reason} ({len(refusals)} refused)",
            operation="publish",
            subject=f"{first.topic}:{first.partition}",
        )
        self.refusals = tuple(refusals)

    @property
    def indices(self) -> tuple[int, ...]:
        """The refused events, in the order of ``events``."""
        return tuple(sorted(each.index for each in self.refusals if each.index is not None))


class Publisher:
    """See the module's docstring. Not for use by two tasks at once.

    ``topics``: all it will write to. What an older publisher's transaction left unfinished there
    by a fault of the broker is finished by ``start`` (``cdc.runtime.kafka_hanging``).
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        transactional_id: str,
        topics: Iterable[str] = (),
        transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
        publish_seconds_max: float = PUBLISH_SECONDS_MAX,
        make_producer: Callable[..., Any] = AIOKafkaProducer,
    ) -> None:
        if not __debug__:  # aiokafka guards its transactions by assertions alone
            raise SettingsError("python -O cannot be used with this program")
        tune()
        self._connection = connection
        self._transactional_id = transactional_id
        self._topics = frozenset(topics)
        self._transaction_timeout_ms = transaction_timeout_ms
        self._publish_seconds_max = publish_seconds_max
        self._make_producer = make_producer
        self._producer: Any = None
        self._codes: Codes = {}
        self._tainted: asyncio.Future[BaseException] | None = None
        self._committing = False

    async def start(self) -> None:
        """Fences every older publisher of this id and aborts what it left open."""
        producer = self._make_producer(
            **self._connection.client_options(),
            transactional_id=self._transactional_id,
            transaction_timeout_ms=self._transaction_timeout_ms,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            linger_ms=0,
            acks="all",
        )
        self._watch(producer)
        try:
            outcome = await self._last_outcome(producer.client)
            await started(producer, self._connection, "start publisher")
            await self._end_hanging(producer, outcome)
        except BaseException:
            await abandon(producer)
            raise
        self._producer = producer

    async def publish(
        self, events: Sequence[Event], cursors: Sequence[Event], *, isolate: bool = False
    ) -> None:
        """One transaction with all of them; they are durable and visible when it returns.

        Raises ``RecordsRefused``, ``Fenced``, ``Unfit`` or ``Doubt``; in the last case alone the
        transaction may have been committed. ``isolate`` finds out which events are refused. When
        cancelled it aborts, or lets a commit that has begun finish, and is dead afterwards.
        """
        if self._producer is None or self._tainted is not None:
            raise BrokenPromise("a publisher is used that is closed, dead or busy")
        if not events and not cursors:
            return
        tainted = self._tainted = asyncio.get_running_loop().create_future()
        self._committing = False
        self._codes.clear()
        body = asyncio.create_task(self._transaction(events, cursors, isolate), name="transaction")
        try:
            await asyncio.wait(
                {body, tainted},
                timeout=self._publish_seconds_max,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            await self._give_up(body)
            raise
        if not body.done() or tainted.done() or body.exception() is not None:
            await self._fail(body, tainted)
        self._tainted = None

    async def close(self) -> None:
        """Lets go of the broker; nothing is left open. Safe before ``start`` and twice."""
        producer = self._taken()
        if producer is not None and self._tainted is None:
            await ended(producer)
        elif producer is not None:
            await abandon(producer)

    async def abandon(self) -> None:
        """Lets go at once, without a word to the broker."""
        producer = self._taken()
        if producer is not None:
            await abandon(producer)

    def _taken(self) -> Any:
        """The producer, for its end; a ``publish`` under way is told."""
        producer, self._producer = self._producer, None
        if producer is not None and self._tainted is not None and not self._tainted.done():
            self._tainted.set_result(_doubt("closed while publishing"))
        return producer

    async def _last_outcome(self, client: Any) -> Outcome:
        operation = "start publisher"
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await bootstrapped(client)
                return await last_outcome(client, self._transactional_id)
        except (KafkaError, OSError, TimeoutError, NotImplementedError) as error:
            raise await explained(error, self._connection, operation) from error

    async def _end_hanging(self, producer: Any, outcome: Outcome) -> None:
        """After the fence nothing of ours may be open: what is, the broker forgot to end."""
        if not self._topics:
            return
        self._tainted = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                producer_id = producer._txn_manager.producer_id
                hanging = await open_partitions(producer.client, self._topics, producer_id)
                if hanging and outcome is Outcome.UNKNOWN:
                    places = ", ".join(f"{topic}:{partition}" for topic, partition in hanging)
                    raise Unfit(
                        "a transaction hangs and it is not known whether it was committed",
                        operation="start publisher",
                        subject=places,
                        hint="see kafka-transactions.sh find-hanging",
                    )
                if hanging:
                    await end_there(producer, hanging, outcome)
        except (KafkaError, OSError, TimeoutError) as error:
            raise mapped(error, "end a hanging transaction") from error
        if self._tainted.done():
            raise mapped(self._tainted.result(), "end a hanging transaction")
        self._tainted = None

    async def _transaction(
        self, events: Sequence[Event], cursors: Sequence[Event], isolate: bool
    ) -> None:
        producer = self._producer
        batches = Batches(producer, self._codes)
        await producer.begin_transaction()
        for cursor in cursors:  # in one request with the events' partitions: a round trip less
            producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(*cursor[:2]))
        if isolate:
            failures, refusals = await batches.isolate(events)
            if refusals and not failures:
                raise RecordsRefused(refusals)
            _check(failures)
            events = ()
        # Together, as they are committed: the cursor in the events' request saves a round trip.
        failures = await batches.send([*events, *cursors])
        places = {(cursor.topic, cursor.partition) for cursor in cursors}
        _check([_of_cursor(each) if each[:2] in places else each for each in failures])
        self._committing = True
        await producer.commit_transaction()

    def _watch(self, producer: Any) -> None:
        """Notes every failed request, which the client would hide by trying again."""
        client = producer.client
        send = client.send

        async def watched(node_id: Any, request: Any, **options: Any) -> Any:
            try:
                response = await send(node_id, request, **options)
            except Exception as error:
                if self._tainted is not None and not self._tainted.done():
                    self._tainted.set_result(error)
                raise
            self._note_codes(response)
            return response

        client.send = watched

    def _note_codes(self, response: Any) -> None:
        if response.API_KEY == _PRODUCE_API_KEY:
            topics = response.topics
        elif response.API_KEY == _ADD_PARTITIONS_API_KEY:
            topics = response.errors
        else:
            return
        for topic, partitions in topics:
            for partition, code, *_ in partitions:
                if code:
                    self._codes[topic, partition] = code
                else:
                    self._codes.pop((topic, partition), None)

    async def _fail(
        self, body: asyncio.Task[None], tainted: asyncio.Future[BaseException]
    ) -> NoReturn:
        """Ends this object and raises what happened."""
        error: BaseException
        if tainted.done():
            error = _doubt(f"a request failed: {mapped(tainted.result(), '').message}")
        elif not body.done():
            error = self._overdue()
        else:
            error = body.exception() or _doubt("cancelled from elsewhere")
        known = mapped(error, "publish", subject=self._transactional_id)
        if isinstance(error, IllegalOperation | ProducerClosed):
            # The client had died before, of what the broker told it about another partition.
            if Fenced in map(code_kind, self._codes.values()):
                known = Fenced(known.message, operation="publish")
            else:
                known = self._unfit() or _doubt(known.message)
        if not isinstance(known, Fenced | Refused | Unfit | BrokenPromise | Doubt):
            known = _doubt(str(known))
        await self._end(body, abort=body.done() and isinstance(known, Refused | Unfit))
        raise known from error

    async def _give_up(self, body: asyncio.Task[None]) -> None:
        """Cancelled: a commit that has begun may finish, anything else is aborted."""
        if self._committing:
            await asyncio.wait({body}, timeout=ABORT_SECONDS_MAX)
        await self._end(body, abort=not self._committing)

    async def _end(self, body: asyncio.Task[None], *, abort: bool) -> None:
        """Nothing of this object is left; ``abort``: readers need not wait for our time-out."""
        producer, self._producer = self._producer, None
        try:
            if not body.done():
                body.cancel()
                await asyncio.wait({body}, timeout=ABORT_SECONDS_MAX)
            if abort and producer is not None:
                await bounded(producer.abort_transaction(), seconds_max=ABORT_SECONDS_MAX)
        finally:
            if producer is not None:
                await abandon(producer)

    def _overdue(self) -> LedgerError:
        """Why the deadline was missed, as far as the broker told."""
        told = sorted({code_name(code) for code in self._codes.values()})
        return self._unfit() or _doubt(
            f"no end within {self._publish_seconds_max:g} s" + (f": {', '.join(told)}" * bool(told))
        )

    def _unfit(self) -> Unfit | None:
        """What the broker told that a person must mend."""
        unfit = {
            f"{topic}:{partition} {code_name(code)}"
            for (topic, partition), code in self._codes.items()
            if issubclass(code_kind(code), Unfit)
        }
        if not unfit:
            return None
        return Unfit(", ".join(sorted(unfit)), operation="publish", hint="run `cdc topics`")


def _check(failures: Sequence[Failure]) -> None:
    """Raises the gravest of the failures."""
    for kind in (Fenced, Unfit, Refused):
        found = [failure for failure in failures if issubclass(failure.kind, kind)]
        if found and kind is Refused:
            raise RecordsRefused(
                [Refusal(each.topic, each.partition, each.reason) for each in found]
            )
        if found:
            reasons = sorted({f"{each.topic}:{each.partition} {each.reason}" for each in found})
            raise kind(", ".join(reasons), operation="publish")
    if failures:
        raise _doubt(", ".join(sorted({failure.reason for failure in failures})))


def _of_cursor(failure: Failure) -> Failure:
    """A cursor that is refused for its content concerns no event: a person must help."""
    return failure._replace(kind=Unfit) if issubclass(failure.kind, Refused) else failure


def _doubt(message: str) -> Doubt:
    return Doubt(message, operation="publish")
