"""Integration errors in memory: what is new, what has ended, what is kept for the next time."""

from cdc.integration import IntegrationErrors, Kind
from cdc.runtime.errors import BadAnswer, LedgerError, Rejected, Unavailable, Unfit

CUT = BadAnswer("the JSON is cut off", category="truncated", operation="GET /plans/one")
WRONG = Rejected("HTTP 404", status=404, operation="GET /plans/one")


def test_only_answers_that_cannot_be_used_are_kept() -> None:
    errors = IntegrationErrors()
    for error in (CUT, WRONG, Unavailable("HTTP 503"), Unfit("the token"), LedgerError("ours")):
        errors.failed("one", error)
    assert {kind.category for kind in errors.open} == {"truncated", "rejected"}


def test_each_kind_is_news_once_until_it_has_ended() -> None:
    news: list[Kind] = []
    errors = IntegrationErrors(news.append)
    for _ in range(3):
        errors.failed("one", CUT)
    errors.answered("two")
    errors.failed("one", CUT)
    assert len(news) == 1
    errors.answered("one")
    errors.failed("one", CUT)
    assert len(news) == 2
    ((_, seen),) = errors.take().seen.items()
    assert (seen.count, seen.open) == (5, True)


def test_what_ended_before_it_was_stored_is_stored_as_ended() -> None:
    errors = IntegrationErrors()
    errors.failed("one", CUT)
    errors.answered("one")
    steps = errors.take()
    ((_, seen),) = steps.seen.items()
    assert (seen.count, seen.open) == (1, False)
    assert not errors.take()


def test_what_could_not_be_stored_is_added_to_what_came_later() -> None:
    errors = IntegrationErrors()
    errors.failed("one", CUT)
    steps = errors.take()
    errors.failed("one", CUT)
    errors.answered("one")
    errors.give_back(steps)
    again = errors.take()
    ((_, seen),) = again.seen.items()
    assert (seen.count, seen.open) == (2, False)
    assert again.streams == {"", "one"}


def test_a_stream_that_answers_again_and_again_leaves_nothing_to_store() -> None:
    errors = IntegrationErrors()
    errors.answered("one")
    assert errors.take()  # a life before may have left some open
    errors.answered("one")
    assert not errors.take()
