"""Everything that can go wrong, as one tree, and what is done about each branch.

LedgerError
├── SettingsError          wrong configuration or usage                     stop (exit 2)
├── Unfit                  a server or credential is missing or unsuitable  stop at start (exit 3),
│   │                      while running: wait, say so, try again
│   ├── Absent             what is asked for by name does not exist         the same
│   └── Rejected           a request that a server rejects for its content  the same
├── Unavailable            a server does not answer, or not now             retry
│   ├── BadAnswer          an answer that cannot be used (not JSON, cut …)  retry
│   └── Conflict           a race for locks was lost: all of it again       retry
├── Doubt                  the outcome of a write is unknown                retry, position re-read
├── Fenced                 another owner took over                          hand over
├── Gap                    a position is lost or cannot be trusted          read whole
├── StreamsChanged         a source has other streams than it had           begin anew
├── ForeignCursor          the cursor belongs to another cluster            stop (exit 3)
├── Refused                one record or row is refused for its content     park
└── BrokenPromise          our own mistake                                  stop

Unknown errors stop. Lower libraries' errors are mapped to this tree once, where they are caught.
"""

from collections.abc import Iterator
from enum import StrEnum


class Policy(StrEnum):
    """What the loops do with an error."""

    RETRY = "retry"
    PARK = "park"
    READ_WHOLE = "read_whole"
    BEGIN_ANEW = "begin_anew"
    HAND_OVER = "hand_over"
    STOP = "stop"


class LedgerError(Exception):
    """An error with the operation that failed, where, and the way out."""

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        subject: str = "",
        position: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.subject = subject
        self.position = position
        self.hint = hint

    def __str__(self) -> str:
        where = " ".join(part for part in (self.operation, self.subject, self.position) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}; {self.hint}" if self.hint else text


def each_of(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, and of groups within; a single one is its own."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from each_of(inner)
    else:
        yield error


class SettingsError(LedgerError):
    """Wrong configuration or usage: nothing was started."""

    exit_code = 2


class Unfit(LedgerError):
    """A server or credential that cannot serve until a person mends it."""

    exit_code = 3


class Absent(Unfit):
    """What is asked for by its name does not exist."""


class Rejected(Unfit):
    """A request that a server rejects: ``status`` of HTTP, ``code`` in the server's own words."""

    def __init__(self, message: str, *, status: int, code: str = "", **where: str) -> None:
        super().__init__(message, **where)
        self.status = status
        self.code = code


class Unavailable(LedgerError):
    """A server that does not answer, or refuses for a reason that passes by itself.

    ``retry_after_seconds``: how long the server asked to be left alone; None: it did not say.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, **where: str
    ) -> None:
        super().__init__(message, **where)
        self.retry_after_seconds = retry_after_seconds


class BadAnswer(Unavailable):
    """An answer that cannot be used. ``category``: one word of a short list, for counting."""

    def __init__(self, message: str, *, category: str, **where: str) -> None:
        super().__init__(message, retry_after_seconds=None, **where)
        self.category = category


class Conflict(Unavailable):
    """A deadlock, a lost race or a stale plan: the whole transaction again, at once."""


class Doubt(LedgerError):
    """A write whose outcome is unknown: re-read the position, never trust memory."""


class Fenced(LedgerError):
    """Another owner has taken over (or the broker timed our transaction out: same answer)."""


class Gap(LedgerError):
    """A position that is lost. ``needs_person``: a whole read alone would not mend it."""

    def __init__(self, message: str, *, needs_person: bool = False, **where: str) -> None:
        super().__init__(message, **where)
        self.needs_person = needs_person


class StreamsChanged(LedgerError):
    """There is something to be followed that was not: the session begins anew, with it."""


class ForeignCursor(LedgerError):
    """A stored cursor of another cluster or database."""

    exit_code = 3


class Refused(LedgerError):
    """One record or row that is refused for what it contains. ``code``: its kind, for counting."""

    def __init__(self, message: str, *, code: str = "", **where: str) -> None:
        super().__init__(message, **where)
        self.code = code


class BrokenPromise(LedgerError):
    """A contract inside this program was broken."""


_POLICIES: dict[type[LedgerError], Policy] = {
    SettingsError: Policy.STOP,
    Unfit: Policy.RETRY,
    Unavailable: Policy.RETRY,
    Doubt: Policy.RETRY,
    Fenced: Policy.HAND_OVER,
    Gap: Policy.READ_WHOLE,
    StreamsChanged: Policy.BEGIN_ANEW,
    ForeignCursor: Policy.STOP,
    Refused: Policy.PARK,
    BrokenPromise: Policy.STOP,
}


def policy(error: BaseException) -> Policy:
    """What is done about ``error`` in a running loop; whatever is not in the tree stops."""
    for kind in type(error).__mro__:
        if kind in _POLICIES:
            return _POLICIES[kind]
    return Policy.STOP
