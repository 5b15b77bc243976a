"""One PostgreSQL database: how it is reached, its errors in our tree, a transaction one can trust.

There is no pool: every user of a database holds one connection of its own, with limits on both
sides, so that nothing waits for ever and a frozen server or client frees its locks. A connection
on which anything unexpected happened is thrown away, never handed on.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from cdc.runtime.errors import (
    BrokenPromise,
    Conflict,
    Doubt,
    LedgerError,
    Refused,
    SettingsError,
    Unavailable,
    Unfit,
)
from cdc.runtime.tls_faults import TlsFault, tls_fault, without_codes

CLOSE_SECONDS_MAX = 2.0
CONNECT = "connect"
_RIGHT_DSN = "write postgresql://user:password@host:5432/database?sslmode=…&sslrootcert=FILE"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]
"""Gives a fresh connection, or raises ``Unavailable`` or ``Unfit``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTarget:
    """Where a database is, who we are to it, and how long anything may take.

    ``statement_seconds_max`` holds on the server; the client gives up a little later, so that the
    server's answer wins. ``idle_seconds_max``: the server ends a session that froze inside a
    transaction, and with it its locks.
    """

    dsn: str = field(repr=False)
    application_name: str = "ledger-cdc"
    connect_seconds_max: float = 10.0
    statement_seconds_max: float = 30.0
    lock_seconds_max: float = 10.0
    idle_seconds_max: float = 10.0

    @property
    def subject(self) -> str:
        """Host and database, for messages: never user or password."""
        try:
            parts = urlsplit(self.dsn)
            hosts = parts.netloc.rpartition("@")[2]
            if "," in hosts:  # a primary and its standbys
                return f"{hosts}{parts.path}"
            return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        except ValueError:
            return "the database"

    async def connect(self) -> Connection:
        """A connection to a server that takes writes."""
        with translated(CONNECT, self.subject):
            try:
                return await asyncpg.connect(
                    self.dsn,
                    timeout=self.connect_seconds_max,
                    command_timeout=self.statement_seconds_max + 5,
                    server_settings=self._session(),
                    target_session_attrs=SessionAttribute.read_write,
                )
            except ssl.SSLError:  # a ValueError too, where a certificate is concerned
                raise
            except ValueError as error:
                told = f"the DSN cannot be used: {str(error).splitlines()[0]}"
                raise SettingsError(told, subject=self.subject, hint=_RIGHT_DSN) from None

    def _session(self) -> dict[str, str]:
        return {
            "application_name": self.application_name,
            "statement_timeout": _milliseconds(self.statement_seconds_max),
            "lock_timeout": _milliseconds(self.lock_seconds_max),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_seconds_max),
            "search_path": "pg_catalog",
            "timezone": "UTC",
            "jit": "off",
        }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


@asynccontextmanager
async def session(connect: Connect) -> AsyncIterator[Connection]:
    """A connection for one errand, closed afterwards."""
    connection = await connect()
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: Connection) -> None:
    """Closes politely, or at once where the server does not answer; never raises."""
    try:
        await connection.close(timeout=CLOSE_SECONDS_MAX)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def transaction(
    connection: Connection, operation: str, *, turn: int | None = None, dry_run: bool = False
) -> AsyncIterator[None]:
    """BEGIN … COMMIT, with the COMMIT's answer checked.

    ``turn``: an advisory lock to wait for, held until the end; it comes with the BEGIN's answer.
    ``dry_run``: rolled back in place of the COMMIT, so that nothing stays.
    Raises ``Doubt`` where the outcome is unknown: the caller must look at what is stored, on
    another connection. An error of the body rolls back and is raised, mapped to our tree.
    """
    begin = "BEGIN" if turn is None else f"BEGIN; SELECT pg_advisory_xact_lock({turn})"
    try:
        with translated(operation):
            await connection.execute(begin)
            yield
    except BaseException:
        await _roll_back(connection)
        raise
    await (_roll_back(connection) if dry_run else _commit(connection, operation))


async def copy_in(connection: Connection, table: str, text: bytes) -> None:
    """COPYs rows, in COPY's text format, into a temporary table of this session.

    A statement like any other: the client's limit, a lost connection and a cancelled task end it.
    For that the rows must be one buffer. Of a stream asyncpg waits for room before each piece, and
    neither its limit nor the loss of the connection ends that wait. So ``text`` is held in memory
    some four times over: a long table is copied in parts, by several calls.
    """
    rows: Any = memoryview(text)  # bytes are taken for a file's name; the stubs know no buffers
    await connection.copy_to_table(table, schema_name="pg_temp", source=rows)


def row_count(tag: str) -> int:
    """The row count of a command's tag: ``INSERT 0 5``, ``UPDATE 5``."""
    return int(tag.rpartition(" ")[2])


async def _roll_back(connection: Connection) -> None:
    """Shielded from cancellation; a connection that cannot roll back is cut."""
    if connection.is_closed():
        return
    try:
        await asyncio.shield(connection.execute("ROLLBACK", timeout=CLOSE_SECONDS_MAX))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise


