"""The same purchase through two feeds: found, scored, linked; counted once by a view.

Parameters: ``target``; ``dry_run`` (tell, write nothing); and, in place of looking: ``confirm`` and
``reject`` (ids of ``budget.matches``, with commas), ``undo`` (a job's id: all that it confirmed is
rejected). Rows are never changed: a match is a row of its own, and ``budget.transactions_once``
leaves out the other one while it is confirmed.

What a person decided stays, and follows a purchase from its pending row to the posted one. It is
proposed again, with the reason, only where one of its rows is deleted and another took its place.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import orjson

from cdc.jobs.matching import DAYS_MAX, AccountPair, Side, link_accounts, pairs
from cdc.jobs.model import Job, Params, Result
from cdc.jobs.tools import Said, Tools
from cdc.runtime.errors import Refused, Unavailable
from cdc.runtime.postgres import Connection, row_count, session, transaction, translated
from schemas.sql import query

EXAMPLES_MAX = 20
PART_ROWS = 2_000
"""So many possible pairs are in memory, and all of the last one's amount."""
ACCOUNT_PAIRS_MAX = 100_000
LOCK = 7_204_110_011
"""Two of these jobs would take the same rows for different pairs."""


class Wish(NamedTuple):
    """``confirm``, ``reject``, ``undo``: decisions; with any of them nothing is looked for."""

    target: str | None
    dry_run: bool
    confirm: tuple[int, ...]
    reject: tuple[int, ...]
    undo: tuple[int, ...]


def check(params: Params) -> Wish:
    said = Said("deduplicate", params)
    wish = Wish(
        said.text("target"),
        said.flag("dry_run"),
        said.numbers("confirm"),
        said.numbers("reject"),
        said.numbers("undo"),
    )
    said.nothing_else()
    return wish


class Found(NamedTuple):
    """A pair of rows, and why. ``reason``: the rule, and the score's parts."""

    book: str
    source: str
    id: str
    other_source: str
    other_id: str
    score: float
    reason: dict[str, Any]
    confirmed: bool


async def run(job: Job, tools: Tools) -> Result:
    """Counts of confirmed and proposed pairs, with the first ones as examples; or of decisions."""
    wish = check(job.params)
    async with session(tools.budget(wish.target)) as connection:
        with translated("lock matches"):
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise Unavailable("another deduplication runs on this database")
        if wish.confirm or wish.reject or wish.undo:
            decided = await _decide(connection, wish, job)
            return Result({"dry_run": wish.dry_run, "decided": decided})
        document = await _search(connection, wish, job, tools)
    tools.log.info("duplicates_detected", count=document["confirmed"] + document["proposed"])
    return Result(document, "duplicates_detected")


async def _decide(connection: Connection, wish: Wish, job: Job) -> int:
    """How many are decided otherwise than before; what a job confirmed gives way."""
    by = job.requested_by or "unknown"
    steps: list[tuple[str, tuple[int, ...], str | None]] = [
        ("confirmed", wish.confirm, None),
        ("rejected", wish.reject, None),
        *(("rejected", (), f"job {each}") for each in wish.undo),
    ]
    decided = 0
    try:
        async with transaction(connection, "decide matches", dry_run=wish.dry_run):
            for each in await connection.fetch(query("read_matches"), list(wish.confirm)):
                await connection.execute(query("yield_matches"), *each)
            for state, ids, author in steps:
                tag = await connection.execute(
                    query("decide_matches"), state, by, list(ids), author
                )
                decided += row_count(tag)
    except Refused as error:
        raise Refused(
            "one of these rows is matched with another one by a person's word",
            operation="decide matches",
            hint="reject that match first",
            code=error.code,
        ) from error
    return decided


async def _search(connection: Connection, wish: Wish, job: Job, tools: Tools) -> dict[str, Any]:
    """In one transaction: a dry run does and tells the same, and leaves nothing."""
    with translated("analyze"):  # after a first read the database knows nothing of the rows yet
        await connection.execute("ANALYZE budget.transactions, budget.matches")
    async with transaction(connection, "look for duplicates", dry_run=wish.dry_run):
        return await _searched(connection, wish, job, tools)


async def _searched(connection: Connection, wish: Wish, job: Job, tools: Tools) -> dict[str, Any]:
    withdrawn = await _rows(connection, "withdraw_matches")
    await _rows(connection, "drop_doubled_matches")
    followed = await _rows(connection, "follow_matches")
    worn = await _worn(connection)
    total: dict[str, Any] = {"confirmed": 0, "proposed": 0, "examples": []}
    await _take_in(connection, await _pending(connection), total, job, worn)
    links = await _links(connection)
    for number, (link, same) in enumerate(links):
        await tools.note({"done": number, "total": len(links), "step": "accounts"})
        async for found in _pairs_of(connection, link, same):
            await _take_in(connection, found, total, job, worn)
    linked = sum(same for _, same in links)
    return {
        "dry_run": wish.dry_run,
        "accounts_linked": linked,
        "accounts_possible": len(links) - linked,
        "followed": followed,
        "withdrawn": withdrawn,
        **total,
    }


async def _rows(connection: Connection, statement: str) -> int:
    return row_count(await connection.execute(query(statement)))


async def _worn(connection: Connection) -> set[tuple[str, str, str]]:
    """(book, source, id) of the ends of confirmed matches that lost a row."""
    cursor = await _joined(connection, "worn_matches")
    ends = set()
    while rows := await cursor.fetch(PART_ROWS):
        for row in rows:
            ends.add((row["book"], row["source"], row["transaction_id"]))
            ends.add((row["book"], row["other_source"], row["other_id"]))
    return ends


