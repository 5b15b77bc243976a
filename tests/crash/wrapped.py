"""The three clients with a point before, inside and after each of their requests."""

import functools
from collections.abc import Callable
from typing import Any

import aiokafka
import asyncpg
from aiokafka.conn import AIOKafkaConnection
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo.synchronous.pool import Connection as MongoConnection

from tests.crash.points import Points, _asking

KAFKA_CALLS = {
    aiokafka.AIOKafkaProducer: (
        "start",
        "send_batch",
        "commit_transaction",
        "abort_transaction",
        "stop",
    ),
    aiokafka.AIOKafkaConsumer: (
        "start",
        "getmany",
        "position",
        "beginning_offsets",
        "end_offsets",
        "commit",
        "stop",
    ),
}
POSTGRES_CALLS = ("execute", "fetch", "fetchrow", "fetchval", "copy_to_table", "add_listener")
SQL_WORDS = 3
HEARTBEAT = "HeartbeatRequest"
"""By the clock, and no step of anything."""


def wrap_everything(points: Points) -> None:
    """Before the product is loaded."""
    wrap_mongo(points)
    wrap_kafka(points)
    wrap_postgres(points)


def wrap_mongo(points: Points) -> None:
    """Motor hands commands to threads; their answers are awaited in the driver's pool."""
    command, session = AsyncIOMotorDatabase.command, AsyncIOMotorClient.start_session
    receive = MongoConnection.receive_message

    def command_around(self: Any, asked: Any, *args: Any, **options: Any) -> Any:
        name = asked if isinstance(asked, str) else next(iter(asked))
        return points.around(f"mongo {name}", lambda: command(self, asked, *args, **options))

    def session_around(self: Any, *args: Any, **options: Any) -> Any:
        return points.around("mongo session", lambda: session(self, *args, **options))

    def received(self: Any, *args: Any, **options: Any) -> Any:
        if _asking.get():  # else the driver's own heartbeats and handshakes
            points.at(f"{_asking.get()} inside")
        return receive(self, *args, **options)

    AsyncIOMotorDatabase.command = command_around
    AsyncIOMotorClient.start_session = session_around
    MongoConnection.receive_message = received  # type: ignore[method-assign]


def wrap_kafka(points: Points) -> None:
    """The client's calls that we await, and each request as it leaves on the wire."""
    for owner, names in KAFKA_CALLS.items():
        for name in names:
            call = getattr(owner, name)
            what = f"kafka {owner.__name__.removeprefix('AIOKafka').lower()}.{name}"
            setattr(owner, name, _around(points, what, call))
    send = AIOKafkaConnection.send

    def sent(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        if type(request).__name__ == HEARTBEAT:
            return send(self, request, *args, **options)
        name = points.asked(f"kafka {_request_name(request)}")
        points.at(f"{name} before")
        answer = send(self, request, *args, **options)
        points.at(f"{name} inside")
        return answered(name, answer)

    async def answered(name: str, answer: Any) -> Any:
        result = await answer
        points.at(f"{name} after")
        return result

    AIOKafkaConnection.send = sent  # type: ignore[method-assign]


def _request_name(request: Any) -> str:
    """Its kind; of what is produced also where to."""
    name = type(request).__name__.partition("Request")[0]
    topics = getattr(request, "_topics", None)
    if name == "Produce" and topics:
        to = sorted(
            {"cursor" if str(each[0]).endswith(".cursors") else "events" for each in topics}
        )
        return f"{name} {' and '.join(to)}"
    return name


def wrap_postgres(points: Points) -> None:
    """asyncpg writes to its socket before it first waits."""
    connect = asyncpg.connect

    def connected(*args: Any, **options: Any) -> Any:
        return points.within("postgres connect", lambda: connect(*args, **options))

    asyncpg.connect = connected
    for name in POSTGRES_CALLS:
        call = getattr(asyncpg.Connection, name)
        setattr(asyncpg.Connection, name, _within(points, name, call))


def _around(points: Points, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapped(self: Any, *args: Any, **options: Any) -> Any:
        return points.around(what, lambda: call(self, *args, **options))

    return wrapped


def _within(points: Points, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapped(self: Any, said: Any, *args: Any, **options: Any) -> Any:
        what = f"postgres {name} {' '.join(str(said).split()[:SQL_WORDS])}"
        return points.within(what, lambda: call(self, said, *args, **options))

    return wrapped
