"""Finding the rows that Postgres refuses, and telling them from a table that refuses all.

Bisects inside the open transaction, with savepoints: the good rows stay written, the bad ones are
told one by one. Only errors that concern a row's content count (``Refused``); every other error
passes through and parks nothing.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from cdc.runtime.errors import Refused, Unfit
from cdc.runtime.postgres import Connection, translated
from consumers.rows import Row

REFUSED_ROWS_MIN = 100
REFUSED_SHARE_MAX = 0.5
WINDOW_ROWS = 1_000

Write = Callable[[Sequence[Row]], Awaitable[int]]


@dataclass(slots=True)
class Circuit:
    """Opens when most of the last rows were refused for one and the same reason.

    Then it is the table that changed, not the rows that are bad: nothing is parked, a person is
    asked. It closes by itself as soon as rows pass again.
    """

    rows_min: int = REFUSED_ROWS_MIN
    share_max: float = REFUSED_SHARE_MAX
    window_rows: int = WINDOW_ROWS
    _window: deque[tuple[int, Counter[str]]] = field(default_factory=deque)
    _seen: int = 0

    def passed(self, rows: int, refused: Counter[str] | None = None) -> None:
        """Remembers a batch that was written."""
        self._window.append((rows, refused or Counter()))
        self._seen += rows
        while len(self._window) > 1 and self._seen - self._window[0][0] >= self.window_rows:
            self._seen -= self._window.popleft()[0]

    def check(self, refused: Counter[str], rows: int, table: str) -> None:
        """Raises ``Unfit`` where these refusals, of that many rows, are too many."""
        for code, count in refused.items():
            before = sum(codes[code] for _, codes in self._window)
            seen = self._seen + rows
            if count + before >= self.rows_min and count + before > self.share_max * seen:
                raise Unfit(
                    f"{count + before} of the last {seen} rows are refused with {code}",
                    operation="apply",
                    subject=table,
                    hint="is the table still as declared? `cdc migrate --check`",
                )


@dataclass(slots=True)
class Isolated:
    """``written``: the row count of what passed; ``refused``: the rest, with why."""

    written: int = 0
    refused: list[tuple[Row, Refused]] = field(default_factory=list)

    @property
    def codes(self) -> Counter[str]:
        return Counter(why.code for _, why in self.refused)


async def isolate(
    connection: Connection, rows: Sequence[Row], write: Write, circuit: Circuit, table: str
) -> Isolated:
    """Writes what can be written of ``rows``; raises ``Unfit`` where the circuit opens."""
    found = Isolated()
    waiting = [rows] if rows else []
    while waiting:
        part = waiting.pop()
        refusal = await _attempt(connection, part, write, found)
        if refusal is None:
            continue
        if len(part) > 1:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]  # the first half comes next: rows stay in order
            continue
        found.refused.append((part[0], refusal))
        circuit.check(found.codes, len(rows), table)
    return found


async def _attempt(
    connection: Connection, part: Sequence[Row], write: Write, found: Isolated
) -> Refused | None:
    await connection.execute("SAVEPOINT rows")
    try:
        with translated("apply"):
            written = await write(part)
    except Refused as refusal:
        await connection.execute("ROLLBACK TO SAVEPOINT rows")
        await connection.execute("RELEASE SAVEPOINT rows")
        return refusal
    await connection.execute("RELEASE SAVEPOINT rows")
    found.written += written
    return None
