"""What is asked of a source's owner, as the owner gets it; ``requests.py`` stores it."""

from typing import Any, NamedTuple, Protocol

RESYNC, RETRY, WINDOW = "resync", "retry", "window"


class Taken(NamedTuple):
    """A request as its owner gets it."""

    id: int
    source: str
    kind: str
    parameters: dict[str, Any]


class Done(Protocol):
    """Called once, when a request is published to its end or has failed; ``result`` is JSON."""

    def __call__(self, error: str | None = None, result: dict[str, Any] | None = None) -> None: ...
