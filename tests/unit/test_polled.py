"""A whole read held for its pages: resumable by value, moved on by deltas, let go in the end."""

import asyncio
from typing import Any

import pytest

from cdc.sources.polled import HELD_SECONDS, PolledStream, Room, by_id
from cdc.sources.polled_objects import HeldRow
from cdc.sources.protocol import Change, Checkpoint, Page, Source, Stream
from cdc.whole_read import PendingPage, WholeRead
from schemas.version import ORDINAL_MAX

STREAM = Stream("s", ("s/a", "s/b"))


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def load(collection: str, row: HeldRow) -> dict[str, Any]:
    return {"n": row[1]}


def changes(page: Page) -> list[Change]:
    return [change for run in page.changes for change in run]


def ids(page: Page) -> list[Any]:
    return [change.id for change in changes(page)]


def held(place: PolledStream, rows: int = 5) -> int:
    at, asked = place.next_round()
    numbered = [(f"{number:03}", number) for number in range(rows)]
    place.hold({"s/a": numbered, "s/b": []}, load, at, asked)
    return at


def test_pages_follow_one_another_by_value() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    at = held(place)
    assert place.held is not None
    first = place.held.page("s/a", None, 2, time())
    second = place.held.page("s/a", first.next, 2, time())
    third = place.held.page("s/a", second.next, 2, time())
    assert [ids(first), ids(second), ids(third)] == [["000", "001"], ["002", "003"], ["004"]]
    assert third.next is None
    (row, *_) = changes(place.held.page("s/a", None, 1, time()))
    assert (row.op, row.position, row.ordinal, row.after) == ("r", at, ORDINAL_MAX, {"n": 0})


def test_a_delta_takes_its_rows_out_and_makes_the_rest_as_new_as_itself() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    at = held(place)
    assert place.held is not None
    before = place.held.page("s/a", None, 2, time())
    position, asked = place.next_round()
    place.held.move_on([("s/a", "001"), ("s/a", "003")], position, asked)
    after = place.held.page("s/a", before.next, 9, time())
    assert before.at == at
    assert ids(before) == ["000"]
    assert (after.at, ids(after)) == (position, ["002", "004"])
    checkpoint = place.stand({}, position, 1)
    assert checkpoint.asked > after.asked, "the delta itself has passed the page"
    assert checkpoint.asked > before.asked


def test_an_object_without_an_id_is_a_fault_not_a_row() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    at, asked = place.next_round()
    whole = place.hold({"s/a": [("", 1), ("1", 2)]}, load, at, asked)
    faulty, good = changes(whole.page("s/a", None, 9, time()))
    assert (faulty.id, good.id, good.fault) == (None, "1", None)
    assert faulty.fault is not None


def test_rounds_grow_under_a_clock_that_is_set_back() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    place.place(Checkpoint({}, 1_800_000_005_000, -1, False, 0))
    first, asked = place.next_round()
    time.now -= 3600
    second, again = place.next_round()
    assert 1_800_000_005_000 < first < second
    assert again == asked + 1


def test_a_used_up_or_forgotten_read_is_let_go() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    held(place)
    assert place.held is not None
    place.held.page("s/a", None, 9, time())
    place.let_go()
    assert place.held is not None
    assert not place.held.serves("s/a", None), "a new read of a collection wants a newer state"
    assert place.held.serves("s/b", None)
    place.held.page("s/b", None, 9, time())
    place.let_go()
    assert place.held is None
    held(place)
    time.now += HELD_SECONDS + 1
    place.let_go()
    assert place.held is None


async def test_a_request_is_due_by_the_clock_and_rests_no_longer_than_asked() -> None:
    time = Time()
    rested: list[float] = []

    async def pause(seconds: float) -> None:
        rested.append(seconds)
        time.now += seconds

    place = PolledStream(STREAM, time)
    assert await place.rest(1.0, pause)
    place.due_at = time() + 1.5
    assert not await place.rest(1.0, pause)
    assert await place.rest(1.0, pause)
    assert rested == [1.0, 0.5]


