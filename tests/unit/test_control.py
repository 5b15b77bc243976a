"""The tie to the control database, without one: what is asked is begun once, however often seen."""

import asyncio
import io
from collections.abc import Sequence
from typing import Any, cast

from cdc.integration import IntegrationErrors
from cdc.operation import requests
from cdc.operation.asked import RESYNC, Done, Taken
from cdc.operation.control import ControlTie
from cdc.operation.running import Control
from cdc.runtime.errors import Unavailable
from cdc.runtime.log import make_log
from cdc.runtime.postgres import Connection
from schemas.sql import query

REQUEST = {"id": 7, "source": "property", "kind": RESYNC, "parameters": "{}"}


class Owner:
    """A source that is run here, and what it was given to do."""

    source, owned = "property", True

    def __init__(self) -> None:
        self.integration = IntegrationErrors()
        self.taken: list[tuple[Taken, Done]] = []

    def take(self, request: Taken, done: Done) -> None:
        self.taken.append((request, done))

    def progress(self) -> dict[str, Any]:
        return {}

    def document(self) -> dict[str, Any]:
        return {}


class Database:
    """Gives one request until it was told its end; may be gone when it is told."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked = asyncio.Event()
        self.ended: list[Sequence[Any]] = []
        self.away = False

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        if sql != query("take_requests"):
            return []
        self.looks += 1
        self.looked.set()
        return [] if self.ended else [REQUEST]

    async def execute(self, sql: str, *arguments: Any) -> str:
        if sql == query("finish_request"):
            if self.away:
                self.away = False
                raise Unavailable("gone")
            self.ended.append(arguments)
        return ""

    async def add_listener(self, channel: str, heard: Any) -> None: ...
    async def executemany(self, sql: str, rows: Any) -> None: ...
    async def close(self, timeout: float) -> None: ...


async def test_a_request_is_begun_once_until_its_end_is_stored() -> None:
    """Every look brings it again while it runs, and after its end while that is not stored."""
    database, owner, control, stop = Database(), Owner(), Control(), asyncio.Event()

    async def connect() -> Connection:
        return cast(Connection, database)

    async def look() -> None:
        database.looked.clear()
        control.wanted.set()
        async with asyncio.timeout(30):
            await database.looked.wait()

    tie = ControlTie(
        connect,
        [owner],
        control=control,
        instance="one",
        log=make_log(stream=io.StringIO(), strict=True, libraries=False),
        backoff=lambda attempt: 0.0,
    )
    running = asyncio.create_task(tie.run(stop))
    await look()
    await look()
    (_, done), *again = owner.taken
    assert again == [], "begun again while it runs"
    database.away = True
    done()
    async with asyncio.timeout(30):
        while not database.ended:  # noqa: ASYNC110 - a turn of the loop, not a wait
            await asyncio.sleep(0)
    stop.set()
    await running
    assert len(owner.taken) == 1, "begun again after its end"
    assert database.looks > 2
    assert [each[:2] for each in database.ended] == [(7, requests.DONE)]
