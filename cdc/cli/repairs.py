"""``cdc resync`` and ``cdc replay``: what a person asks for once."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output, named

if TYPE_CHECKING:
    from cdc.settings import Settings

LOOK_SECONDS = 0.5

Target = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="Only in this database.")
]


def resync(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name.")],
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="C", help="Only this collection.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="The cursor is of another cluster: that is meant.")
    ] = False,
    allow_deletes: Annotated[
        bool, typer.Option("--allow-deletes", help="Also where very many rows would be deleted.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress, until the end.")] = False,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Ask for a whole read of a source. Its owner does it, beside its live stream.

    \b
    cdc resync property --wait
    cdc resync property --collection payments
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import ask_resync

        request_id, is_run = await ask_resync(
            known, source, collection=collection, accept=accept, allow_deletes=allow_deletes
        )
        if not is_run:
            output.say(f"nobody runs {source} now: the request is taken at the next start")
        if wait:
            output.say(f"request {request_id}; it goes on if you leave")
            return await _wait(known, output, request_id)
        document = {"ok": True, "request": request_id, "state": "waiting", "is_run": is_run}
        output.result(document, lambda: [f"request {request_id} is waiting"])
        return 0

    execute(common(config, as_json, debug, settings), work)


async def _wait(known: "Settings", output: Output, request_id: int) -> int:
    """Until the request has ended; its progress on a terminal."""
    from cdc.app.errands import look_at_request

    while True:
        found = await look_at_request(known, request_id)
        if found is None or found.ended:
            break
        output.progress(f"{found.state}  {'  '.join(reads(found.progress))}")
        await asyncio.sleep(LOOK_SECONDS)
    output.progress_over()
    state = "gone" if found is None else found.state
    error = None if found is None else found.error
    ok = state == "done"
    output.result(
        {"ok": ok, "request": request_id, "state": state, "error": error},
        lambda: [f"request {request_id} is {state}" + (f": {error}" if error else "")],
    )
    return 0 if ok else 1


def reads(progress: Mapping[str, Any]) -> Iterator[str]:
    """How far whole reads are: rows so far, rate, estimate, as far as they are known."""
    for name, read in progress.items():
        total, left = read.get("rows_total"), read.get("remaining_seconds")
        rate = read.get("rows_per_second")
        of = f" of about {total}" if total is not None else ""
        per_second = f", {rate:.0f}/s" if rate is not None else ""
        rest = f", {left:.0f} s left" if left is not None else ""
        yield f"{name}: {read.get('rows_done', 0)}{of}{per_second}{rest}"


def replay(
    topic: Annotated[str, typer.Argument(metavar="TOPIC[:PARTITION]")],
    start: Annotated[
        str, typer.Option("--from", metavar="OFFSET|TIME", help="As 0 or 2026-03-01T00:00:00Z.")
    ],
    stop: Annotated[
        str | None, typer.Option("--to", metavar="OFFSET|TIME", help="Exclusive; default: now.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would change; change nothing.")
    ] = False,
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Apply a part of a topic again. Missing and damaged rows are made right.

    \b
    cdc replay ledger.accounting.transactions --from 0 --dry-run
    cdc replay ledger.accounting.transactions:3 --from 2026-03-01T00:00:00Z
    """
    name, _, number = topic.partition(":")
    if number and not number.isdecimal():
        raise typer.BadParameter(f"{number} is no partition", param_hint="TOPIC[:PARTITION]")
    first, last = _bound(start, "--from"), None if stop is None else _bound(stop, "--to")

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import replay

        done = await replay(
            known,
            name,
            int(number) if number else None,
            start=first,
            stop=last,
            target=target,
            dry_run=dry_run,
        )
        document = done.document()
        output.result(document, lambda: named(document))
        if dry_run:
            output.say("nothing was changed (--dry-run)")
        return 0

    execute(common(config, as_json, debug, settings), work)


def _bound(text: str, option: str) -> int | datetime:
    """An offset, or a time; a time without a zone is UTC."""
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is neither an offset nor a time as 2026-03-01T00:00:00Z", param_hint=option
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
