"""Handfuls that come thick share a request; a lonely change never waits."""

from cdc.sources.mongo_pace import HANDFULS_MAX, PACE_SECONDS, THICK_SECONDS, Pace


def rests(gaps: list[float], *, handful: bool = True) -> list[float]:
    """What each request would wait, asked at once after the reply before it."""
    pace, now, found = Pace(), 100.0, []
    for gap in gaps:
        now += gap
        pace.replied(now, handful=handful)
        found.append(round(pace.rest_seconds(now), 6))
    return found


def test_a_burst_is_taken_as_it_comes_and_a_stream_of_handfuls_is_paced() -> None:
    found = rests([0.002] * 20)
    assert found[: HANDFULS_MAX - 1] == [0.0] * (HANDFULS_MAX - 1)
    assert found[HANDFULS_MAX:] == [PACE_SECONDS] * (20 - HANDFULS_MAX)


def test_lonely_changes_full_replies_and_empty_ones_never_wait() -> None:
    assert set(rests([THICK_SECONDS] * 50)) == {0.0}
    assert set(rests([0.002] * 50, handful=False)) == {0.0}


def test_one_late_reply_does_not_end_the_pace_and_silence_does() -> None:
    found = rests([0.002] * 20 + [0.1] + [0.002] + [1.0] * 4)
    assert found[20:22] == [PACE_SECONDS] * 2
    assert found[-1] == 0.0


def test_the_time_that_publishing_took_counts() -> None:
    pace = Pace()
    for number in range(10):
        pace.replied(1.0 + number / 1000, handful=True)
    assert pace.rest_seconds(1.009 + PACE_SECONDS) == 0.0
