"""Connections of httpx that end when they are let go, whoever is cancelled meanwhile.

httpcore's pool forgets idle connections first and closes them then, one after another. It shields
that from anyio's cancellation, but not from ``task.cancel()``: who was cancelled there (a session
that ends, a deadline) left the others open until they were collected. It reads httpx's insides: the
version is pinned and a test guards it.
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
        cancelled: asyncio.CancelledError | None = None
        for connection in closing:
            try:
                await close([connection])  # ended at once; only then it lets others run
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    pool._close_connections = close_each  # type: ignore[method-assign]
    return made
