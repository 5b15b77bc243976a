"""What persons ask of a source: whole reads, single objects again. Outlives its sessions."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cdc.begin import Lost
from cdc.cursors import CollectionRead
from cdc.runtime.errors import LedgerError
from cdc.stream_reader import StreamReader
from cdc.whole_read import LookUp


@dataclass(frozen=True, slots=True)
class Resync:
    """Read whole. ``collection`` None: all. ``done``: called when it is published to its end.

    ``name`` tells one wish from another over restarts. ``accept``: a cursor of another cluster is
    meant. ``deletes_allowed``: mass deletes are meant.
    """

    name: str
    collection: str | None = None
    accept: bool = False
    deletes_allowed: bool = False
    done: Callable[[], None] = lambda: None

    @property
    def reason(self) -> str:
        return f"resync {self.name}"


@dataclass(slots=True)
class Wishes:
    """All that is asked for and not done. ``lost``: the position is given up at the next start."""

    resyncs: list[Resync] = field(default_factory=list)
    look_ups: list[LookUp] = field(default_factory=list)
    lost: Lost | None = None
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

    def settle(self, reads: Mapping[str, CollectionRead]) -> None:
        """What these reads, now published, have fulfilled is done."""
        for wish in list(self.resyncs):
            mine = [read for read in reads.values() if read.reason == wish.reason]
            if mine and all(read.done or read.held_deletes for read in mine):
                self.resyncs.remove(wish)
                wish.done()
