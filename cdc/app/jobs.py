"""Jobs from the outside: the service that runs them, and what every door does with them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdc.app.process import Process
from cdc.building import CONTROL_BACKOFF, backoff_seconds, control_connect
from cdc.runtime.errors import SettingsError
from cdc.runtime.retry import wait
from cdc.runtime.services import Service
from cdc.runtime.settings_reader import did_you_mean
from cdc.settings import Settings

if TYPE_CHECKING:
    from cdc.runtime.postgres import Connect

START_SECONDS = 2.0
"""Jobs are loaded only then: no source waits for them."""
STATEMENT_SECONDS_MAX = 900.0


def service(process: Process) -> Service:
    """Runs jobs until told to stop."""

    async def run(stop: asyncio.Event) -> None:
        if await wait(stop, START_SECONDS):
            return
        from cdc.jobs.runner import JobRunner
        from cdc.jobs.tools import Tools

        settings = process.settings

        async def nothing(progress: Mapping[str, Any], cursor: Any = None) -> None:
            """A job's own takes its place."""

        await JobRunner(
            control_connect(settings),
            Tools(
                control=control_connect(settings),
                budget=lambda target: budget_connect(settings, target),
                sources=frozenset(settings.sources),
                note=nothing,
                log=process.log,
            ),
            runner=process.instance,
            log=process.log,
            backoff=lambda attempt: backoff_seconds(attempt, CONTROL_BACKOFF),
            count=process.metrics.job_ended,
        ).run(stop)

    return run


def budget_connect(settings: Settings, target: str | None) -> "Connect":
    """The database of the named target, or of the only one that has the budget."""
    from cdc.runtime.postgres import PostgresTarget

    able = {name: each for name, each in settings.targets.items() if "budget" in each.domains}
    if target is None and len(able) == 1:
        target = next(iter(able))
    if target not in able:
        said = f"target {target} has no budget" if target else "which target is not said"
        raise SettingsError(said, hint=f"add target=…, one of {', '.join(able) or 'none'}")
    dsn = able[target].dsn.get_secret_value()
    return PostgresTarget(dsn=dsn, statement_seconds_max=STATEMENT_SECONDS_MAX).connect


async def enqueue(
    settings: Settings, kind: str, params: Mapping[str, str], unique_key: str | None
) -> dict[str, Any]:
    """Asks for a job, its parameters checked: ``{"job", "already_there"}``."""
    from cdc.app.errands import asker
    from cdc.jobs import model
    from cdc.jobs.kinds import kind as known
    from cdc.runtime.postgres import session

    connect = control_connect(settings)
    known(kind).check(params)
    async with session(connect) as connection:
        made = await model.enqueue(connection, kind, params, by=asker(), unique_key=unique_key)
    return {"job": made.id, "already_there": not made.is_new}


async def list_jobs(
    settings: Settings, state: str | None, kind: str | None, rows_max: int
) -> Sequence[dict[str, Any]]:
    """Newest first. Raises ``SettingsError`` for a state or kind that no job can have."""
    from cdc.jobs import model
    from cdc.jobs.kinds import kind as known
    from cdc.runtime.postgres import session

    if state is not None and state not in model.STATES:
        raise SettingsError(f"no state of a job {state}", hint=did_you_mean(state, model.STATES))
    if kind is not None:
        known(kind)
    async with session(control_connect(settings)) as connection:
        return await model.find(connection, state=state, kind=kind, rows_max=rows_max)


async def show_job(settings: Settings, job_id: int) -> dict[str, Any]:
    """Raises ``SettingsError`` where there is none of that id."""
    from cdc.jobs import model
    from cdc.runtime.postgres import session

    async with session(control_connect(settings)) as connection:
        found = await model.find(connection, job_id)
    if not found:
        raise SettingsError(f"no job {job_id}", hint="see `cdc jobs list`")
    return found[0]


async def cancel_job(settings: Settings, job_id: int) -> str:
    """``cancelled``, ``asked`` (it runs and is told), or ``already_`` and how it ended."""
    from cdc.jobs import model
    from cdc.runtime.postgres import session

    async with session(control_connect(settings)) as connection:
        state = await model.cancel(connection, job_id)
    if state is None:
        return f"already_{(await show_job(settings, job_id))['state']}"
    return state if state == model.CANCELLED else "asked"
