"""Where each assigned partition is gone on from: read from Postgres, held against the topics.

Asked at every start of a session and after every rebalance, so it asks Kafka no more than it must:
the topics' ids always, first and last offsets only where a row is missing or in doubt.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from cdc.runtime.errors import Unavailable, Unfit
from cdc.runtime.postgres import Connection
from consumers.feed import Feed
from consumers.offsets import (
    GapReason,
    Span,
    Start,
    Stored,
    decide,
    read_offsets,
    settle_offsets,
)
from consumers.rows import Place
from consumers.settings import ConsumerSettings

TopicIds = Callable[[Iterable[str]], Awaitable[Mapping[str, str]]]

TRUNCATED_SIGHTS = 3
"""An end below a stored offset must be seen so often: a broker that starts shows less at first."""


class Placing:
    """One target's. ``topic_ids``: those of the last placing."""

    def __init__(self, settings: ConsumerSettings, feed: Feed, ask_topic_ids: TopicIds) -> None:
        self.topic_ids: dict[str, str] = {}
        self._settings = settings
        self._feed = feed
        self._ask_topic_ids = ask_topic_ids
        self._truncated_sights = 0

    async def place(self, connection: Connection) -> dict[Place, Start]:
        """Puts the feed where the offset rows say, having brought these up to date.

        The feed stays unplaced where it was assigned anew meanwhile.
        """
        generation, assigned = self._feed.generation, self._feed.assigned()
        self.topic_ids = await self._known_topics()
        self._feed.check_partitions()
        stored = await read_offsets(connection, self._settings.group)
        doubted = {place for place in assigned if self._doubts(place, stored.get(place))}
        spans = await self._feed.spans(doubted) if doubted else {}
        gap_after = self._settings.limits.gap_after_seconds
        starts = {}
        for place in assigned:
            if place in spans:
                span = Span(self.topic_ids[place.topic], *spans[place])
                starts[place] = decide(stored.get(place), span, gap_after)
            else:
                row = stored[place]
                starts[place] = Start(row.topic_id, row.next_offset, row.gap_end)
        self._believe(starts)
        await settle_offsets(connection, self._settings.group, stored, starts)
        self._feed.place({place: start.offset for place, start in starts.items()}, generation)
        return starts

    async def check_topics(self) -> None:
        """Gives the positions up where a topic was made anew under us."""
        if self._feed.positioned and await self._known_topics() != self.topic_ids:
            self._feed.lose()

    def _doubts(self, place: Place, stored: Stored | None) -> bool:
        return (
            self._feed.refused
            or stored is None
            or stored.topic_id != self.topic_ids[place.topic]
            or stored.silent_seconds > self._settings.limits.gap_after_seconds
        )

    def _believe(self, starts: Mapping[Place, Start]) -> None:
        cut = [place for place, start in starts.items() if start.gap is GapReason.TRUNCATED]
        if not cut:
            self._truncated_sights = 0
        elif self._truncated_sights < TRUNCATED_SIGHTS:
            self._truncated_sights += 1
            raise Unavailable(
                "the log ends before the stored offset", operation="consume", subject=str(cut[0])
            )

    async def _known_topics(self) -> dict[str, str]:
        found = dict(await self._ask_topic_ids(self._settings.topics))
        missing = sorted(set(self._settings.topics) - set(found))
        if missing:
            raise Unfit(
                f"topics are missing: {', '.join(missing)}",
                operation="consume",
                hint="`cdc topics` creates them",
            )
        return found