async def _commit(connection: Connection, operation: str) -> None:
    try:
        tag = await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        found = mapped(error, operation)
        if isinstance(found, Conflict | Refused):
            raise found from error  # the server's clear no
        raise Doubt(f"COMMIT: {found.message}", operation=operation) from error
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        connection.terminate()
        raise Doubt(f"COMMIT was not answered: {error!r}", operation=operation) from error
    except asyncio.CancelledError:
        connection.terminate()
        raise
    if tag != "COMMIT":
        raise BrokenPromise(f"COMMIT was answered {tag}", operation=operation)


@contextmanager
def translated(operation: str, subject: str = "") -> Iterator[None]:
    """Errors of asyncpg and the network, raised as ours; ours pass as they are."""
    try:
        yield
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        ssl.SSLError,
        OSError,
        TimeoutError,
    ) as error:
        raise mapped(error, operation, subject) from error


_BY_CLASS: dict[str, type[LedgerError]] = {
    "08": Unavailable,  # connection
    "09": Refused,  # somebody's trigger
    "0A": Conflict,  # a plan that does not fit any more
    "0L": Unfit,  # rights
    "0P": Unfit,
    "22": Refused,  # data
    "23": Refused,  # constraints
    "25": Unavailable,  # read-only, idle in transaction
    "26": Unavailable,  # a pooler gave us another session
    "27": Refused,  # somebody's trigger
    "28": Unfit,  # who we are
    "2B": Unfit,
    "2F": Refused,  # somebody's function
    "38": Refused,
    "39": Refused,
    "3D": Unfit,  # no such database
    "3F": Unfit,  # no such schema
    "40": Conflict,  # deadlock, serialization
    "42": Unfit,  # the tables are not as declared, or we may not
    "44": Refused,  # a view's check
    "53": Unavailable,  # disk, memory, connections
    "54": Refused,  # too large for an index
    "55": Unavailable,  # lock not available
    "57": Unavailable,  # shutdown, cancelled
    "58": Unavailable,  # the server's own system
    "72": Conflict,  # snapshot too old
    "F0": Unavailable,
    "HV": Unavailable,  # somebody's foreign table
    "P0": Refused,  # raised by somebody's trigger
    "XX": Unavailable,
}
_BY_STATE: dict[str, type[LedgerError]] = {
    "25P02": BrokenPromise,  # a statement after an error that we passed over
    "40003": Doubt,  # completion unknown
    "54001": Unavailable,  # statement too complex: not the row's fault
}
_HINTS: dict[type[LedgerError], str] = {Unfit: "`cdc check` and `cdc migrate` tell more"}
_TLS_HINTS = {
    TlsFault.HOST: "use a name that is in the server's certificate, or add this one to it",
    TlsFault.EXPIRED: "renew the server's certificate",
    TlsFault.CA: "point sslrootcert in the DSN to the CA that signed the server's certificate",
    TlsFault.OURS: "correct sslcert, sslkey in the DSN",
    TlsFault.FILE: "correct sslrootcert, sslcert, sslkey (or the socket's folder) in the DSN",
    TlsFault.NO_TLS: "take sslmode out of the DSN, or switch TLS on in the server (ssl = on)",
    TlsFault.OTHER: "look at the server's log",
}
_LOGIN = "correct user, password and sslmode in the DSN, or let them in by pg_hba.conf"
_CLOSED = ("08003", "08006")
_CLOSES = "the server ends the connection: it may not accept our certificate (sslcert in the DSN)"
_REACH = "start PostgreSQL, or correct host and port in the DSN"


def mapped(error: BaseException, operation: str, subject: str = "") -> LedgerError:
    """The error of our tree that says the same; an unknown one is ours to mend."""
    if isinstance(error, LedgerError):
        return error
    kind, code = _kind(error, operation), getattr(error, "sqlstate", None) or ""
    text = f"{code} {error}".strip() if str(error) else type(error).__name__
    hint = _HINTS.get(kind, "")
    if not code and (fault := _tls_fault(error)) is not None:
        kind, hint = Unfit, _TLS_HINTS[fault]
        text = f"{fault}: {without_codes(str(error))}"
    elif code.startswith("28"):
        hint = _LOGIN
        text = f"{'wrong user or password' if code == '28P01' else 'the login is refused'}: {text}"
    elif code.startswith("3D"):
        hint = "create it, or correct the database in the DSN"
    elif operation == CONNECT and (code in _CLOSED or not code):
        hint = _CLOSES if code else _REACH
    where = {"operation": operation, "subject": subject, "hint": hint}
    if kind is Refused:
        constraint = getattr(error, "constraint_name", None) or ""
        return Refused(text, code=f"{code} {constraint}".strip(), **where)
    return kind(text, **where)


def _kind(error: BaseException, operation: str) -> type[LedgerError]:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        # A pooler or proxy whose server is away may give no code, or one of its own.
        between = operation == CONNECT or not state
        unknown = Unavailable if between else BrokenPromise
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], unknown)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return SettingsError
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched | OSError | TimeoutError):
        return Unavailable
    if isinstance(error, ValueError):
        return BrokenPromise  # a value that asyncpg cannot send
    return Unavailable  # the connection went away under us, at whatever step


def _tls_fault(error: BaseException) -> TlsFault | None:
    if isinstance(error, FileNotFoundError):  # nothing on the network is a file
        return TlsFault.FILE
    if isinstance(error, ssl.SSLError):
        return tls_fault(str(error)) or TlsFault.OTHER
    return tls_fault(str(error)) if isinstance(error, ConnectionError) else None
