"""A whole read held for its pages: resumable by value, moved on by deltas, let go in the end."""

from typing import Any

from cdc.sources.polled import HELD_SECONDS, HeldRow, PolledStream
from cdc.sources.protocol import Change, Checkpoint, Page, Stream
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