async def _pending(connection: Connection) -> list[Found]:
    with translated("look for pending pairs"):
        rows = await connection.fetch(query("pending_pairs"))
    return [
        Found(
            *(row["book"], row["source"], row["id"], row["source"], row["other_id"]),
            *(1.0, {"rule": "pending"}, True),
        )
        for row in rows
    ]


async def _links(connection: Connection) -> list[tuple[AccountPair, bool]]:
    with translated("link accounts"):
        cursor = await _joined(connection, "match_accounts", DAYS_MAX)
        rows = await cursor.fetch(ACCOUNT_PAIRS_MAX)
    return link_accounts(
        [
            AccountPair(
                row["book"],
                *(row["source"], row["account"], row["feed"]),
                *(row["other_source"], row["other_account"], row["other_feed"]),
                row["votes"],
                row["told"],
            )
            for row in rows
        ]
    )


async def _pairs_of(
    connection: Connection, link: AccountPair, same: bool
) -> AsyncIterator[list[Found]]:
    """The best pairs of rows of two accounts that nobody has decided about, some amounts a time."""
    place = (link.book, link.source, link.account, link.other_source, link.other_account)
    with translated("look for pairs", link.account):
        decided = Decided.of(await connection.fetch(query("known_matches"), *place))
        cursor = await _joined(connection, "match_candidates", *place, DAYS_MAX)
        part: list[asyncpg.Record] = []
        while rows := await cursor.fetch(PART_ROWS):
            ends = [n for n in range(1, len(rows)) if _amount(rows[n]) != _amount(rows[n - 1])]
            if part and _amount(rows[0]) != _amount(part[-1]):
                ends.insert(0, 0)
            if ends:
                yield await asyncio.to_thread(_best, part + rows[: ends[-1]], link, same, decided)
                part, rows = [], rows[ends[-1] :]
            part += rows
        yield await asyncio.to_thread(_best, part, link, same, decided)


async def _joined(connection: Connection, statement: str, *values: Any) -> Any:
    """A cursor over a join of many rows; never row by row, whatever statistics are missing."""
    await connection.execute("SET LOCAL enable_nestloop = off")
    cursor = await connection.cursor(query(statement), *values)
    await connection.execute("SET LOCAL enable_nestloop = on")
    return cursor


def _amount(row: asyncpg.Record) -> tuple[Any, Any]:
    """What both rows of a pair have: pairs of another amount have nothing to do with it."""
    return row["amount"], row["currency"]


class Decided(NamedTuple):
    """Of two accounts. ``taken``: rows that can be in no other pair."""

    rejected: frozenset[frozenset[tuple[str, str]]]
    taken: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, known: list[asyncpg.Record]) -> "Decided":
        confirmed = [row for row in known if row["state"] == "confirmed"]
        taken = {(row["other_source"], row["other_id"]) for row in confirmed}
        taken |= {(row["source"], row["transaction_id"]) for row in confirmed if row["between"]}
        rejected = frozenset(_ends(row) for row in known if row["state"] == "rejected")
        return cls(rejected, frozenset(taken))


def _best(
    rows: list[asyncpg.Record], link: AccountPair, same: bool, decided: Decided
) -> list[Found]:
    """Computed in a thread: the daemon's other work goes on."""
    ends = (link.source, link.other_source)
    candidates = [
        (one, other)
        for one, other in map(_sides, rows)
        if frozenset({(ends[0], one.id), (ends[1], other.id)}) not in decided.rejected
        and (ends[0], one.id) not in decided.taken
        and (ends[1], other.id) not in decided.taken
    ]
    return [
        Found(
            *(link.book, ends[0], pair.one.id, ends[1], pair.other.id, pair.score),
            {"rule": "feeds", **pair.parts},
            pair.confirmed,
        )
        for pair in pairs(candidates, same_account=same)
    ]


def _ends(match: asyncpg.Record) -> frozenset[tuple[str, str]]:
    return frozenset(
        {(match["source"], match["transaction_id"]), (match["other_source"], match["other_id"])}
    )


def _sides(row: asyncpg.Record) -> tuple[Side, Side]:
    days = (row["date"], row["authorized_date"])
    other_days = (row["other_date"], row["other_authorized_date"])
    return (
        Side(row["id"], tuple(filter(None, days)), tuple(row["texts"])),
        Side(row["other_id"], tuple(filter(None, other_days)), tuple(row["other_texts"])),
    )


async def _take_in(
    connection: Connection,
    found: list[Found],
    total: dict[str, Any],
    job: Job,
    worn: set[tuple[str, str, str]],
) -> None:
    """Stores them; ``worn``: ends of matches that give way."""
    for each in found:
        total["confirmed" if each.confirmed else "proposed"] += 1
        if len(total["examples"]) < EXAMPLES_MAX:
            total["examples"].append(each._asdict())
    for each in found:
        ends = {(each.book, each.source, each.id), (each.book, each.other_source, each.other_id)}
        if each.confirmed and ends & worn:
            await connection.execute(query("yield_matches"), *_place(each))
    await connection.executemany(
        query("keep_match"),
        [
            (
                *(*_place(each), str(each.score), orjson.dumps(each.reason).decode()),
                "confirmed" if each.confirmed else "proposed",
                f"job {job.id}" if each.confirmed else None,
            )
            for each in found
        ],
    )


def _place(pair: Found) -> tuple[str, ...]:
    return pair.book, pair.source, pair.id, pair.other_source, pair.other_id
