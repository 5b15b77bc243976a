"""All commands, under one name."""

from typing import Annotated

import typer

from cdc import __version__
from cdc.cli.daemons import consume, run
from cdc.cli.jobs import jobs
from cdc.cli.letters import dead_letters
from cdc.cli.repairs import replay, resync
from cdc.cli.trace import trace
from cdc.cli.upkeep import check, migrate, status, topics

app = typer.Typer(
    name="cdc",
    help="Financial facts from MongoDB, YNAB and Plaid, through Kafka, into PostgreSQL: once, in "
    "order, exact.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 missing: a server, "
    "or what has to be there (tables, topics, rights, a credential).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(help=app.info.help)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Only what comes before a command."""


for command in (run, consume, migrate, topics, check, status, resync, replay, trace):
    app.command()(command)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(jobs, name="jobs")
