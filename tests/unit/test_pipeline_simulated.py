"""The source's loop against a simulated source and broker: seeded writes, faults, lost positions.

After every run the invariants of the design are checked from outside: the topic's fold equals the
source, versions of a key strictly grow, no event id stands twice.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cdc.cursors import CURSOR_FORMAT, Cursor, decode_cursor, encode_cursor
from cdc.pipeline import Pipeline
from cdc.progress import Progress, State
from cdc.report import Report
from cdc.runtime.errors import ForeignCursor, Gap
from cdc.wishes import Resync
from tests.fakes import (
    FakeBroker,
    FakeDatabase,
    FakeNormaliser,
    FakeSource,
    random_faults,
)

TOPICS = {"p.d.a": "d.a", "p.d.b": "d.b"}
STEPS_MAX = 20_000


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.whole_read.REREAD_SECONDS", 0.0)


class Silent:
    """A log and metrics that keep what they are told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **keys: object) -> None:
        self.lines.append((event, keys))

    warning = error = info

    def events(self, entity: str, op: str, count: int) -> None: ...
    def transaction(self, outcome: str) -> None: ...
    def dead_letters(self, entity: str, count: int) -> None: ...


def pipeline(
    database: FakeDatabase,
    broker: FakeBroker,
    collections: Sequence[str] = ("a", "b"),
    *,
    prints: str = "1",
    cluster: str = "one",
    seen: Silent | None = None,
    source: FakeSource | None = None,
    idle_seconds: float = 0.0,
) -> Pipeline:
    source = source or FakeSource(database, collections)
    source.identity = {"cluster": cluster}
    seen = seen or Silent()
    time = iter(range(10**9))
    return Pipeline(
        book="book",
        cursors_topic="p.cursors",
        source=source,
        normaliser=FakeNormaliser(collections, prints),
        broker=broker,
        topics={f"p.d.{name}": f"d.{name}" for name in collections},
        progress=Progress("fake", lambda: float(next(time))),
        report=Report(seen, seen),
        backoff=lambda attempt, least: 0.0,
        idle_seconds=idle_seconds,
    )


def quiet(database: FakeDatabase, broker: FakeBroker) -> bool:
    """Whether the newest cursor covers everything, with no whole read under way."""
    if database.writes_left or not broker.stored:
        return False
    (value,) = broker.stored.values()
    cursor = decode_cursor(value or b"")
    done = all(read.done or read.held_deletes for read in cursor.reads.values())
    return done and cursor.token == len(database.history)


async def run_until(line: Pipeline, condition: Callable[[], bool]) -> None:
    """Runs the pipeline until the condition holds; a bounded number of steps."""
    stop = asyncio.Event()
    await run_until_ended(line, asyncio.create_task(line.run(stop)), stop, condition)


async def run_until_ended(
    line: Pipeline, task: "asyncio.Task[None]", stop: asyncio.Event, condition: Callable[[], bool]
) -> None:
    """The same with a pipeline that runs."""
    try:
        for _ in range(STEPS_MAX):
            await asyncio.sleep(0)
            if condition() or task.done():
                break
        else:
            pytest.fail(f"not quiet: {line.progress.state} {line.progress.reason}")
    finally:
        stop.set()
        await task


def check(database: FakeDatabase, broker: FakeBroker, collections: Sequence[str] = "ab") -> None:
    """The invariants; rows whose document does not map may keep their last good content."""
    for name in collections:
        rows, truth = broker.rows(f"p.d.{name}"), database.state(name)
        good = {key: value for key, value in truth.items() if "bad" not in value}
        bad = truth.keys() - good.keys()
        assert {key: row for key, row in rows.items() if key not in bad} == good
    ids = set()
    for records in broker.log.values():
        newest: dict[bytes, str] = {}
        for event in records:
            if event.value is None:
                continue
            version = json.loads(event.value)["source"]["change_version"]
            assert version > newest.get(event.key, ""), "versions of a key must grow"
            newest[event.key] = version
            event_id = dict(event.headers)["event_id"]
            assert event_id not in ids, "an event stands twice"
            ids.add(event_id)


