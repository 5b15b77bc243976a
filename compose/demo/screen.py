"""What a person sees: one picture that is redrawn on a terminal, else one line now and then."""

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from compose.demo.way import Arrival

STORY_LINES = 5
LINES_MIN, ARRIVALS_MIN = 24, 3
"""On the smallest terminal the picture fills all lines; larger ones show more changes."""
WIDE_COLUMNS = 110
"""From here on there is room for income and expenses."""
PLAIN_SECONDS = 2.0
PLAIN_ARRIVALS = 2
SLOW_MS = 1000.0


@dataclass(frozen=True, slots=True)
class FeedLine:
    """A feed of the household. `rows`: live transactions in Postgres; `last`: what happened."""

    name: str
    state: str
    rows: int
    last: str
    accounts: str


@dataclass(frozen=True, slots=True)
class PurchaseLine:
    """One feed's row of the purchase that comes by both; `why`: the match, once there is one."""

    feed: str
    told: str
    amount: Decimal
    counted: bool
    why: str


@dataclass
class Picture:
    """Everything the screen shows, as of now."""

    source: str = "not started"
    consumer: str = "not started"
    written: int = 0
    arrived: int = 0
    under_way: int = 0
    unmappable: int = 0
    """Written without an amount, for now. `written` is the sum of the other three."""
    lag_seconds: float = 0.0
    per_second: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    rows: int = 0
    expected: int = 0
    """Rows that the first read will make."""
    dead_letters: int = 0
    last: list[Arrival] = field(default_factory=list)
    busiest: list[Any] = field(default_factory=list)
    """Rows of the accounts with name, owner, currency, balance and sums."""
    feeds: list[FeedLine] = field(default_factory=list)
    purchase: list[PurchaseLine] = field(default_factory=list)


