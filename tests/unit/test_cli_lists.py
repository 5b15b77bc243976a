"""Lists of any length on the command line: a page of them in memory, all of them told."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cdc.cli import output as output_module
from cdc.cli.output import Output
from cdc.runtime.errors import Unavailable


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_long_list_goes_in_pages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """It ended at the ten thousandth, without a word."""
    monkeypatch.setattr(output_module, "SPOOLED_CHARS", 7)  # also within a character's bytes

    async def pages() -> AsyncIterator[list[dict[str, Any]]]:
        for start in range(0, 30, 10):
            yield [{"id": start + n, "reason": "größer", "more": 1} for n in range(10)]

    await Output(as_json=as_json).listing("things", pages(), ("id", "reason"))
    told = capsys.readouterr().out
    if as_json:
        assert [each["id"] for each in json.loads(told)["things"]] == list(range(30))
        assert json.loads(told)["things"][29] == {"id": 29, "reason": "größer", "more": 1}
    else:
        rows = [line.split() for line in told.splitlines()]
        assert [row for row in rows if row[0] != "ID"] == [[f"{n}", "größer"] for n in range(30)]


async def test_an_error_on_the_way_leaves_no_half_of_a_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def pages() -> AsyncIterator[list[dict[str, Any]]]:
        yield [{"id": 1}]
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        await Output(as_json=True).listing("things", pages(), ("id",))
    assert capsys.readouterr().out == ""
