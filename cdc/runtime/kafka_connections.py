"""Connections of aiokafka that end with whoever is cancelled while opening them.

The library knows a connection once it is made, and that of a bootstrap not even then: a deadline,
or the end of a session, left it open until it was collected. It replaces insides of aiokafka: the
version is pinned and a test cancels at every step.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import client as library
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection

_library_bootstrap: Callable[[AIOKafkaClient], Awaitable[None]] = AIOKafkaClient.bootstrap
_bootstraps: dict[Any, list[AIOKafkaConnection]] = {}
"""What each bootstrap has opened, by its task."""


async def connected(host: str, port: int, **options: Any) -> Any:
    """A connection, authenticated and asked for its versions; as aiokafka's ``create_conn``."""
    connection = AIOKafkaConnection(host, port, **options)
    _bootstraps.get(asyncio.current_task(), []).append(connection)
    try:
        await connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection


async def _bootstrap(client: AIOKafkaClient) -> None:
    task = asyncio.current_task()
    opened = _bootstraps[task] = []
    try:
        await _library_bootstrap(client)
    except BaseException:
        for connection in opened:
            connection.close()
        raise
    finally:
        _bootstraps.pop(task, None)


def close_what_is_cancelled() -> None:
    """For every client of this process, from now on. Safe again."""
    if library.create_conn is not connected:  # type: ignore[attr-defined]
        library.create_conn = connected  # type: ignore[attr-defined]
        AIOKafkaClient.bootstrap = _bootstrap  # type: ignore[method-assign]
