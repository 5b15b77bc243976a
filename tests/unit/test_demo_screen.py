"""What a person reads, on a terminal and in a log file; and how long a demo is asked to last."""

import argparse
from dataclasses import replace
from decimal import Decimal

import pytest

from compose.demo.__main__ import duration
from compose.demo.life import Happening
from compose.demo.screen import Picture, Screen
from compose.demo.way import Arrival

ARRIVAL = Arrival(
    Happening("payments", 1, "refunded: rent 1,250.00 [EUR]", 0.0), 6.25, "ledger.t/3 @ 42"
)
PICTURE = Picture(
    source="streaming",
    consumer="killed",
    written=1246,
    arrived=1200,
    under_way=34,
    unmappable=12,
    lag_seconds=1.5,
    p50_ms=5.5,
    p99_ms=2_500.0,
    last=[ARRIVAL],
    busiest=[
        {
            "name": "House [1]",
            "owner_name": None,
            "transactions": 386,
            "total_income": Decimal("10.5"),
            "total_expenses": Decimal(0),
            "running_balance": Decimal("10.5"),
            "currency": "USD",
        }
    ],
)
SHOWN = (
    "1,246",
    "1,200",
    "no amount 12",
    "1.5 s",
    "5.5 ms",
    "2.5 s",
    "6.2 ms",
    "[EUR]",
    "streaming",
    "killed",
)


def test_plain_lines_tell_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(live=False) as screen:
        screen.say("the company is read whole")
        screen.show(PICTURE)
        screen.show(PICTURE)  # too soon: no second line
    text = capsys.readouterr().out
    assert "the company is read whole" in text
    assert all(each in text for each in SHOWN)
    assert text.count("\n") == 3


def test_the_picture_tells_it_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("LINES", "60")
    with Screen(live=True) as screen:
        screen._console.print(screen._drawn(PICTURE))
        drawn = capsys.readouterr().out
        assert all(each in drawn for each in SHOWN)
        assert "House [1]" in drawn
        assert "10.50 USD" in drawn
        screen.show(PICTURE)
        screen.say("after the picture was drawn")
    assert "after the picture was drawn" in capsys.readouterr().out


def test_on_eighty_columns_no_figure_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    money = {"running_balance": Decimal("1048261.67"), "total_income": Decimal("1135990.01")}
    account = PICTURE.busiest[0] | money | {"owner_name": "Laura Silva-Marchetti", "name": "B" * 30}
    happening = Happening("payments", 1, "paid: late_fee 63.72 EUR", 0.0)
    last = [Arrival(happening, 28.5, "ledger.accounting.transactions/7 @ 34190")] * 3
    picture = replace(PICTURE, busiest=[account, account], last=last, written=123_456)
    with Screen(live=True) as screen:
        screen._console.print(screen._drawn(picture))
    drawn = capsys.readouterr().out
    for each in (
        "1,048,261.67 USD",
        "386",
        "transactions/7 @ 34190",
        "28.5 ms",
        "BBBBBBBB",
        "63.72",
    ):
        assert each in drawn
    assert "no amount 12 " in drawn
    assert all(len(line) <= 80 for line in drawn.splitlines())


def test_before_the_first_rows_there_are_no_empty_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with Screen(live=True) as screen:
        screen._console.print(screen._drawn(Picture(rows=1_200, expected=30_700)))
    drawn = capsys.readouterr().out
    assert "1,200 of 30,700 rows in Postgres" in drawn
    assert not any(each in drawn for each in ("last changes", "busiest", "one purchase", "p50"))


@pytest.mark.parametrize(("text", "seconds"), [("20s", 20), ("20", 20), ("1.5m", 90), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0s", "-5s", "20 s", "soon"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)
