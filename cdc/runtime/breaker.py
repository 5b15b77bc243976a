"""Leaving a server alone after it failed, or refused: one circuit breaker a host and credential.

Without it a dead host costs a deadline at every attempt, a 429 is answered with more requests, and
a revoked token is tried again and again until its owner is locked out.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cdc.runtime.errors import LedgerError, Rejected, Unavailable, Unfit

FAILURES_MAX = 5
"""So many failures one after another open the circuit."""
OPEN_SECONDS = 30.0
"""How long it then stays open; the next request after it decides."""
UNFIT_SECONDS = 300.0
"""How long a refused credential is not tried again."""


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    until: float = 0.0
    opened_for: float = 0.0
    error: LedgerError | None = None


class Breaker:
    """The circuits of one host, by credential. ``now``: seconds since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._circuits: dict[str, _Circuit] = {}

    def check(self, credential: str) -> None:
        """Raises the error that opened the circuit while it is open; costs no request."""
        circuit = self._circuits.get(credential)
        if circuit is None or circuit.error is None:
            return
        left = circuit.until - self._now()
        if left <= 0 or left > circuit.opened_for:  # over, or the clock was set back
            circuit.error = None
            return
        raise _again(circuit.error, left)

    def succeeded(self, credential: str) -> None:
        self._circuits.pop(credential, None)

    def failed(self, credential: str, error: LedgerError) -> None:
        """Counts a failure; opens at once where the server said so or the credential is refused.

        A rejected request says nothing about the next one.
        """
        if isinstance(error, Rejected):
            return
        circuit = self._circuits.setdefault(credential, _Circuit())
        circuit.failures += 1
        if isinstance(error, Unfit):
            self._open(circuit, UNFIT_SECONDS, error)
        elif isinstance(error, Unavailable) and error.retry_after_seconds is not None:
            self._open(circuit, error.retry_after_seconds, error)
        elif circuit.failures >= FAILURES_MAX:
            self._open(circuit, OPEN_SECONDS, error)

    def reset(self) -> None:
        """Forgets failures: a person says that it is mended. What a server asked for stays."""
        self._circuits = {
            credential: circuit
            for credential, circuit in self._circuits.items()
            if getattr(circuit.error, "retry_after_seconds", None) is not None
        }

    def _open(self, circuit: _Circuit, seconds: float, error: LedgerError) -> None:
        circuit.until = self._now() + seconds
        circuit.opened_for = seconds
        circuit.error = error


def _again(error: LedgerError, left: float) -> LedgerError:
    """The same error for a request that was not made; a new object, so tracebacks do not grow."""
    where = {"operation": error.operation, "subject": error.subject, "hint": error.hint}
    if isinstance(error, Unfit):
        return Unfit(error.message, **where)
    return Unavailable(f"not asked again yet: {error.message}", retry_after_seconds=left, **where)
