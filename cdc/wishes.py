"""What persons ask of a source: whole reads, single objects again. Outlives its sessions."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from cdc.begin import Lost
from cdc.cursors import CollectionRead
from cdc.runtime.errors import LedgerError
from cdc.stream_reader import StreamReader
from cdc.whole_read import LookUp


class Ended(Protocol):
    """Called once with what came of it: rows by collection, and what kept it from all of them."""

    def __call__(self, error: str | None = None, result: dict[str, Any] | None = None) -> None: ...


def _tell_nobody(error: str | None = None, result: dict[str, Any] | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Resync:
    """Read whole. ``collection`` None: all. ``done``: called when all is published to its end.

    ``name`` tells one wish from another over restarts. ``accept``: a cursor of another cluster is
    meant. ``deletes_allowed``: mass deletes are meant.
    """

    name: str
    collection: str | None = None
    accept: bool = False
    deletes_allowed: bool = False
    done: Ended = _tell_nobody

    @property
    def reason(self) -> str:
        return f"resync {self.name}"


@dataclass(slots=True)
class Wishes:
    """All that is asked for and not done. ``lost``: the position is given up at the next start."""

    resyncs: list[Resync] = field(default_factory=list)
    look_ups: list[LookUp] = field(default_factory=list)
    lost: Lost | None = None
    reads: dict[str, Mapping[str, CollectionRead]] = field(default_factory=dict)
    """By stream of the session, as published."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Why streams cannot be read until a person acts."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accept(self) -> bool:
        return any(resync.accept for resync in self.resyncs)

    def hand_to(self, readers: Sequence[StreamReader]) -> None:
        """Starts what is asked for and not under way."""
        for reader in readers:
            known = set(reader.whole.reads)
            for wish in self.resyncs:
                wanted = known if wish.collection is None else known & {wish.collection}
                for name in sorted(wanted):
                    if reader.whole.reads[name].reason != wish.reason:
                        reader.begin(name, wish.reason, deletes_allowed=wish.deletes_allowed)
            for look_up in self.look_ups:
                if look_up.collection in known:
                    reader.look_up(look_up)

    def look_up(self, wish: LookUp) -> None:
        """Keeps it until it is published, or has failed: a session may end before that."""

        def ended() -> None:
            self.look_ups.remove(kept)

        def published() -> None:
            ended()
            wish.on_published()

        def failed(error: LedgerError) -> None:
            ended()
            if wish.on_failed is not None:
                wish.on_failed(error)

        kept = replace(
            wish, on_published=published, on_failed=None if wish.on_failed is None else failed
        )
        self.look_ups.append(kept)

    def settle(self) -> None:
        """What the published reads have fulfilled is done, as far as it can be."""
        for wish in list(self.resyncs):
            mine = self._wanted(wish)
            left = [name for name, reads in mine.items() if not _fulfilled(wish, reads)]
            if not mine or any(name not in self.unfit for name in left):
                continue
            self.resyncs.remove(wish)
            read = {name: each for reads in mine.values() for name, each in reads.items()}
            wish.done(
                "; ".join(f"{name} cannot be read: {self.unfit[name]}" for name in left) or None,
                {
                    name: {"rows_done": each.rows, "rows_total": each.rows}
                    for name, each in read.items()
                    if each.reason == wish.reason
                },
            )

    def _wanted(self, wish: Resync) -> dict[str, Mapping[str, CollectionRead]]:
        """The streams that it is about, with the reads that count."""
        if wish.collection is None:
            return self.reads
        return {
            stream: {wish.collection: reads[wish.collection]}
            for stream, reads in self.reads.items()
            if wish.collection in reads
        }


def _fulfilled(wish: Resync, reads: Mapping[str, CollectionRead]) -> bool:
    mine = [read for read in reads.values() if read.reason == wish.reason]
    return bool(mine) and all(read.done or read.held_deletes for read in mine)
