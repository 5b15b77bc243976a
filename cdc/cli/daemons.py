"""``cdc run`` and ``cdc consume``: the processes that do not end by themselves."""

from typing import TYPE_CHECKING, Annotated

import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output

if TYPE_CHECKING:
    from cdc.runtime.log import Log
    from cdc.settings import Settings


def run(
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this; repeatable.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Move changes from the sources to Kafka, until told to stop.

    \b
    cdc run
    cdc run --source property --config ledger.toml
    """
    options = common(config, as_json, debug, settings)

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.sources import run

        return _ended(output, await run(known, source or (), make_log(known, debug=debug)))

    execute(options, work, watches_signals=True)


def consume(
    target: Annotated[
        list[str] | None, typer.Option("--target", metavar="NAME", help="Only this; repeatable.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Move events from Kafka to PostgreSQL, until told to stop.

    \b
    cdc consume
    cdc consume --target main
    """
    options = common(config, as_json, debug, settings)

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.targets import consume

        return _ended(output, await consume(known, target or (), make_log(known, debug=debug)))

    execute(options, work, watches_signals=True)


def make_log(settings: "Settings", *, debug: bool) -> "Log":
    """The process's log, as configured."""
    from cdc.runtime import log

    level = "debug" if debug else settings.log.level
    return log.make_log(level=level, style=settings.log.format, secrets=settings.secrets())


def _ended(output: Output, code: int) -> int:
    if output.as_json:
        output.result({"ok": code == 0, "exit_code": code}, list)
    return code
