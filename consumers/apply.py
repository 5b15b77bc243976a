"""A batch in one Postgres transaction: its offsets first, then its rows, or nothing at all.

The offsets are moved by compare-and-set; exactly the batch's partitions must be hit. That alone
makes zombies, double deliveries and doubtful commits harmless.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc.runtime.errors import Fenced
from cdc.runtime.postgres import Connection, copy_in, row_count, transaction
from consumers import statements
from consumers.batch import Batch, Move
from consumers.isolate import Circuit, Isolated, isolate
from consumers.parked import Parked, park, parked_row
from consumers.projections import PROJECTIONS, Projection
from consumers.rows import Fold, Place, Row
from schemas.sql import query

COPY_ROWS_MIN = 200
"""From this many rows on, COPY and a staging table are cheaper than arrays."""
COPY_PART_ROWS = 1_000
"""In one COPY: with fewer, its answers cost more; with more, the copies made of its text do."""
TURN_LOCK = 0x6C656467
"""Advisory lock of those who write tables with sums kept over them."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch's events, by entity; the four add up to the events."""

    applied: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    parked: list[Parked] = field(default_factory=list)


class Writer:
    """Applies batches over one connection; ``group`` names the offset rows."""

    def __init__(self, connection: Connection, group: str, circuit: Circuit) -> None:
        self._connection = connection
        self._group = group
        self._circuit = circuit
        self._stages: set[str] = set()
        self._statements: dict[tuple[str, bool, bool], str] = {}

    async def apply(self, batch: Batch, outcome: Outcome) -> None:
        """Applies and commits, counting into ``outcome`` (true if the commit is).

        Raises ``Fenced`` where the offsets are not as expected. ``Refused`` means that some row
        was refused and nothing was written: again, with a careful batch, of which those rows are
        found and parked in the same transaction.
        """
        outcome.parked.extend(batch.parked)
        work = [
            (item, batch.folds[name]) for name, item in PROJECTIONS.items() if name in batch.folds
        ]
        await self._make_stages(work)
        passed: list[tuple[int, Counter[str]]] = []
        turn = turn_of(*(projection for projection, _ in work))
        async with transaction(self._connection, "apply", turn=turn):
            await move_offsets(self._connection, self._group, batch.moves)
            for projection, fold in work:
                refused = await self._write(projection, fold, outcome, careful=batch.careful)
                passed.append((len(fold.rows), refused))
            await park(self._connection, outcome.parked)
        for rows, codes in passed:  # not before the commit: what is tried again counts once
            self._circuit.passed(rows, codes)

    async def _make_stages(self, work: Sequence[tuple[Projection, Fold]]) -> None:
        """Before the transaction: a temporary table made inside would go with a rollback."""
        for projection, fold in work:
            if projection.table not in self._stages and len(fold.rows) >= COPY_ROWS_MIN:
                async with transaction(self._connection, "stage"):
                    await self._connection.execute(statements.create_stage(projection))
                self._stages.add(projection.table)

    async def _write(
        self, projection: Projection, fold: Fold, outcome: Outcome, *, careful: bool
    ) -> Counter[str]:
        """Counts the refusals by code."""
        # In one order, so that writers of the same rows do not deadlock; turns are as good.
        rows = list(fold.rows.values()) if projection.takes_turns else fold.sorted()
        entity = projection.entity.name

        async def write(part: Sequence[Row]) -> int:
            return await self._upsert(projection, part, copy=not careful)

        if careful:
            found = await isolate(self._connection, rows, write, self._circuit, projection.table)
        else:
            found = Isolated(await write(rows))
        written, refused = found.written, found.refused
        for row, why in refused:
            outcome.parked.append(parked_row(row, entity, why))
        held = len(rows) - len(refused) - written
        newer = await self._count_newer(projection, rows) if held else 0
        outcome.applied[entity] += written + (0 if held else fold.replaced)
        outcome.stale[entity] += fold.stale + newer + (fold.replaced if held else 0)
        outcome.duplicate[entity] += fold.duplicates + held - newer
        return found.codes

    async def _upsert(self, projection: Projection, rows: Sequence[Row], *, copy: bool) -> int:
        """How many were written."""
        written = 0
        for known in (True, False):
            part = [row for row in rows if row.known is known]
            staged = known and copy and len(part) >= COPY_ROWS_MIN
            if staged:
                await self._copy(projection, part)
            if part:
                statement = self._upsert_statement(projection, known, staged)
                columns = () if staged else arrays(part)
                topic = part[0].place.topic
                written += row_count(await self._connection.execute(statement, topic, *columns))
        return written

    def _upsert_statement(self, projection: Projection, known: bool, staged: bool) -> str:
        """Built once: for a single row it costs as much as the row."""
        name = (projection.table, known, staged)
        if name not in self._statements:
            self._statements[name] = statements.upsert(projection, known=known, staged=staged)
        return self._statements[name]

    async def _copy(self, projection: Projection, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), COPY_PART_ROWS):
            text = copy_text(rows[start : start + COPY_PART_ROWS])
            await copy_in(self._connection, statements.stage_table(projection), text)

    async def _count_newer(self, projection: Projection, rows: Sequence[Row]) -> int:
        books, sources, ids = (list(part) for part in zip(*(row.key for row in rows), strict=True))
        versions = [row.version.hex() for row in rows]
        found = await self._connection.fetchval(
            statements.count_newer(projection), books, sources, ids, versions
        )
        return int(found)


def arrays(rows: Sequence[Row]) -> list[list[str | None]]:
    """The rows' texts, one list a column."""
    return [list(column) for column in zip(*(row.texts() for row in rows), strict=True)]


def copy_text(rows: Sequence[Row]) -> bytes:
    """The rows in the text format of COPY."""
    return "\n".join([*[row.line for row in rows], ""]).encode()


def turn_of(*projections: Projection) -> int | None:
    """The lock of those who write tables with sums kept over them; None: these are none."""
    return TURN_LOCK if any(projection.takes_turns for projection in projections) else None


async def move_offsets(connection: Connection, group: str, moves: Mapping[Place, Move]) -> None:
    """The compare-and-set; raises ``Fenced`` unless it hit every partition of the batch."""
    tag = await connection.execute(
        query("move_offsets"),
        group,
        [place.topic for place in moves],
        [place.partition for place in moves],
        [move.topic_id for move in moves.values()],
        [move.expected for move in moves.values()],
        [move.next for move in moves.values()],
    )
    if row_count(tag) != len(moves):
        raise Fenced(
            f"{row_count(tag)} of {len(moves)} offsets are as this consumer left them",
            operation="apply",
            subject=group,
        )
