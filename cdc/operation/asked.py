"""What is asked of a source's owner, as the owner gets it; ``requests.py`` stores it."""

from typing import Any, NamedTuple

RESYNC, RETRY = "resync", "retry"


class Taken(NamedTuple):
    """A request as its owner gets it."""

    id: int
    source: str
    kind: str
    parameters: dict[str, Any]
