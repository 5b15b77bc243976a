"""Events into record batches, and every batch's answer: the part of publishing that costs CPU.

aiokafka finishes a transaction whatever became of its batches (``kafka.md`` 2.2). So each batch's
future is awaited here, and what was refused is told.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition

from cdc.runtime.errors import LedgerError, Refused, Unfit
from cdc.runtime.kafka_errors import code_kind, code_name, kind_of
from schemas.envelope import Event

BATCH_BYTES = 128 * 1024
"""Uncompressed. Larger ones compress no better (``performance.md`` 3)."""

Codes = dict[tuple[str, int], int]
"""The last error code the broker gave for a topic's partition."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch, or with ``index`` the one event of it, that the broker would not take."""

    topic: str
    partition: int
    reason: str
    index: int | None = None


class Failure(NamedTuple):
    """A batch that was not written, and the branch of our tree that says why."""

    topic: str
    partition: int
    kind: type[LedgerError]
    reason: str


class Batches:
    """Sends events within one open transaction of ``producer``; the order per partition is kept."""

    def __init__(self, producer: Any, codes: Codes) -> None:
        self._producer = producer
        self._codes = codes

    async def send(self, events: Sequence[Event]) -> list[Failure]:
        """Sends all and waits for every answer; returns what failed."""
        sent = []
        groups = {where: (group, 0) for where, group in _grouped(events).items()}
        while groups:
            for where in list(groups):
                group, start = groups[where]
                builder, end = self._filled(group, start)
                sent.append((where, await self._submitted(builder, where)))
                if end < len(group):
                    groups[where] = (group, end)
                else:
                    del groups[where]
        failures = []
        for where, future in sent:
            try:
                await future
            except Exception as error:  # noqa: BLE001 - each is judged by failed()
                failures.append(self.failed(where, error))
        return failures

    async def isolate(self, events: Sequence[Event]) -> tuple[list[Failure], list[Refusal]]:
        """Sends one batch at a time, halving the refused ones down to the single events at fault.

        Returns what failed for other reasons (it stops there), and the events refused for their
        content; with any of the two the transaction must be aborted.
        """
        refusals: list[Refusal] = []
        indices: dict[int, int] = {id(event): index for index, event in enumerate(events)}
        for where, group in _grouped(events).items():
            waiting = deque([group])
            while waiting:
                chunk = waiting.popleft()
                builder, end = self._filled(chunk, 0)
                if end < len(chunk):
                    waiting.appendleft(chunk[end:])
                    chunk = chunk[:end]
                try:
                    await (await self._submitted(builder, where))
                except Exception as error:  # noqa: BLE001 - judged by failed()
                    failure = self.failed(where, error)
                    if not issubclass(failure.kind, Refused):
                        return [failure], refusals
                    self._give_back_sequence(where, len(chunk))
                    if len(chunk) == 1:
                        refusals.append(Refusal(*where, failure.reason, indices[id(chunk[0])]))
                    else:
                        middle = len(chunk) // 2
                        waiting.extendleft((chunk[middle:], chunk[:middle]))
        return [], refusals

    def failed(self, where: tuple[str, int], error: BaseException) -> Failure:
        """The failure behind a batch's exception, by the broker's own code where there is one."""
        code = self._codes.get(where)
        kind = kind_of(error)
        if code is not None and (kind is None or not issubclass(kind, Refused)):
            named = code_kind(code)
            if issubclass(named, Refused) or kind is None:
                return Failure(*where, named, code_name(code))
        name = type(error).__name__ if code is None else code_name(code)
        return Failure(*where, kind or LedgerError, name)

    def _filled(self, events: Sequence[Event], start: int) -> tuple[Any, int]:
        """A batch of the events from ``start``, and the index after its last; never empty."""
        builder = self._producer.create_batch()
        append = builder._builder.append  # aiokafka's C; its own append costs a fifth more
        count = 0
        for event in events[start:] if start else events:
            if append(count, None, event[2], event[3], event[4]) is None:
                builder.close()
                break
            count += 1
        builder._relative_offset = count
        return builder, start + count

    async def _submitted(self, builder: Any, where: tuple[str, int]) -> asyncio.Future[Any]:
        topic, partition = where
        try:
            future: asyncio.Future[Any] = await self._producer.send_batch(
                builder, topic, partition=partition
            )
        except AssertionError as error:  # aiokafka: "Unrecognized partition"
            raise Unfit(
                f"the topic has no partition {partition}", operation="publish", subject=topic
            ) from error
        except UnknownTopicOrPartitionError as error:
            raise Unfit(
                "the topic does not exist",
                operation="publish",
                subject=topic,
                hint="run `cdc topics`",
            ) from error
        future.add_done_callback(_retrieved)
        return future

    def _give_back_sequence(self, where: tuple[str, int], records: int) -> None:
        """The broker expects the refused batch's sequence numbers again; aiokafka forgets that."""
        transactions = self._producer._txn_manager
        transactions.increment_sequence_number(TopicPartition(*where), -records)
        self._codes.pop(where, None)


def _grouped(events: Sequence[Event]) -> dict[tuple[str, int], list[Event]]:
    groups: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        where = (event[0], event[1])
        group = groups.get(where)
        if group is None:
            groups[where] = [event]
        else:
            group.append(event)
    return groups


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Its error is reported by whoever awaits it, or no longer matters."""
    if not future.cancelled():
        future.exception()
