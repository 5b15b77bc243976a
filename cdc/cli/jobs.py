"""``cdc jobs``: ask for work that ends, look at it, watch it, stop it."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output, table

if TYPE_CHECKING:
    from cdc.settings import Settings

LOOK_SECONDS = 0.5
BAR_CHARACTERS = 30
ENDED = ("done", "failed", "cancelled")
JobId = Annotated[int, typer.Argument(metavar="ID")]

jobs = typer.Typer(
    help="Work that ends: sync, backfill, validate, deduplicate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@jobs.command("run")
def run_job(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="sync, backfill, validate, deduplicate.")
    ],
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Repeatable.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="At most one job, ever, of this key.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it, until its end.")] = False,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Ask for a job; a running `cdc run` does it.

    \b
    cdc jobs run validate --param level=strict --wait
    cdc jobs run sync --param source=ynab
    """
    params = _params(param or ())

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.jobs import enqueue

        made = await enqueue(known, kind, params, key)
        if wait:
            return await _watch(known, output, made["job"])
        state = "already_there" if made["already_there"] else "waiting"
        output.result({"ok": True, **made}, lambda: [f"job {made['job']} is {state}"])
        return 0

    execute(common(config, as_json, debug, settings), work)


def _params(said: "list[str] | tuple[()]") -> dict[str, str]:
    found = {}
    for each in said:
        name, sign, value = each.partition("=")
        if not (name and sign):
            raise typer.BadParameter(f"{each} is not NAME=VALUE", param_hint="--param")
        found[name] = value
    return found


@jobs.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option("--state", help="Only in this state.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of this kind.")] = None,
    rows_max: Annotated[int, typer.Option("--last", min=1, help="At most so many.")] = 50,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Jobs, newest first.

    \b
    cdc jobs list --state failed
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.jobs import list_jobs

        found = await list_jobs(known, state, kind, rows_max)
        columns = ("id", "kind", "state", "attempts", "requested_at", "finished_at", "requested_by")
        rows = [[*(each[column] for column in columns), _reason(each)] for each in found]
        output.result(
            {"jobs": found},
            lambda: table([*map(str.upper, columns), "REASON"], rows) if rows else ["none"],
        )
        return 0

    execute(common(config, as_json, debug, settings), work)


def _reason(job: Mapping[str, Any]) -> str:
    """Why it is not done: the last attempt's error."""
    return job["errors"][-1]["error"] if job["errors"] and job["state"] != "done" else ""


@jobs.command("show")
def show_job(
    job_id: JobId,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """One job, whole.

    \b
    cdc jobs show 17
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.jobs import show_job

        found = await show_job(known, job_id)
        output.result(found, lambda: _whole(found))
        return 0

    execute(common(config, as_json, debug, settings), work)


def _whole(job: Mapping[str, Any]) -> Iterator[str]:
    for name, value in job.items():
        if value not in (None, {}, []):
            plain = isinstance(value, str | int)
            yield f"{name}: {value if plain else orjson.dumps(value).decode()}"


@jobs.command("cancel")
def cancel_job(
    job_id: JobId,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Stop a job; one that runs hears of it at once.

    \b
    cdc jobs cancel 17
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.jobs import cancel_job

        state = await cancel_job(known, job_id)
        output.result({"ok": True, "job": job_id, "state": state}, lambda: [state])
        return 0

    execute(common(config, as_json, debug, settings), work)


@jobs.command("watch")
def watch_job(
    job_id: JobId,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Follow a job to its end. A bar on a terminal, else one JSON document a line.

    \b
    cdc jobs watch 17
    """

    async def work(known: "Settings", output: Output) -> int:
        return await _watch(known, output, job_id)

    execute(common(config, as_json, debug, settings), work)


async def _watch(known: "Settings", output: Output, job_id: int) -> int:
    """Leaving does not stop the job. Exit 0 only where it is done."""
    from cdc.app.jobs import show_job

    shown: tuple[Any, ...] = ()
    on_terminal = sys.stdout.isatty() and not output.as_json
    while True:
        job = await show_job(known, job_id)
        now = (job["state"], job["attempts"], job["progress"])
        if on_terminal:
            output.progress(bar(job))
        elif now != shown:
            _line(job)
        shown = now
        if job["state"] in ENDED:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if on_terminal:
        output.progress_over()
        output.result(job, lambda: _whole(job))
    return 0 if job["state"] == "done" else 1


def _line(job: Mapping[str, Any]) -> None:
    names = ("id", "kind", "state", "attempts", "progress", "result", "errors")
    Output(as_json=True).result({name: job[name] for name in names}, list)


def bar(job: Mapping[str, Any]) -> str:
    """A job's progress as one line: ``running  [#####     ]  50%  balances``."""
    progress = job["progress"]
    done, total = progress.get("done"), progress.get("total")
    parts = [job["state"]]
    if total:
        share = min(1.0, (done or 0) / total)
        filled = round(share * BAR_CHARACTERS)
        parts.append(f"[{'#' * filled}{' ' * (BAR_CHARACTERS - filled)}]  {share:.0%}")
    elif done is not None:
        parts.append(f"{done} done")
    if progress.get("step"):
        parts.append(str(progress["step"]))
    return "  ".join(parts)
