"""The same purchase through two feeds: found, scored, linked; counted once by a view.

Parameters: ``target``; ``dry_run`` (tell, write nothing); or, in place of looking: ``confirm`` and
``reject`` (ids of ``budget.matches``, with commas), ``undo`` (a job's id: all that it confirmed is
rejected). Rows are never changed: a match is a row of its own, and ``budget.transactions_once``
leaves out the other one while it is confirmed.

What a person decided stays, and follows a purchase from its pending row to the posted one. It is
proposed again, with the reason, only where one of its rows is deleted and another took its place.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
import orjson

from cdc.jobs.matching import DAYS_MAX, AccountPair, Side, link_accounts, pairs
from cdc.jobs.model import Job, Params, Result
from cdc.jobs.tools import Said, Tools
from cdc.runtime.errors import Refused, Unavailable
from cdc.runtime.postgres import Connection, session, transaction, translated
from schemas.sql import query

EXAMPLES_MAX = 20
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
    """Counts of confirmed and proposed pairs, with the first ones as examples."""
    wish = check(job.params)
    async with session(tools.budget(wish.target)) as connection:
        with translated("lock matches"):
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise Unavailable("another deduplication runs on this database")
        if wish.confirm or wish.reject or wish.undo:
            return Result({"decided": await _decide(connection, wish, job)})
        document = await _search(connection, wish, job, tools)
    tools.log.info("duplicates_detected", count=document["confirmed"] + document["proposed"])
    return Result(document, "duplicates_detected")


class _Tried(Exception):
    """A dry run is over: nothing of it stays."""


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
        async with transaction(connection, "decide matches"):
            for each in await connection.fetch(query("read_matches"), list(wish.confirm)):
                await connection.execute(query("yield_matches"), *each)
            for state, ids, author in steps:
                tag = await connection.execute(
                    query("decide_matches"), state, by, list(ids), author
                )
                decided += int(tag.split()[-1])
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
    document: dict[str, Any] = {}
    with suppress(_Tried):
        async with transaction(connection, "look for duplicates"):
            document = await _searched(connection, wish, job, tools)
            if wish.dry_run:
                raise _Tried
    return document


async def _searched(connection: Connection, wish: Wish, job: Job, tools: Tools) -> dict[str, Any]:
    withdrawn = await _rows(connection, "withdraw_matches")
    await _rows(connection, "drop_doubled_matches")
    followed = await _rows(connection, "follow_matches")
    total: dict[str, Any] = {"confirmed": 0, "proposed": 0, "examples": []}
    await _take_in(connection, await _pending(connection), total, job)
    links = await _links(connection)
    for number, (link, same) in enumerate(links):
        await tools.note({"done": number, "total": len(links), "step": "accounts"})
        await _take_in(connection, await _pairs_of(connection, link, same), total, job)
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
    return int((await connection.execute(query(statement))).split()[-1])


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
        rows = await connection.fetch(query("match_accounts"), DAYS_MAX)
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


async def _pairs_of(connection: Connection, link: AccountPair, same: bool) -> list[Found]:
    """The best pairs of rows of two accounts that nobody has decided about."""
    place = (link.book, link.source, link.account, link.other_source, link.other_account)
    with translated("look for pairs", link.account):
        known = await connection.fetch(query("known_matches"), *place)
        rows = await connection.fetch(query("match_candidates"), *place, DAYS_MAX)
    ends = (link.source, link.other_source)
    rejected = {_ends(row) for row in known if row["state"] == "rejected"}
    confirmed = [row for row in known if row["state"] == "confirmed"]
    taken = {(row["other_source"], row["other_id"]) for row in confirmed}
    taken |= {(row["source"], row["transaction_id"]) for row in confirmed if row["between"]}
    candidates = [
        (one, other)
        for one, other in map(_sides, rows)
        if frozenset({(ends[0], one.id), (ends[1], other.id)}) not in rejected
        and (ends[0], one.id) not in taken
        and (ends[1], other.id) not in taken
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
    connection: Connection, found: list[Found], total: dict[str, Any], job: Job
) -> None:
    for each in found:
        total["confirmed" if each.confirmed else "proposed"] += 1
        if len(total["examples"]) < EXAMPLES_MAX:
            total["examples"].append(each._asdict())
    pairs_of_rows = [(e.book, e.source, e.id, e.other_source, e.other_id) for e in found]
    sure = [ends for ends, each in zip(pairs_of_rows, found, strict=True) if each.confirmed]
    await connection.executemany(query("yield_matches"), sure)
    await connection.executemany(
        query("keep_match"),
        [
            (
                *(*ends, str(each.score), orjson.dumps(each.reason).decode()),
                "confirmed" if each.confirmed else "proposed",
                f"job {job.id}" if each.confirmed else None,
            )
            for ends, each in zip(pairs_of_rows, found, strict=True)
        ],
    )
