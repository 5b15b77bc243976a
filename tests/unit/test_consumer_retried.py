"""A batch that is tried again because its commit failed, without servers."""

import asyncpg
import pytest

from cdc.runtime.errors import Conflict
from consumers.apply import Outcome, Writer
from consumers.batch import Batch, Move
from consumers.isolate import REFUSED_ROWS_MIN, Circuit
from consumers.rows import Fold
from tests.unit.test_apply import PLACE, TRANSACTIONS, row


class RefusingDatabase:
    """Refuses every row for its content; its first commits are lost races."""

    def __init__(self, commits_lost: int) -> None:
        self.commits_lost = commits_lost

    def is_closed(self) -> bool:
        return False

    async def execute(self, statement: str, *arguments: object, timeout: float = 0) -> str:
        if statement == "COMMIT" and self.commits_lost:
            self.commits_lost -= 1
            raise asyncpg.SerializationError("lost")
        if "INSERT INTO accounting" in statement:
            raise asyncpg.NumericValueOutOfRangeError("too large")
        return "UPDATE 1" if "next_offset" in statement else statement


async def test_a_batch_that_is_tried_again_counts_its_refusals_once() -> None:
    """They were remembered before the commit: two tries of some bad rows blamed the table."""
    fold = Fold()
    for number in range(REFUSED_ROWS_MIN * 6 // 10):
        fold.add(row(1, row_id=f"t{number}"))
    batch = Batch(0, {PLACE: Move("a", 0, 60)}, {TRANSACTIONS: fold})
    writer = Writer(RefusingDatabase(1), "group", Circuit())  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await writer.apply(batch, Outcome(), careful=True)
    outcome = Outcome()
    await writer.apply(batch, outcome, careful=True)
    assert len(outcome.parked) == len(fold.rows)
