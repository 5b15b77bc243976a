"""The decisions of a consumer, without servers: where to go on, when a table is to blame."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from cdc.runtime.errors import Refused, Unfit
from cdc.runtime.postgres import PostgresTarget, mapped
from consumers.apply import Outcome
from consumers.batch import Batch, Move
from consumers.isolate import Circuit, isolate
from consumers.keep import Keeper
from consumers.metrics import NoMetrics
from consumers.offsets import GapReason, Span, Start, Stored, decide
from consumers.rows import Fold, Place, Row
from consumers.settings import ConsumerLimits
from consumers.state import Progress, State

DAY = 86_400.0
PLACE = Place("t", 0)


@pytest.mark.parametrize(
    ("stored", "span", "start"),
    [
        (None, Span("a", 3, 9), Start("a", 3)),
        (Stored("a", 5, None, 1), Span("a", 3, 9), Start("a", 5)),
        (Stored("a", 9, None, 1), Span("a", 3, 9), Start("a", 9)),
        (Stored("a", 3, None, 1), Span("a", 3, 9), Start("a", 3)),
        (Stored("b", 5, None, 1), Span("a", 3, 9), Start("a", 3, None, GapReason.RECREATED)),
        (Stored("b", 5, 4, 1), Span("a", 0, 0), Start("a", 0, None, GapReason.RECREATED)),
        (Stored("a", 2, 4, 1), Span("a", 3, 9), Start("a", 3, 4, GapReason.EXPIRED)),
        (Stored("a", 10, None, 1), Span("a", 3, 9), Start("a", 3, None, GapReason.TRUNCATED)),
        (Stored("a", 10, 7, 1), Span("a", 3, 9), Start("a", 3, None, GapReason.TRUNCATED)),
        (Stored("a", 10, None, 8 * DAY), Span("a", 3, 9), Start("a", 3, None, GapReason.TRUNCATED)),
        (Stored("a", 5, None, 8 * DAY), Span("a", 0, 9), Start("a", 5, 9, GapReason.SILENT)),
        (Stored("a", 9, None, 8 * DAY), Span("a", 0, 9), Start("a", 9)),
        (Stored("a", 5, 7, 1), Span("a", 0, 9), Start("a", 5, 7)),
    ],
)
def test_where_to_go_on(stored: Stored | None, span: Span, start: Start) -> None:
    assert decide(stored, span, 7 * DAY) == start


def rows(*ids: str) -> list[Row]:
    return [
        Row(("b", "s", each), b"1", "", True, 0, PLACE, None)  # type: ignore[arg-type]
        for each in ids
    ]


class Savepoints:
    """A connection that only knows savepoints, and what was written under them."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._kept = 0

    async def execute(self, sql: str) -> None:
        if sql == "SAVEPOINT rows":
            self._kept = len(self.written)
        elif sql == "ROLLBACK TO SAVEPOINT rows":
            del self.written[self._kept :]


async def isolated(ids: Sequence[str], bad: set[str], circuit: Circuit) -> Any:
    connection = Savepoints()

    async def write(part: Sequence[Row]) -> int:
        for row in part:
            connection.written.append(row.key[2])
            if row.key[2] in bad:
                raise Refused("no", code="22003")
        return len(part)

    found = await isolate(connection, rows(*ids), write, circuit, "t")  # type: ignore[arg-type]
    assert connection.written == [each for each in ids if each not in bad]
    return found


@pytest.mark.parametrize("bad", [set(), {"3"}, {"0"}, {"99"}, {"7", "8", "50"}])
async def test_bad_rows_are_found_and_good_ones_written_in_order(bad: set[str]) -> None:
    ids = [str(i) for i in range(100)]
    found = await isolated(ids, bad, Circuit())
    assert found.written == 100 - len(bad)
    assert [row.key[2] for row, _ in found.refused] == sorted(bad, key=int)


async def test_a_single_bad_row_is_its_own_fault() -> None:
    found = await isolated(["x"], {"x"}, Circuit())
    assert found.codes == Counter({"22003": 1})


async def test_a_table_that_refuses_most_is_to_blame() -> None:
    ids = [str(i) for i in range(400)]
    with pytest.raises(Unfit, match="22003"):
        await isolated(ids, set(ids), Circuit())
    few = set(ids[:150])  # bad ones, but most pass
    assert len((await isolated(ids, few, Circuit())).refused) == 150


