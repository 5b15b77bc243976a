"""The way of changes, seen from outside: what was written to MongoDB, and when Postgres had it.

Looks up by primary key only the rows whose change is still on its way, so that watching costs
nearly nothing. The time of a commit is Postgres' own (`track_commit_timestamp`), not ours.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from compose.demo.compare import id_text
from compose.demo.life import Happening

TABLES = {"users": "owners", "properties": "properties", "payments": "transactions"}
SHOWN_ARRIVALS = 12
RATE_SECONDS = 5.0
CLOCK_TICK_SECONDS = 0.002
"""MongoDB's wall times are cut to milliseconds."""
_LOOK = """
SELECT id, source_time, pg_xact_commit_timestamp(xmin) AS committed,
    topic || '/' || partition || ' @ ' || "offset" AS place
FROM accounting.{table}
WHERE book = $1 AND source = $2 AND id = ANY($3::text[])
"""
_BUSIEST = """
SELECT a.name, a.owner_name, a.currency, a.running_balance, a.total_income, a.total_expenses,
    t.transactions
FROM accounting.property_accounts_live AS a
JOIN accounting.account_totals AS t
    ON t.book = a.book AND t.source = a.source AND t.property_id = a.id AND t.currency = a.currency
WHERE a.book = $1 AND a.source = $2
ORDER BY t.transactions DESC, a.id LIMIT $3
"""
_COUNTS = """
SELECT (SELECT count(*) FROM accounting.properties_live WHERE book = $1 AND source = $2)
    + (SELECT count(*) FROM accounting.owners_live WHERE book = $1 AND source = $2)
    + (SELECT count(*) FROM accounting.transactions_live WHERE book = $1 AND source = $2)
"""
_STATE = "SELECT state->>'state' FROM sync.observed WHERE kind = 'source' AND name = $1"
_LETTERS = "SELECT count(*) FROM sync.open_dead_letters WHERE book = $1 AND source = $2"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A change that is in Postgres. `place`: the Kafka record it came by."""

    happening: Happening
    milliseconds: float
    place: str


class Way:
    """Counts and times of the changes of one source."""

    def __init__(self, postgres: "asyncpg.Connection[asyncpg.Record]", book: str, source: str):
        self._postgres = postgres
        self._whose = (book, source)
        self._waiting: dict[tuple[str, str], list[Happening]] = {}
        self._recent: deque[float] = deque()
        self.written = self.arrived = self.unmappable = 0
        """What was written has arrived, is under way, or cannot become a row as it stands."""
        self.calm_since = 0.0
        """Times of changes before it are shown, not counted: one of our processes was dead."""
        self.milliseconds: list[float] = []
        self.last: deque[Arrival] = deque(maxlen=SHOWN_ARRIVALS)

    def add(self, happenings: Iterable[Happening]) -> None:
        """These were just acknowledged by MongoDB."""
        for each in happenings:
            self.written += 1
            self._recent.append(time.time())
            if not each.mappable:
                self.unmappable += 1
            else:
                key = (TABLES[each.collection], id_text(each.id))
                self._waiting.setdefault(key, []).append(each)

    async def look(self) -> None:
        """See which of the changes under way have arrived."""
        for table in TABLES.values():
            ids = [id_ for kind, id_ in self._waiting if kind == table]
            if not ids:
                continue
            rows = await self._postgres.fetch(_LOOK.format(table=table), *self._whose, ids)
            for row in rows:
                self._judge((table, row["id"]), row)

    def _judge(self, key: tuple[str, str], row: asyncpg.Record) -> None:
        seen: datetime = row["source_time"]
        newest = seen.timestamp() + CLOCK_TICK_SECONDS
        waiting = self._waiting[key]
        there = [each for each in waiting if each.began <= newest]
        if not there:
            return
        left = [each for each in waiting if each.began > newest]
        if left:
            self._waiting[key] = left
        else:
            del self._waiting[key]
        self.arrived += len(there)
        took = (row["committed"] - seen).total_seconds() * 1000
        if there[-1].began > self.calm_since:
            self.milliseconds.append(took)
        self.last.append(Arrival(there[-1], took, row["place"]))

    @property
    def under_way(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest change that is not in Postgres yet."""
        oldest = min((each[0].began for each in self._waiting.values()), default=None)
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def waiting_since_before(self, moment: float) -> int:
        """How many changes written before `moment` (Unix seconds) are still under way."""
        return sum(one.began < moment for each in self._waiting.values() for one in each)

    @property
    def per_second(self) -> float:
        """Changes written, over the last seconds."""
        while self._recent and self._recent[0] < time.time() - RATE_SECONDS:
            self._recent.popleft()
        return len(self._recent) / RATE_SECONDS

    def percentile(self, share: float) -> float | None:
        """Of the times from MongoDB's commit to Postgres', in milliseconds."""
        ordered = sorted(self.milliseconds)
        return ordered[int(share * (len(ordered) - 1))] if ordered else None

    async def busiest(self, count: int) -> list[asyncpg.Record]:
        """The properties with the most transactions, with their balances."""
        return await self._postgres.fetch(_BUSIEST, *self._whose, count)

    async def rows(self) -> int:
        """Live rows of all three tables."""
        return int(await self._postgres.fetchval(_COUNTS, *self._whose))

    async def source_state(self) -> str | None:
        """As the source itself said last; None when it said nothing yet."""
        state: str | None = await self._postgres.fetchval(_STATE, self._whose[1])
        return state

    async def dead_letters(self) -> int:
        """Open ones: documents that became no row."""
        return int(await self._postgres.fetchval(_LETTERS, *self._whose))
