"""Letting go of an aiokafka client for good.

A client that was merely dropped, or whose ``stop()`` was cut off, keeps tasks that reconnect and
send again by themselves (``kafka.md`` 2.3). After ``abandon`` nothing of it runs or can connect.
It reads aiokafka's insides: the version is pinned and the tests of the publisher guard it.
"""

import asyncio
import contextlib
from typing import Any

ROUNDS_MAX = 20
ROUND_SECONDS_MAX = 0.5

_PARTS = ("_sender", "_message_accumulator", "_txn_manager", "_coordinator", "_fetcher")


async def abandon(owner: Any) -> None:
    """Ends every task and connection of a producer, consumer or admin client; never raises.

    Requests on their way may still reach the broker: a new epoch must follow (``start`` of a new
    producer), or the group must be left to time out.
    """
    client = getattr(owner, "client", None) or getattr(owner, "_client", None)
    owner._closed = True  # no warning when it is collected
    if client is None:
        return
    client._get_conn = _no_connection
    for _ in range(ROUNDS_MAX):
        connections = list(client._conns.values())
        for connection in connections:
            _cut(connection)
        parts = [owner, client, *connections]
        parts += [getattr(owner, name, None) for name in _PARTS]
        tasks = _tasks_of({id(part) for part in parts if part is not None})
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=ROUND_SECONDS_MAX)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()
    _silence(getattr(owner, "_txn_manager", None))


async def _no_connection(*_: Any, **__: Any) -> None:
    return None


def _cut(connection: Any) -> None:
    """Closes without waiting for what is still to be written: the peer may be frozen."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        writer.transport.abort()
    with contextlib.suppress(OSError):
        connection.close()


def _tasks_of(parts: set[int]) -> list[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return [
        task
        for task in asyncio.all_tasks()
        if task is not current and not task.done() and id(_self_of(task)) in parts
    ]


def _self_of(task: asyncio.Task[Any]) -> Any:
    """The object whose method the task runs."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    if frame is None:
        return None
    names = frame.f_locals
    if "self" in names:
        return names["self"]
    reference = names.get("self_ref")
    return reference() if reference is not None else None


def _silence(transactions: Any) -> None:
    """A fatal error that nobody awaits any more is not worth a warning."""
    for name in ("_transaction_waiter", "_pid_waiter"):
        waiter = getattr(transactions, name, None)
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()