def fill(database: FakeDatabase, rows: int) -> None:
    for number in range(rows):
        database.write("a", f"{number}", {"n": number})
        database.write("b", f"{number}", {"n": -number})


@pytest.mark.parametrize("seed", range(60))
async def test_snapshot_beside_writes_under_faults_ends_equal(seed: int) -> None:
    database = FakeDatabase(seed)
    fill(database, 10)
    database.writes_left = 60
    broker = FakeBroker(tuple(TOPICS), random_faults(seed, 0.1))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    check(database, broker)


@pytest.mark.parametrize("seed", range(60))
async def test_killed_at_any_step_and_started_again(seed: int) -> None:
    """Each life is cut off after some steps, without a word: only the broker's log goes on."""
    database = FakeDatabase(seed)
    fill(database, 8)
    database.writes_left = 80
    broker = FakeBroker(tuple(TOPICS))
    for life in range(400):
        line = pipeline(database, broker)
        task = asyncio.create_task(line.run(asyncio.Event()))
        for _ in range(database.random.randrange(1, 60 + life)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if quiet(database, broker):
            break
    else:
        pytest.fail("never quiet")
    check(database, broker)


@pytest.mark.parametrize("seed", range(30))
async def test_lost_position_is_mended_by_a_whole_read(seed: int) -> None:
    database = FakeDatabase(seed)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    database.writes_left = 30
    while database.writes_left:
        database.tick()
    database.forget()
    database.writes_left = 30
    seen = Silent()
    await run_until(pipeline(database, broker, seen=seen), lambda: quiet(database, broker))
    check(database, broker)
    assert any(keys.get("state") == "gap" or "gone" in str(keys) for _, keys in seen.lines)


@pytest.mark.parametrize("seed", range(20))
async def test_lost_cursor_reads_whole_above_what_is_on_the_topics(seed: int) -> None:
    database = FakeDatabase(seed)
    fill(database, 8)
    database.writes_left = 20
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    broker.stored.clear()
    database.writes_left = 30
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    check(database, broker)


@pytest.mark.parametrize("seed", range(20))
async def test_a_damaged_cursor_is_told_and_then_as_good_as_none(seed: int) -> None:
    """It was a gap at every start, for ever: nobody got past the checksum."""
    database = FakeDatabase(seed)
    fill(database, 8)
    database.writes_left = 20
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    (key,) = broker.stored
    broker.stored[key] = (broker.stored[key] or b"").replace(b'"epoch":0', b'"epoch":7')
    database.writes_left = 30
    seen = Silent()
    line = pipeline(database, broker, seen=seen)
    await run_until(line, lambda: mended(broker, key) and quiet(database, broker))
    check(database, broker)
    assert any("damaged" in str(keys) for _, keys in seen.lines)


def test_a_cursor_of_another_format_is_not_gone_on_from() -> None:
    """Left by a newer release: what it means by its fields is not known here."""
    newer = Cursor("b", "s", "d", {}, 0, None, 1, 0, {}, {}, {}, format=CURSOR_FORMAT + 1)
    with pytest.raises(Gap, match="format"):
        decode_cursor(encode_cursor(newer))


def mended(broker: FakeBroker, key: bytes) -> bool:
    """Whether the stored cursor can be read."""
    try:
        decode_cursor(broker.stored[key] or b"")
    except Gap:
        return False
    return True


@pytest.mark.parametrize("seed", range(20))
async def test_topic_made_anew_is_filled_anew(seed: int) -> None:
    database = FakeDatabase(seed)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    for partition in range(2):
        broker.log["p.d.a", partition].clear()
    broker.ids["p.d.a"] = "another"
    database.writes_left = 20
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    check(database, broker)


@pytest.mark.parametrize("seed", range(10))
async def test_changed_and_removed_mappings_are_answered_by_whole_reads(seed: int) -> None:
    database = FakeDatabase(seed)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker, ("a",)), lambda: quiet(database, broker))
    assert not broker.rows("p.d.b")
    both = FakeNormaliser(("a", "b")).mappings
    await run_until(pipeline(database, broker), lambda: mapped_by(database, broker, both))
    check(database, broker)
    published = len(broker.log["p.d.a", 0])
    edited = FakeNormaliser(("a", "b"), "2").mappings
    line = pipeline(database, broker, prints="2")
    await run_until(line, lambda: mapped_by(database, broker, edited))
    assert len(broker.log["p.d.a", 0]) > published
    check(database, broker)
    only_b = FakeNormaliser(("b",), "2").mappings
    line = pipeline(database, broker, ("b",), prints="2")
    await run_until(line, lambda: mapped_by(database, broker, only_b))
    assert not broker.rows("p.d.a")
    check(database, broker, "b")


