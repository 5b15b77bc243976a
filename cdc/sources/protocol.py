"""What a source is: changes with the checkpoints that cover them, and history in pages.

The pipeline drives every source through this protocol alone. A source never sleeps, retries,
logs errors or saves state; it raises from ``cdc.runtime.errors``:

- ``Gap`` when a position is lost or refused (the pipeline reads whole),
- ``Unavailable`` for what passes by itself, ``Unfit`` for what a person must mend.

One source may have several streams (a MongoDB database is one; every Plaid item is one). Each has
its own cursor; the streams of a source are read side by side and published by one producer.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol, runtime_checkable

Document = dict[str, Any]


class Change(NamedTuple):
    """One change of one object.

    ``collection``: the MongoDB collection, or the API's resource. ``op``: ``c``, ``u``, ``d``, or
    ``r`` for a row of a whole read. ``id``: as the source has it. ``before``/``after``: None where
    absent or unknown. ``position``, ``ordinal``: the parts of its version. ``time_ms``: when
    it happened at the source, UTC. ``fault``: why its content could not be read, else None.
    """

    collection: str
    op: str
    id: Any
    before: Document | None
    after: Document | None
    position: int
    ordinal: int
    time_ms: int
    fault: str | None = None


class Notice(NamedTuple):
    """A collection was dropped, renamed away, renamed onto, or the whole database dropped.

    ``collections`` must be read whole. ``deletes_allowed``: deletes found by that are the person's
    word; else many of them wait for one.
    """

    reason: str
    collections: tuple[str, ...]
    position: int
    deletes_allowed: bool = True


class Checkpoint(NamedTuple):
    """Everything before it has been yielded. ``token``: JSON, opaque to all but its source.

    ``ordinal``: the last one given out at ``position`` (-1: none). ``full``: the reply may have
    been cut short, more may be waiting. ``asked``: a count that grows with every request, to tell
    whether the reply was asked for after some other moment. ``drained``: nothing was left at
    ``position`` itself; a reply may end between changes that share theirs, however short it is.
    """

    token: Any
    position: int
    ordinal: int
    full: bool
    asked: int
    drained: bool = True

    @property
    def complete(self) -> int:
        """Every change up to and including this position has been yielded."""
        return self.position if self.drained else self.position - 1


class Page(NamedTuple):
    """A piece of a collection's whole state, read at one point in time.

    ``changes``: small sequences, to be gone through once. ``at``: the position at which it was
    read (content and version agree). ``asked``: the newest request of the stream when it was read.
    ``next``: JSON, where the following page starts; None after the last. ``since``: the position
    from which on the stream's changes are left out of it (None: none are).
    """

    changes: Iterable[Sequence[Change]]
    at: int
    asked: int
    next: Any
    since: int | None = None


class Window(NamedTuple):
    """Days of some accounts' history, both included. ``left_out``: ids that must not come back."""

    first: date
    last: date
    accounts: tuple[str, ...]
    left_out: frozenset[str] = frozenset()


class Told(NamedTuple):
    """How many objects of an account lay in a window, and the day of the oldest (ISO)."""

    objects: int
    first_date: str


@dataclass(frozen=True, slots=True)
class Stream:
    """``name`` is in the cursor's key. ``collections``: what a whole read of it goes through."""

    name: str
    collections: tuple[str, ...]
    identity: dict[str, str] = field(default_factory=dict)
    """What a cursor is bound to (cluster, database, item): another one's cursor is refused."""


Item = Sequence[Change] | Notice | Checkpoint


class Source(Protocol):
    """See the module's docstring for what is promised."""

    name: str
    connector: str

    async def open(self) -> tuple[Stream, ...]:
        """Connects and tells the streams; raises ``Unfit`` or ``Unavailable``."""

    async def seek(self, stream: Stream, after: Checkpoint | None) -> Checkpoint:
        """Places the stream after ``after``, or at now (None); returns where it stands."""

    def changes(self, stream: Stream, *, wait_seconds: float) -> AsyncIterator[Item]:
        """One reply's changes in small sequences, notices among them, then one checkpoint.

        Waits at most ``wait_seconds`` where nothing is ready. Checkpoints never go back.
        """

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        """The page at ``start`` (None: the first) of the collection, as it stands now."""

    async def look_up(self, stream: Stream, collection: str, ids: Sequence[str]) -> Page:
        """The objects with these ids (as text), as they stand now; absent ones are left out.

        ``next``: ids that are left for another page, fewer than were asked for; None: none.
        """

    async def total(self, stream: Stream, collection: str) -> int | None:
        """How many objects a whole read will go through, about; None: not known."""

    async def history_seconds(self) -> tuple[float, float] | None:
        """How far the source's own history reaches back, and how much of that lies behind our
        place; None where there is none, or it is not known.
        """

    def mended(self) -> None:
        """A person asks: what a server refused before is tried again now, not after a while."""

    async def close(self) -> None:
        """Lets everything go; safe before ``open`` and twice."""


@runtime_checkable
class Windowed(Protocol):
    """A source whose history can be asked for by days, and may have holes."""

    async def window(
        self, stream: Stream, collection: str, window: Window
    ) -> tuple[Page, dict[str, Told]]:
        """All of the window as one page, as it stands now; and what it held, by account."""