class Screen:
    """`say` adds a line to the story, `show` draws the picture. A context manager."""

    def __init__(self, *, live: bool | None = None) -> None:
        self._console = Console()
        self._is_live = sys.stdout.isatty() if live is None else live
        self._live: Live | None = None
        self._story: deque[str] = deque(maxlen=STORY_LINES)
        self._began = time.monotonic()
        self._next_plain = 0.0
        self._told: Arrival | None = None

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """A line of the story."""
        line = f"{self._seconds:6.1f} s  {text}"
        self._story.append(line)
        if self._live is None:
            print(line, flush=True)

    def show(self, picture: Picture) -> None:
        """Draw the picture; on no terminal, a line every few seconds."""
        if not self._is_live:
            self._show_plain(picture)
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._drawn(picture), refresh=True)

    def close(self) -> None:
        """Back to plain lines; the story stays readable."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        self._is_live = False
        print(*self._story, sep="\n", flush=True)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _show_plain(self, picture: Picture) -> None:
        if time.monotonic() < self._next_plain:
            return
        self._next_plain = time.monotonic() + PLAIN_SECONDS
        if not picture.written:
            self.say(f"{_first_read(picture)} rows in Postgres")
            return
        self.say(
            f"written {picture.written:,} ({picture.per_second:.0f}/s) = in Postgres "
            f"{picture.arrived:,} + under way {picture.under_way} + no amount "
            f"{picture.unmappable}, lag {picture.lag_seconds:.1f} s, "
            f"p50 {_ms(picture.p50_ms)}, p99 {_ms(picture.p99_ms)}; source {picture.source}, "
            f"consumer {picture.consumer}"
        )
        for feed in picture.feeds:
            print(f"            {feed.name}: {_feed_words(feed)}", flush=True)
        for arrival in picture.last[-PLAIN_ARRIVALS:]:
            if arrival is not self._told:
                took, what = _ms(arrival.milliseconds), arrival.happening.what
                print(f"            {took:>8}  {what}  ({arrival.place})", flush=True)
        self._told = picture.last[-1] if picture.last else None

    def _drawn(self, picture: Picture) -> Panel:
        shown = ARRIVALS_MIN + max(0, self._console.height - LINES_MIN)
        parts = [_stages(picture), _figures(picture)]
        if picture.last:
            parts.append(_arrivals(picture.last[-shown:]))
        if picture.busiest:
            parts.append(_accounts(picture.busiest, self._console.width >= WIDE_COLUMNS))
        if picture.feeds:
            parts += [_feeds(picture), _purchase(picture.purchase)]
        body = Group(
            *parts,
            Text("\n".join(self._story), style="cyan", no_wrap=True, overflow="ellipsis"),
        )
        title = f"a company and a household live, their books follow · {self._seconds:.0f} s"
        return Panel(body, title=title, subtitle="Ctrl-C: end and compare", border_style="blue")


def _stages(picture: Picture) -> Text:
    text = Text()
    text.append("MongoDB", "bold green").append(" ──▶ source ")
    text.append(picture.source, _mood(picture.source))
    text.append(" ──▶ ").append("Kafka", "bold green").append(" ──▶ consumer ")
    text.append(picture.consumer, _mood(picture.consumer))
    return text.append(" ──▶ ").append("PostgreSQL", "bold green")


def _mood(state: str) -> str:
    if "killed" in state or "gap" in state or "failed" in state:
        return "bold white on red"
    return "bold yellow" if "start" in state or "reading" in state else "bold green"


def _first_read(picture: Picture) -> str:
    return f"{picture.rows:,}" + (f" of {picture.expected:,}" if picture.expected else "")


def _figures(picture: Picture) -> Text:
    """Before anything is written: how far the first read is. Then the sum, and the times."""
    if not picture.written:
        return Text.assemble(("first read: ", "dim"), f"{_first_read(picture)} rows in Postgres")
    return Text.assemble(
        ("written ", "dim"),
        f"{picture.written:,} ({picture.per_second:.0f}/s)",
        (" = in Postgres ", "dim"),
        f"{picture.arrived:,}",
        (" + under way ", "dim"),
        (f"{picture.under_way}", "bold red" if picture.lag_seconds > 1 else ""),
        (" + no amount ", "dim"),
        f"{picture.unmappable}",
        ("\nrows ", "dim"),
        f"{picture.rows:,}",
        ("   dead letters ", "dim"),
        f"{picture.dead_letters}",
        ("   lag ", "dim"),
        f"{picture.lag_seconds:.1f} s",
        ("   took p50 ", "dim"),
        _ms(picture.p50_ms),
        (" p99 ", "dim"),
        _ms(picture.p99_ms),
    )


def _arrivals(last: list[Arrival]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    table.add_column("last changes, from commit to commit", ratio=1, no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("topic/partition @ offset", no_wrap=True, style="dim")
    for each in reversed(last):
        style = "red" if each.milliseconds > SLOW_MS else ""
        table.add_row(
            Text(each.happening.what),
            Text(_ms(each.milliseconds), style),
            Text(each.place.rpartition(".")[2]),
        )
    return table


def _accounts(busiest: list[Any], wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    table.add_column("busiest properties", ratio=1, no_wrap=True)
    table.add_column("owner", no_wrap=True, max_width=24 if wide else 15)
    names = ("payments", "income", "expenses", "balance")
    for name in names if wide else (names[0], names[-1]):
        table.add_column(name, justify="right", no_wrap=True)
    for row in busiest:
        sums = (f"{row['total_income']:,.2f}", f"{row['total_expenses']:,.2f}") if wide else ()
        table.add_row(
            Text(row["name"] or ""),
            Text(row["owner_name"] or "–"),
            f"{row['transactions']:,}",
            *sums,
            Text(f"{row['running_balance']:,.2f} {row['currency']}", "bold"),
        )
    return table


def _feed_words(feed: FeedLine) -> str:
    return f"{feed.rows:,} transactions; {feed.last}"


def _feeds(picture: Picture) -> Text:
    """Two lines a feed: how it goes, and its accounts."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, feed in enumerate(picture.feeds):
        text.append("\n" if number else "")
        text.append(f"{feed.name:<6}", "bold green").append("──▶ source ")
        text.append(feed.state, _mood(feed.state)).append(f"   {_feed_words(feed)}")
        text.append(f"\n       {feed.accounts}", "dim")
    return text


def _purchase(lines: list[PurchaseLine]) -> Text:
    """The one purchase, a line a row, and why it is one."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("one purchase: ", "bold")
    if not lines:
        return text.append("not yet", "dim")
    text.append(lines[0].why or "its rows arrive, then they are matched", "yellow")
    for each in lines:
        counts = "counted" if each.counted else "not counted again"
        text.append(f"\n  {each.feed:<6} {each.told:<30} {each.amount:>9,.2f}  ")
        text.append(counts, "green" if each.counted else "dim")
    return text


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds > SLOW_MS:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.1f} ms"
