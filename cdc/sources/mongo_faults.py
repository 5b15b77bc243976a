"""The driver's errors, mapped to our tree in one place.

Codes: MongoDB's ``error_codes.yml``. A resume token may be refused in many ways (260, 40647, 9,
15, 50811, …), none of them labelled: so whatever the server refuses when it is handed a token, and
that is neither a right nor a passing state, means that the position is lost.
"""

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

EVENT_TOO_LARGE = 10334
_POSITION_LOST = frozenset({286, 280, 260, 222})
_NO_RIGHTS = frozenset({13, 18, 8000})
_PASSING = frozenset(
    {6, 7, 24, 43, 50, 63, 89, 91, 133, 134, 150, 175, 189, 202, 234, 237, 239, 246, 262}
    | {290, 358, 384, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 136}
)


def is_code(error: PyMongoError, code: int) -> bool:
    """Whether the server answered with this code."""
    return isinstance(error, OperationFailure) and error.code == code


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
    if isinstance(error, InvalidURI | ConfigurationError):
        return Unfit(text, operation=operation, subject=subject, hint="mend the MongoDB URI")
    if isinstance(error, ConnectionFailure):
        return Unavailable(text, operation=operation, subject=subject)
    if not isinstance(error, OperationFailure):
        return Unavailable(text, operation=operation, subject=subject)
    if error.code in _NO_RIGHTS:
        return Unfit(
            text,
            operation=operation,
            subject=subject,
            hint="check user, password and the rights find and changeStream on the database",
        )
    if error.code in _POSITION_LOST:
        return Gap(f"the position is lost: {text}", operation=operation, subject=subject)
    if error.code in _PASSING or error.has_error_label("ResumableChangeStreamError"):
        return Unavailable(text, operation=operation, subject=subject)
    if at_open:
        return Gap(f"the stored token is refused: {text}", operation=operation, subject=subject)
    return Unavailable(text, operation=operation, subject=subject)


def _first_line(error: PyMongoError) -> str:
    """What the server said, without all that the driver appends."""
    text = str(error).split(", full error:", 1)[0].split(" (configured timeouts:", 1)[0]
    return text.splitlines()[0][:300]
