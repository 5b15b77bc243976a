"""Which daemon runs a source: Kafka's group protocol decides, nothing else is needed.

Every daemon that has a source configured joins the source's group; the member that is assigned the
source's partition of the cursors topic runs it. This is a hint, not a guard: the publisher's fence
guards. So an owner goes on while the group is rebalanced, and is told only when another has it.
"""

import asyncio
import struct
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError

from cdc.runtime.errors import LedgerError, SettingsError, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection, ended, started
from cdc.runtime.kafka_errors import FencedInstanceIdError, mapped

SESSION_TIMEOUT_MS = 6_000
"""A daemon that is gone or frozen loses its sources after this time."""
HEARTBEATS_PER_SESSION = 3
POLL_MS = 60_000
RETRY_SECONDS = 1.0
STOP_SECONDS_MAX = 5.0

_PROTOCOL_VERSION = 0
_CLAIM = struct.Struct(">i")
_NO_CLAIM = -1


class Ownership:
    """Membership in one source's group. Start it, wait to be owner, wait to be owner no more.

    ``instance``: a name unique to this process, the same after a restart; then a restart within
    the session takes its place at once, and a stop does not give it away earlier.
    Let the publisher be closed before ``stop``: the next owner starts when it returns.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        group: str,
        topic: str,
        partition: int,
        instance: str | None = None,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        make_consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic
        self._partition = partition
        self._instance = instance
        self._session_timeout_ms = session_timeout_ms
        self._make_consumer = make_consumer
        self._owned = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()
        self._fault: LedgerError | None = None
        self._changed = asyncio.Event()
        self._away_seconds = 0.0
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def owned(self) -> bool:
        """Whether this process is to run the source now."""
        return self._owned.is_set()

    async def start(self) -> None:
        """Begins to join; does not wait for it. Safe twice."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"ownership {self._group}")

    async def stop(self) -> None:
        """Leaves the group. Safe before ``start`` and twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=STOP_SECONDS_MAX)
        self._set_owned(False)

    async def wait_owned(self) -> None:
        """Returns when this process is owner; raises what keeps it from joining (it goes on
        trying)."""
        while not self.owned:
            self._changed.clear()
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            await self._wait(self._changed)

    async def wait_lost(self) -> None:
        """Returns when this process is not, or no longer, the owner."""
        await self._wait(self._lost)

    async def leave_and_rejoin(self, after_seconds: float) -> None:
        """Gives the source away at once and joins again after that time (told by the fence)."""
        self._away_seconds = after_seconds
        self._set_owned(False)
        self._leaving.set()

    async def _wait(self, event: asyncio.Event) -> None:
        """For the event, or the death of the membership's task."""
        if self._task is None:
            await event.wait()
            return
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        while True:
            self._leaving.clear()
            try:
                await self._be_member()
            except SettingsError:  # a person must help; whoever waits is told by our death
                self._set_owned(False)
                raise
            except LedgerError as error:
                self._fault = error
                self._set_owned(False)
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            away_seconds, self._away_seconds = self._away_seconds, 0.0
            await asyncio.sleep(away_seconds)

    async def _be_member(self) -> None:
        """One membership, from joining to leaving."""
        assignor = _Assignor(self._topic, self._partition)
        consumer = self._make_consumer(
            **self._connection.client_options(),
            group_id=self._group,
            group_instance_id=self._instance,
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // HEARTBEATS_PER_SESSION,
            max_poll_interval_ms=POLL_MS * 5,
            consumer_timeout_ms=POLL_MS,
            partition_assignment_strategy=[assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        operation = f"join group {self._group}"
        await started(consumer, self._connection, operation)
        leaving = asyncio.create_task(self._leaving.wait(), name=f"leave {self._group}")
        try:
            consumer.subscribe([self._topic], listener=_Listener(self, consumer, assignor))
            while not leaving.done():
                polling = asyncio.ensure_future(consumer.getmany(timeout_ms=POLL_MS))
                await asyncio.wait({polling, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if polling.done():
                    polling.result()
                else:
                    polling.cancel()
                    await asyncio.wait({polling})
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._fault_of(error, operation) from error
        finally:
            leaving.cancel()
            await ended(consumer)

    def _fault_of(self, error: BaseException, operation: str) -> LedgerError:
        """Nothing was read or written: this membership has ended, and another can begin.

        But not where another process has our name: the two would take it from each other for ever.
        """
        reason = mapped(error, operation)
        if FencedInstanceIdError.__name__ in str(error):  # the library tells no more of it
            return SettingsError(
                f"another process has the instance name {self._instance!r}",
                operation=operation,
                hint="give every process an `instance` of its own",
            )
        if isinstance(reason, Unfit):
            return reason
        return Unavailable(
            reason.message, operation=operation, subject=reason.subject, hint=reason.hint
        )

    def _set_owned(self, owned: bool) -> None:
        if owned:
            self._lost.clear()
            self._owned.set()
        else:
            self._owned.clear()
            self._lost.set()
        self._changed.set()


class _Listener(ConsumerRebalanceListener):
    """Takes note of what was assigned; nothing is ever read, so all is paused."""

    def __init__(self, ownership: Ownership, consumer: Any, assignor: "_Assignor") -> None:
        self._ownership = ownership
        self._consumer = consumer
        self._assignor = assignor

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """The start of every rebalance: claims what it had, as the member it was."""
        self._assignor.generation = self._consumer._coordinator.generation

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        for each in assigned:
            self._consumer.seek(each, 0)
            self._consumer.pause(each)
        if not self._ownership._leaving.is_set():
            self._ownership._set_owned(bool(assigned))


class _Assignor:
    """Gives the source's one partition to one member: to the one that has it, while it lives.

    A member that was thrown out for its silence has lost its generation, and so its claim.
    """

    name = "ledger-source"

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._assigned = False
        self.generation = _NO_CLAIM

    def metadata(self, topics: Any) -> ConsumerProtocolMemberMetadata:
        claim = self.generation if self._assigned else _NO_CLAIM
        return ConsumerProtocolMemberMetadata(_PROTOCOL_VERSION, list(topics), _CLAIM.pack(claim))

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        owner = max(members, key=lambda member: (_claim(members[member]), member))
        mine = [(self._topic, [self._partition])]
        return {
            member: ConsumerProtocolMemberAssignment(
                _PROTOCOL_VERSION, mine if member == owner else [], b""
            )
            for member in members
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        self._assigned = bool(assignment.partitions())


def _claim(metadata: ConsumerProtocolMemberMetadata) -> int:
    claim: int = _CLAIM.unpack(metadata.user_data)[0]
    return claim
