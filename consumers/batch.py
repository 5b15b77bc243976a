"""What one poll brought, ready to be applied in one Postgres transaction."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from consumers.parked import Parked
from consumers.rows import Fold, Place


class Move(NamedTuple):
    """The step of one offset row: from what it must be to what it becomes."""

    topic_id: str
    expected: int
    next: int


@dataclass(slots=True)
class Batch:
    """Offsets and all that lies between them: committed together or not at all.

    ``generation``: of the positions it was read under. ``careful``: its rows hold their records
    and are written under savepoints, so that those which Postgres refuses are found and parked.
    """

    generation: int = 0
    moves: dict[Place, Move] = field(default_factory=dict)
    folds: dict[str, Fold] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    events: int = 0
    last_written_ms: dict[Place, int] = field(default_factory=dict)
    """When the broker took the last record of each partition."""
    replaced_texts: Counter[str] = field(default_factory=Counter)
    careful: bool = False