def test_rows_are_by_id_and_the_last_of_several_with_one_id_counts() -> None:
    rows: list[HeldRow] = [("b", 1), ("", 1), ("a", 1), ("b", 2), ("", 2), ("b", 3)]
    assert by_id(rows) == [("", 1), ("", 2), ("a", 1), ("b", 3)]
    assert by_id([]) == []


@pytest.mark.parametrize("rows_max", [1, 2, 3])
def test_no_object_without_an_id_is_lost_between_two_pages(rows_max: int) -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    at, asked = place.next_round()
    rows: list[HeldRow] = [("", n) for n in range(5)] + [("1", 5), ("2", 6)]
    whole = place.hold({"s/a": rows}, load, at, asked)
    start: Any = None
    met: list[Change] = []
    for _ in range(7):
        page = whole.page("s/a", start, rows_max, time())
        met += changes(page)
        start = page.next
        if start is None:
            break
    assert [change.id for change in met] == [None] * 5 + ["1", "2"]


def test_a_read_of_some_collections_has_no_page_of_another() -> None:
    time = Time()
    place = PolledStream(STREAM, time)
    at, asked = place.next_round()
    assert not place.hold({"s/a": []}, load, at, asked).serves("s/b", None)


async def test_what_deltas_brought_before_the_first_page_was_met() -> None:
    """It is left out of the pages: it was taken for missing at the source, and deleted, when two
    deltas came between the read and the first page of its collection.
    """
    time = Time()
    place = PolledStream(STREAM, time)
    held(place)
    assert place.held is not None
    first, asked = place.next_round()
    place.held.move_on([("s/a", "001")], first, asked)
    second, asked = place.next_round()
    place.held.move_on([("s/a", "003")], second, asked)
    page = place.held.page("s/a", None, 9, time())
    assert page.at == second
    source: Source = object()  # type: ignore[assignment]
    whole = WholeRead(source, STREAM, {}, document_id=str, rows_max=9)
    whole.begin("s/a", "asked for")
    task = asyncio.ensure_future(asyncio.sleep(0, page))
    await task
    whole.took(PendingPage("s/a", task, -1, None), 3)
    assert whole.reads["s/a"].first_at <= first, "what is below that is deleted"


async def test_who_finds_no_room_waits_until_another_has_left() -> None:
    time = Time()
    room = Room(2)
    places = [PolledStream(Stream(name, ()), time, room) for name in "abc"]
    for place in places[:2]:
        await room.enter(place)
        await room.enter(place)  # it is within
    assert not room.has_room()
    waiting = asyncio.ensure_future(room.enter(places[2]))
    await asyncio.sleep(0)
    assert not waiting.done()
    places[0].drop()
    await asyncio.wait_for(waiting, 30)
    assert not room.has_room()


@pytest.mark.parametrize("steps", range(6))
async def test_who_waits_for_room_can_be_cancelled_while_it_changes_hands(steps: int) -> None:
    """Else a stop would wait for a minute: until the other's read counts as left lying."""
    time = Time()
    room = Room(1)
    first, waits, quicker = (PolledStream(Stream(name, ()), time, room) for name in "abc")
    await room.enter(first)
    waiting = asyncio.ensure_future(room.enter(waits))
    for _ in range(6):
        await asyncio.sleep(0)
    first.drop()
    await room.enter(quicker)
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=10)
    assert waiting.cancelled()


async def test_a_read_that_was_left_lying_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.sources.polled.HELD_SECONDS", 0.0)
    time = Time()
    room = Room(1)
    left, other = (PolledStream(Stream(name, ("s/a",)), time, room) for name in "ab")
    await room.enter(left)
    held(left)
    await asyncio.wait_for(room.enter(other), 30)
    assert left.held is None
