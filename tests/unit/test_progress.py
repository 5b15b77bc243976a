"""What an operator sees of a source that reads whole, or is stuck."""

from cdc.progress import Progress, State


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_whole_read_tells_rate_and_estimate() -> None:
    clock = Clock()
    progress = Progress("property", clock)
    progress.totals = {"payments": 1000, "users": None}
    progress.note_reads({"payments": 200, "users": 0})  # resumed: what was done before is no speed
    assert progress.reads["payments"].remaining_seconds(clock.now) is None
    clock.now += 10
    progress.note_reads({"payments": 400, "users": 50})
    payments, users = progress.reads["payments"], progress.reads["users"]
    assert (payments.rows_done, payments.rate(clock.now)) == (400, 20.0)
    assert payments.remaining_seconds(clock.now) == 30.0
    assert users.remaining_seconds(clock.now) is None
    progress.note_reads({"payments": 100, "users": 60})  # begun anew
    clock.now += 10
    progress.note_reads({"payments": 200})
    assert progress.reads["payments"].rate(clock.now) == 10.0
    assert "users" not in progress.reads


def test_lag_grows_while_the_source_is_stuck() -> None:
    clock = Clock()
    progress = Progress("property", clock, wait_seconds=1.0)
    clock.now += 5
    assert progress.lag_seconds() == 4.0
    progress.caught_up_at = clock.now
    assert progress.lag_seconds() == 0.0
    clock.now += 61
    assert progress.lag_seconds() == 60.0


def test_going_between_streaming_and_idle_is_no_news() -> None:
    """Else every lonely change writes two lines of log."""
    progress = Progress("property", Clock())
    assert progress.enter(State.STREAMING)
    assert not progress.enter(State.IDLE)
    assert not progress.enter(State.STREAMING)
    assert progress.state is State.STREAMING
    assert progress.enter(State.IDLE, "a stream does not go on")
    assert progress.enter(State.GAP)
    assert progress.enter(State.IDLE)


def test_a_state_is_news_once() -> None:
    progress = Progress("property", Clock())
    assert progress.enter(State.GAP, "the position is lost")
    assert not progress.enter(State.GAP, "the position is lost")
    assert progress.enter(State.GAP, "mass deletes")