def mapped_by(database: FakeDatabase, broker: FakeBroker, mappings: dict[str, str]) -> bool:
    """Quiet, under exactly these mappings."""
    (value,) = broker.stored.values()
    return decode_cursor(value or b"").mappings == mappings and quiet(database, broker)


async def test_cursor_of_another_cluster_is_refused_until_accepted() -> None:
    database = FakeDatabase(1)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    before = broker.transactions
    other = FakeDatabase(2)
    other.now = 5
    fill(other, 3)
    with pytest.raises(ForeignCursor, match="cluster was one, is two"):
        await run_until(pipeline(other, broker, cluster="two"), lambda: False)
    assert broker.transactions == before
    line = pipeline(other, broker, cluster="two")
    done = asyncio.Event()
    line.resync(Resync("7", accept=True, deletes_allowed=True, done=lambda *_: done.set()))
    await run_until(line, lambda: done.is_set() and quiet(other, broker))
    check(other, broker)
    (stored,) = broker.stored.values()
    assert decode_cursor(stored or b"").epoch == 1, "not waited until its clock is beyond the old"


async def test_mass_deletes_wait_for_a_person() -> None:
    database = FakeDatabase(1)
    for number in range(1500):
        database.history.append(
            database.history[-1]._replace(id=f"{number}")
            if database.history
            else _entry(database, f"{number}")
        )
        database.now += 1
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    assert len(broker.rows("p.d.a")) == 1500
    for number in range(1200):
        database.write("a", f"{number}", None)
    database.forget()
    database.write("a", "new", {"n": 1})
    database.forget()
    line = pipeline(database, broker)
    await run_until(line, lambda: quiet(database, broker))
    assert line.progress.state is State.GAP
    assert "would delete 1200 of 1501" in line.progress.reason
    assert len(broker.rows("p.d.a")) == 1501
    done = asyncio.Event()
    line = pipeline(database, broker)
    line.resync(Resync("1", deletes_allowed=True, done=lambda *_: done.set()))
    await run_until(line, lambda: done.is_set())
    check(database, broker)
    assert len(broker.rows("p.d.a")) == 301


def _entry(database: FakeDatabase, row_id: str) -> Any:
    database.write("a", row_id, {"n": 0})
    return database.history.pop()


async def test_unmappable_documents_keep_their_rows() -> None:
    database = FakeDatabase(1)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    database.write("a", "3", {"bad": 1})
    database.write("a", "4", None)
    database.forget()
    database.write("b", "0", {"n": 5})
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    rows = broker.rows("p.d.a")
    assert "3" in rows
    assert "4" not in rows


@pytest.mark.parametrize("step", range(80))
async def test_a_resync_asked_at_any_step_of_a_whole_read_starts_it_over(step: int) -> None:
    """Asked between the rows of a page it went on at the next page, and deleted what was before."""
    database = FakeDatabase(step)
    fill(database, 8)
    broker = FakeBroker(tuple(TOPICS))
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    seen = Silent()
    line = pipeline(database, broker, seen=seen)
    line.resync(Resync("first"))
    stop, ended = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(line.run(stop))
    for _ in range(step):
        await asyncio.sleep(0)
    line.resync(Resync("second", done=lambda error=None, result=None: ended.set()))
    await run_until_ended(line, running, stop, lambda: ended.is_set() and quiet(database, broker))
    check(database, broker)
    deletes = [json.loads(e.value or b"{}").get("op") for log in broker.log.values() for e in log]
    assert "d" not in deletes
    ends = [keys["collections"] for event, keys in seen.lines if event == "whole read is done"]
    assert ends[-1] == ["a", "b"]
    assert [] not in ends, "a read that was started over has not ended"
