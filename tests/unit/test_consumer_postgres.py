"""Postgres' errors in our tree: every class that asyncpg knows is somewhere on purpose."""

import inspect
import ssl

import asyncpg
import pytest

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
from cdc.runtime.postgres import CONNECT, mapped

OUR_OWN = {"03", "0B", "0F", "0Z", "10", "20", "21", "24", "2D", "34", "3B"}
"""Classes that only a mistake in our SQL can bring."""


def errors() -> list[type[asyncpg.PostgresError]]:
    known = vars(asyncpg.exceptions).values()
    return [
        each
        for each in known
        if inspect.isclass(each) and issubclass(each, asyncpg.PostgresError) and each.sqlstate
    ]


def test_every_error_is_mapped_on_purpose() -> None:
    unmapped = {
        (each.sqlstate or "")[:2]
        for each in errors()
        if isinstance(mapped(each("x"), "test"), BrokenPromise) and each.sqlstate != "25P02"
    }
    assert unmapped == OUR_OWN


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.UniqueViolationError("x"), Refused),
        (asyncpg.NumericValueOutOfRangeError("x"), Refused),
        (asyncpg.DeadlockDetectedError("x"), Conflict),
        (asyncpg.SerializationError("x"), Conflict),
        (asyncpg.StatementCompletionUnknownError("x"), Doubt),
        (asyncpg.ReadOnlySQLTransactionError("x"), Unavailable),
        (asyncpg.LockNotAvailableError("x"), Unavailable),
        (asyncpg.DiskFullError("x"), Unavailable),
        (asyncpg.TooManyConnectionsError("x"), Unavailable),
        (asyncpg.QueryCanceledError("x"), Unavailable),
        (asyncpg.AdminShutdownError("x"), Unavailable),
        (asyncpg.InvalidPasswordError("x"), Unfit),
        (asyncpg.InvalidCatalogNameError("x"), Unfit),
        (asyncpg.UndefinedColumnError("x"), Unfit),
        (asyncpg.DatatypeMismatchError("x"), Unfit),
        (asyncpg.InsufficientPrivilegeError("x"), Unfit),
        (asyncpg.InterfaceError("connection is closed"), Unavailable),
        (asyncpg.InternalClientError("state"), Unavailable),
        (asyncpg.ClientConfigurationError("x"), SettingsError),
        (asyncpg.TargetServerAttributeNotMatched("x"), Unavailable),
        (ConnectionRefusedError(111, "x"), Unavailable),
        (ConnectionError("PostgreSQL server at 'x' rejected SSL upgrade"), Unfit),
        (ssl.SSLCertVerificationError("x"), Unfit),
        (TimeoutError(), Unavailable),
    ],
)
def test_what_matters_most(error: BaseException, kind: type[LedgerError]) -> None:
    assert type(mapped(error, "test")) is kind


def told(code: str | None) -> asyncpg.PostgresError:
    """What a server, or one that stands before it, sends."""
    fields = {"S": "FATAL", "M": "no server"} | ({"C": code} if code else {})
    return asyncpg.PostgresError.new(fields)


@pytest.mark.parametrize(
    ("code", "operation", "kind"),
    [
        (None, CONNECT, Unavailable),
        (None, "apply", Unavailable),
        ("08P01", "apply", Unavailable),  # pgbouncer's, whatever it is
        ("58000", "apply", Unavailable),  # pgcat's
        ("ZZ000", CONNECT, Unavailable),
        ("0B000", CONNECT, Unavailable),
        ("ZZ000", "apply", BrokenPromise),
        ("28P01", CONNECT, Unfit),
        ("3D000", CONNECT, Unfit),
    ],
)
def test_poolers_whose_server_is_away_are_waited_for(
    code: str | None, operation: str, kind: type[LedgerError]
) -> None:
    assert type(mapped(told(code), operation)) is kind


def test_ours_pass_and_refusals_tell_their_code() -> None:
    ours = Unavailable("x")
    assert mapped(ours, "test") is ours
    error = asyncpg.CheckViolationError("x")
    error.constraint_name = "narrow"
    refused = mapped(error, "apply")
    assert isinstance(refused, Refused)
    assert refused.code == "23514 narrow"
