"""Is the budget in the tables whole and true? Five checks, each one statement of the database.

Parameters: ``level`` (default normal), ``target``. A finding is an error, a warning or a notice; a
level looks for some of them and **tolerates** the others, exactly:

=================  ====================  ==============================  =======================
check              error: never          warning: tolerated by relaxed   notice: also by normal
=================  ====================  ==============================  =======================
orphans            transaction without   of a deleted account; account   balance of the past
                   account, line         without plan; category without  without account
                   without transaction   group; scheduled without
                                         account
duplicate_hashes   one hash twice        one import_id twice in an       equal account, amount,
                                         account                         date and payee
missing_fields     no hash               no currency; account without    no payee, no category
                                         balance or currency
balances           not opening + posted  off by exactly what is          cleared balance differs
                                         pending; another currency
relations          lines or transfer     payee, category or other side   (none)
                   sides do not add up   missing; pending and posted
                                         both live; unequal match
=================  ====================  ==============================  =======================

Strict looks for all, normal for errors and warnings, relaxed for errors. Sums are compared exactly.
A plan's opening balance is zero (it is a transaction); a bank account's is what its first
validation could not explain, and counts from the first day known then.

An issue that a run looked for and did not find closes itself; a run of a milder level leaves those
it does not look for as they are. Rows are never changed. Memory is bounded
by the database (``WORK_MEMORY``); nothing passes through this process.
"""

from typing import NamedTuple

import orjson

from cdc.jobs.model import Job, Params, Result
from cdc.jobs.tools import Said, Tools
from cdc.runtime.errors import Unavailable
from cdc.runtime.postgres import row_count, session, transaction, translated
from schemas.sql import query

LEVELS = {"strict": 1, "normal": 2, "relaxed": 3}
"""The lowest severity that is looked for: 3 error, 2 warning, 1 notice."""
WORK_MEMORY = "64MB"
"""What each sort and each table of a join may take of the database's memory."""
EXAMPLES_MAX = 20
LOCK = 7_204_110_012
"""Two of these jobs would close each other's issues."""
CHECKS = {
    "orphans": ("validate_orphans",),
    "duplicate_hashes": ("validate_hashes",),
    "missing_fields": ("validate_fields",),
    "balances": ("learn_openings", "validate_balances"),
    "relations": ("validate_relations",),
}


class Wish(NamedTuple):
    """How severely, and which target's database."""

    level: str
    target: str | None


def check(params: Params) -> Wish:
    said = Said("validate", params)
    wish = Wish(said.one_of("level", tuple(LEVELS), "normal"), said.text("target"))
    said.nothing_else()
    return wish


async def run(job: Job, tools: Tools) -> Result:
    """The report, stored and returned; ``issues``: open ones of this level, by check.

    All of them stand in ``sync.validation_issues``; the gravest are among the ``examples``.
    """
    wish = check(job.params)
    lowest = LEVELS[wish.level]
    async with session(tools.budget(wish.target)) as connection:
        with translated("validate"):
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise Unavailable("another validation runs on this database")
            report = await connection.fetchval(query("begin_report"), wish.level, job.id)
            await connection.execute(query("make_findings"))
            await connection.execute(f"SET work_mem = '{WORK_MEMORY}'")
        for number, (name, statements) in enumerate(CHECKS.items()):
            await tools.note({"done": number, "total": len(CHECKS), "step": name})
            for statement in statements:
                with translated("validate", name):
                    await connection.execute(query(statement))
        async with transaction(connection, "store issues"):
            await connection.execute(query("keep_findings"), report, lowest)
            tag = await connection.execute(query("close_issues"), report, lowest)
            row = await connection.fetchrow(query("end_report"), report, row_count(tag))
            shown = await connection.fetch(query("report_examples"), report, EXAMPLES_MAX)
    assert row is not None
    found = orjson.loads(row["found"])
    await tools.note({"done": len(CHECKS), "total": len(CHECKS)})
    tools.log.info("data_validation", issues=sum(found.values()), rows=row["transactions"])
    document = {
        "ok": not found,
        "report": report,
        "level": wish.level,
        "transactions": row["transactions"],
        "accounts": row["accounts"],
        "issues": found,
        "opened": row["opened"],
        "closed": row["closed"],
        "examples": [dict(each) for each in shown],
    }
    return Result(document, "data_validation")
