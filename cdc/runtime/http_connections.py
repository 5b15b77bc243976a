"""Connections of httpx that end when they are let go, whoever is cancelled meanwhile.

httpcore's pool forgets idle connections first and closes them then, one after another. It shields
that from anyio's cancellation, but not from ``task.cancel()``: who was cancelled there (a session
that ends, a deadline) left the others open until they were collected, as did an error at one of
them. Here each is closed, whatever happens at another.

It reads httpx's insides, whose versions are pinned. And who is cancelled at the closing of one must
find that one ended already: anyio, which is not pinned, ends a connection before it first waits. A
test that cancels at every step guards both.
"""

import asyncio
import ssl
from typing import Any

import httpx


def transport(tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """As httpx's own, without what the environment says; every connection let go is closed."""
    made = httpx.AsyncHTTPTransport(verify=tls, trust_env=False)
    pool = made._pool
    close = pool._close_connections

    async def close_each(closing: list[Any]) -> None:
        errors: list[BaseException] = []
        for connection in closing:
            try:
                await close([connection])
            except BaseException as error:  # noqa: BLE001 - raised when all are closed
                errors.append(error)
        if errors:
            cancelled = (error for error in errors if isinstance(error, asyncio.CancelledError))
            raise next(cancelled, errors[0])

    pool._close_connections = close_each  # type: ignore[method-assign]
    return made
