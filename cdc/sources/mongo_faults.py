"""The driver's errors, mapped to our tree in one place.

Codes: MongoDB's ``error_codes.yml``. A resume token may be refused in many ways (260, 40647, 9,
15, 50811, …), none of them labelled: so whatever the server refuses when it is handed a token, and
that is neither a right nor a passing state, means that the position is lost.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from cdc.runtime.errors import Gap, LedgerError, Unavailable, Unfit
from cdc.runtime.tls_faults import TlsFault, tls_fault, without_codes

EVENT_TOO_LARGE = 10334
_POSITION_LOST = frozenset({286, 280, 260, 222})
_NO_RIGHTS = frozenset({13})
_NO_LOGIN = frozenset({11, 18, 8000})
_PASSING = frozenset(
    {6, 7, 24, 43, 50, 63, 89, 91, 133, 134, 150, 175, 189, 202, 234, 237, 239, 246, 262}
    | {290, 358, 384, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 136}
    | {46, 146, 211, 365}  # locks, memory, keys of cluster times, and "temporarily" itself
    | {279, 355, 407, 10058, 46841, 91331, 10045600}  # interruptions, or of the connection
    | {402, 433, 449, 450, 453, 462, 463, 473}  # an overloaded server
)
_PASSING_LABELS = ("ResumableChangeStreamError", "RetryableError", "SystemOverloadedError")


def is_code(error: PyMongoError, code: int) -> bool:
    """Whether the server answered with this code."""
    return isinstance(error, OperationFailure) and error.code == code


_TLS_HINTS = {
    TlsFault.HOST: "use a name that is in the server's certificate, or add this one to it",
    TlsFault.EXPIRED: "renew the server's certificate",
    TlsFault.CA: "point tlsCAFile in the URI to the CA that signed the server's certificate",
    TlsFault.OURS: "correct tlsCertificateKeyFile in the URI",
    TlsFault.FILE: "correct tlsCAFile, tlsCertificateKeyFile in the URI",
    TlsFault.NO_TLS: "take tls=true out of the URI, or correct the port",
    TlsFault.OTHER: "look at the server's log",
}
_UNREADABLE = "the MongoDB URI cannot be read"
"""And no more: the driver's own words may hold a part of the password."""
_ENCODE = "percent-encode what is special in user and password: @ is %40, / is %2F, % is %25"
_CLOSED = ("connection closed", "Connection reset")
_COMMAND = re.compile(r"( to execute command) \{ (\w+):.*")


@contextmanager
def readable() -> Iterator[None]:
    """Around the making of a client: ``Unfit`` where its URI or a file of it cannot be used."""
    try:
        yield
    except PyMongoError as error:
        raise _of(error, "connect", "", at_open=False) from error
    except OSError as error:  # of the files alone: nothing is connected yet
        hint = _TLS_HINTS[TlsFault.FILE]
        text = f"{TlsFault.FILE}: {without_codes(str(error))}"
        raise Unfit(text, operation="connect", hint=hint) from error
    except ValueError as error:
        raise Unfit(_UNREADABLE, operation="connect", hint=_ENCODE) from error


@contextmanager
def mapped(operation: str, *, subject: str = "", at_open: bool = False) -> Iterator[None]:
    """Errors of the driver leave as ours. ``at_open``: a stored token was handed over."""
    try:
        yield
    except PyMongoError as error:
        raise _of(error, operation, subject, at_open=at_open) from error
    except BSONError as error:
        raise Gap(f"unreadable answer: {error}", operation=operation, subject=subject) from error


def _of(error: PyMongoError, operation: str, subject: str, *, at_open: bool) -> LedgerError:
    text = _first_line(error)
    if isinstance(error, InvalidURI):
        return Unfit(_UNREADABLE, operation=operation, subject=subject, hint=_ENCODE)
    if isinstance(error, ConfigurationError):
        return Unfit(text, operation=operation, subject=subject, hint="mend the MongoDB URI")
    if isinstance(error, ConnectionFailure):
        return _no_connection(text, operation, subject)
    if not isinstance(error, OperationFailure):
        return Unavailable(text, operation=operation, subject=subject)
    if error.code in _NO_LOGIN:
        return Unfit(
            f"wrong user or password: {text}",
            operation=operation,
            subject=subject,
            hint="correct user, password, authSource and authMechanism in the URI",
        )
    if error.code in _NO_RIGHTS:
        return Unfit(
            text,
            operation=operation,
            subject=subject,
            hint="give the URI a user with the rights find and changeStream on the database",
        )
    if error.code in _POSITION_LOST:
        return Gap(f"the position is lost: {text}", operation=operation, subject=subject)
    if error.code in _PASSING or any(map(error.has_error_label, _PASSING_LABELS)):
        return Unavailable(text, operation=operation, subject=subject)
    if at_open:
        return Gap(f"the stored token is refused: {text}", operation=operation, subject=subject)
    return Unavailable(text, operation=operation, subject=subject)


def _no_connection(text: str, operation: str, subject: str) -> LedgerError:
    """Nobody is there, or the handshake failed."""
    fault = tls_fault(text)
    if fault is not None:
        told = f"{fault}: {without_codes(text)}"
        return Unfit(told, operation=operation, subject=subject, hint=_TLS_HINTS[fault])
    hint = "start mongod, or correct host, port and replicaSet in the URI"
    if any(each in text for each in _CLOSED):
        hint = "a server with TLS needs tls=true in the URI, and may ask for tlsCertificateKeyFile"
    return Unavailable(text, operation=operation, subject=subject, hint=hint)


def _first_line(error: PyMongoError) -> str:
    """What the server said, without all that the driver appends, or quotes of our command."""
    text = str(error)
    for appended in (", full error:", " (configured timeouts:", ", Timeout:"):
        text = text.split(appended, 1)[0]
    return _COMMAND.sub(r"\1 \2", text.splitlines()[0])[:300]
