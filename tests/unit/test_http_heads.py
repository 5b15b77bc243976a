"""Heads of answers that a library stumbles over: they end in the error tree like all others."""

from collections.abc import Mapping

import httpx
import pytest

from cdc.runtime.errors import BadAnswer, LedgerError, Unavailable
from cdc.runtime.http import UNTYPED, HttpClient, retry_after_seconds

NOW = 1_800_000_000.0
OPEN_ENDED = "Mon, 01 Jan 2024 00:00:00 +99999999999999"
"""A date whose zone is longer than any span of time."""


async def failure(status: int, headers: Mapping[str, str]) -> LedgerError:
    """The error that an answer with such a head ends in."""
    transport = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers))
    client = HttpClient("https://bank.example", now=lambda: NOW, transport=transport)
    with pytest.raises(LedgerError) as caught:
        await client.get("/accounts", UNTYPED)
    await client.close()
    return caught.value


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize(
    "location",
    ["/login", "https://login.example/", "https:login", "login:foo", "about:blank", "//xn--"],
)
async def test_a_redirect_to_anywhere_is_told_as_one(status: int, location: str) -> None:
    error = await failure(status, {"Location": location})
    assert isinstance(error, BadAnswer)
    assert error.category == "redirect"
    assert error.subject == "bank.example"


def test_a_date_to_retry_after_beyond_any_calendar_is_unreadable() -> None:
    assert retry_after_seconds(OPEN_ENDED, NOW) is None


async def test_an_unreadable_date_leaves_the_answer_as_it_was() -> None:
    error = await failure(503, {"Retry-After": OPEN_ENDED})
    assert type(error) is Unavailable
    assert error.retry_after_seconds is None
