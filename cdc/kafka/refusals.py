"""Records that the broker refuses for their content: found one by one, then left as dead letters.

A refused batch kills its producer, so every step is a session of its own: the batch is refused;
the next one sends record by record and learns which; the one after publishes the others.
"""

from collections.abc import Callable, Sequence

from cdc.publisher import RecordsRefused
from schemas.envelope import Event

ToDeadLetter = Callable[[Event, str], list[Event]]


class Refusals:
    """What has been refused so far in this process."""

    def __init__(self) -> None:
        self.isolate = False
        """Whether the next batch must be sent record by record."""
        self._reasons: dict[bytes, str] = {}

    def learn(self, events: Sequence[Event], error: RecordsRefused) -> None:
        """From a refused batch."""
        self.isolate = not error.indices
        for refusal in error.refusals:
            if refusal.index is not None:
                self._reasons[_identity(events[refusal.index])] = refusal.reason

    def passed(self) -> None:
        """A batch was committed: what was refused is behind us."""
        self.isolate = False
        self._reasons.clear()

    def apply(self, events: list[Event], to_dead_letter: ToDeadLetter) -> list[Event]:
        """The events, refused ones replaced by dead letters."""
        if not self._reasons:
            return events
        kept: list[Event] = []
        for event in events:
            reason = self._reasons.get(_identity(event))
            kept.extend([event] if reason is None else to_dead_letter(event, reason))
        return kept


def _identity(event: Event) -> bytes:
    """What a record is known by when the same change is read again."""
    own_id = next((value for name, value in event.headers if name == "event_id"), b"")
    return own_id or event.topic.encode() + b"/" + event.key