async def test_a_drip_of_refusals_opens_the_circuit_too() -> None:
    circuit = Circuit()
    for number in range(99):
        found = await isolated([str(number)], {str(number)}, circuit)
        circuit.passed(1, found.codes)
    with pytest.raises(Unfit):
        await isolated(["last"], {"last"}, circuit)
    ids = [str(i) for i in range(400)]  # the table is mended: rows pass, a bad one is parked
    found = await isolated(ids, {"7"}, circuit)
    assert len(found.refused) == 1


def test_an_old_window_is_forgotten() -> None:
    circuit = Circuit()
    for _ in range(150):
        circuit.passed(1, Counter({"22003": 1}))
    circuit.passed(2_000)
    circuit.check(Counter({"22003": 60}), 100, "t")


class Told(NoMetrics):
    """Lags by partition and topic."""

    def __init__(self) -> None:
        self.records: dict[int, int] = {}
        self.seconds: dict[str, float] = {}

    def lag(self, target: str, topic: str, partition: int, records: int) -> None:
        self.records[partition] = records

    def lag_seconds(self, target: str, topic: str, seconds: float) -> None:
        self.seconds[topic] = seconds


def test_lag_is_the_age_of_the_oldest_event_that_waits() -> None:
    now, metrics = 1000.0, Told()
    progress = Progress("main", lambda: now, structlog.get_logger(), metrics)
    progress.placed({PLACE: Start("a", 5)})
    progress.ends = {PLACE: 5}
    progress.measure()
    assert (metrics.records, metrics.seconds) == ({0: 0}, {"t": 0.0})
    now, progress.ends = 1010.0, {PLACE: 8}
    progress.measure()
    assert (metrics.records, metrics.seconds) == ({0: 3}, {"t": 10.0})
    now = 1015.0
    batch = Batch(0, {PLACE: Move("a", 5, 7)}, {}, last_written_ms={PLACE: 1_008_000})
    progress.committed(batch, Outcome())
    progress.measure()
    assert (metrics.records, metrics.seconds) == ({0: 1}, {"t": 7.0})
    progress.committed(Batch(0, {PLACE: Move("a", 7, 8)}, {}), Outcome())
    progress.measure()
    assert (metrics.records, metrics.seconds) == ({0: 0}, {"t": 0.0})


def test_the_state_is_told_when_it_changes() -> None:
    with structlog.testing.capture_logs() as lines:
        progress = Progress("main", lambda: 0.0, structlog.get_logger(), NoMetrics())
        for state, reason in (
            (State.IDLE, ""),
            (State.CONSUMING, ""),
            (State.IDLE, ""),
            (State.WAITING, "gone"),
            (State.WAITING, "gone"),
            (State.WAITING, "other"),
            (State.CONSUMING, ""),
        ):
            progress.enter(state, reason)
    assert [(line["state"], line["reason"], line["log_level"]) for line in lines] == [
        ("idle", "", "info"),
        ("waiting", "gone", "warning"),
        ("waiting", "other", "warning"),
        ("consuming", "", "info"),
    ]


def test_a_dsn_is_never_shown() -> None:
    target = PostgresTarget(dsn="postgresql://ann:secret@db.example:5433/books?x=1")
    assert "secret" not in repr(target)
    assert target.subject == "db.example:5433/books"
    error = mapped(OSError("refused"), "connect", target.subject)
    assert "secret" not in str(error)


def test_a_folded_batch_counts_its_events() -> None:
    fold = Fold()
    for each in (*rows("a"), *rows("a", "b")):
        fold.add(each)
    assert (len(fold.rows), fold.duplicates, len(fold.source_ms)) == (2, 1, 3)


class Closing:
    """A connection whose close takes until it is cancelled."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), False

    async def close(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def test_a_keeper_that_is_cancelled_while_it_closes_keeps_no_connection() -> None:
    keeper: Any = object.__new__(Keeper)
    keeper._limits = ConsumerLimits(keep_seconds=3600)
    keeper._target, keeper._control = Closing(), Closing()
    keeping = asyncio.create_task(keeper.run(asyncio.Event()))
    await asyncio.sleep(0)
    for connection in (keeper._target, keeper._control):
        keeping.cancel()
        async with asyncio.timeout(30):
            await connection.begun.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
    assert (keeper._target.ended, keeper._control.ended) == (True, True)
