"""What the demo says of a match: words, not the names of a formula's parts."""

import json
from typing import Any

import pytest

from compose.demo.feeds import _why


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((1.0, 1.0, 1.0, 1.0), "same account, day, payee, no rival"),
        ((1.0, 0.95, 0.86, 1.0), "same account, day 0.95 alike, payee 0.86 alike, no rival"),
        ((0.3, 1.0, 1.0, 0.0), "same day, payee, account 0.30 alike, rivals"),
    ],
)
def test_the_reason_of_a_match_in_words(parts: tuple[float, ...], words: str) -> None:
    names = ("account", "date", "payee", "alone")
    reason = json.dumps({"rule": "x", **dict(zip(names, parts, strict=True))})
    match: Any = {"reason": reason}
    assert _why(match) == words
