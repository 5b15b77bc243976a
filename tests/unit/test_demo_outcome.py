"""When the demo says that all is well."""

from types import SimpleNamespace
from typing import Any

import pytest

from compose.demo.compare import Comparison, Difference
from compose.demo.story import Story

ONE = (Difference("transactions", "1", "amount", 1, 2),)


@pytest.mark.parametrize(
    ("books", "feeds", "ok"), [((), (), True), (ONE, (), False), ((), ONE, False)]
)
def test_one_difference_anywhere_is_a_failure(books: Any, feeds: Any, ok: bool) -> None:
    story: Any = SimpleNamespace(_kills=0, _events_per_second=1, _recoveries=[])
    way: Any = SimpleNamespace(percentile=lambda _: None, written=3)
    found = Story._outcome(story, way, Comparison(10, 4, 0, books), (20, list(feeds), True))
    assert (found.ok, found.differences) == (ok, len(books) + len(feeds))
