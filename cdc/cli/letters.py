"""``cdc dead-letters``: what could not be mapped or applied."""

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output, named
from cdc.cli.repairs import Target

if TYPE_CHECKING:
    from cdc.settings import Settings

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID…", help="Ids of dead letters.")]
OfEntity = Annotated[
    str | None,
    typer.Option("--entity", metavar="E", help="All open ones of it, as accounting.transactions."),
]
All = Annotated[bool, typer.Option("--all", help="All open ones.")]
COLUMNS = ("target", "id", "entity", "stage", "document_id", "path", "reason", "last_seen")

dead_letters = typer.Typer(
    help="What could not be mapped or applied.", no_args_is_help=True, rich_markup_mode=None
)


@dead_letters.command("list")
def list_letters(
    entity: OfEntity = None,
    closed: Annotated[bool, typer.Option("--closed", help="Also those dealt with.")] = False,
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Dead letters that are still to be dealt with.

    \b
    cdc dead-letters list
    cdc dead-letters list --entity accounting.transactions --json
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import list_letters

        pages = list_letters(known, entity=entity, target=target, closed=closed)
        await output.listing("dead_letters", pages, COLUMNS)
        return 0

    execute(common(config, as_json, debug, settings), work)


@dead_letters.command("show")
def show_letter(
    letter_id: Annotated[int, typer.Argument(metavar="ID")],
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """One dead letter, whole.

    \b
    cdc dead-letters show 17
    """

    async def work(known: "Settings", output: Output) -> int:
        found = await _named(known, [letter_id], target)
        document = found[0] if len(found) == 1 else {"dead_letters": found}
        output.result(document, lambda: chain.from_iterable(map(named, found)))
        return 0

    execute(common(config, as_json, debug, settings), work)


async def _named(known: "Settings", ids: list[int], target: str | None) -> list[dict[str, Any]]:
    """The letters of these ids, closed ones, too; raises where one does not exist."""
    from cdc.app.errands import list_letters
    from cdc.runtime.errors import SettingsError

    pages = list_letters(known, ids, target=target, closed=True)
    found = [letter async for page in pages for letter in page] if ids else []
    if missing := sorted(set(ids) - {letter["id"] for letter in found}):
        names = ", ".join(map(str, missing))
        raise SettingsError(f"no dead letter {names}", hint="see `cdc dead-letters list --closed`")
    return found


@dead_letters.command("retry")
def retry_letters(
    ids: Ids = None,
    entity: OfEntity = None,
    every: All = False,
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Try again. Applied here, or the source's owner is asked to read the document again.

    \b
    cdc dead-letters retry 17 18
    cdc dead-letters retry --entity accounting.transactions
    """
    _said_which(ids, entity, every)

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import retry_letters

        await _named(known, ids or [], target)
        done = await retry_letters(known, ids or (), entity, target=target)
        output.result(
            {"ok": not done["refused"], **done},
            lambda: [f"{name}: {', '.join(map(str, ids)) or 'none'}" for name, ids in done.items()],
        )
        return 1 if done["refused"] else 0

    execute(common(config, as_json, debug, settings), work)


@dead_letters.command("drop")
def drop_letters(
    ids: Ids = None,
    entity: OfEntity = None,
    every: All = False,
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Close dead letters for good, without applying them.

    \b
    cdc dead-letters drop 17
    """
    _said_which(ids, entity, every)

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import drop_letters

        await _named(known, ids or [], target)
        done = await drop_letters(known, ids or (), entity, target=target)
        nothing = "already_closed" if ids else "none is open"
        said = f"dropped: {', '.join(map(str, done))}" if done else nothing
        output.result({"ok": True, "dropped": done}, lambda: [said])
        return 0

    execute(common(config, as_json, debug, settings), work)


def _said_which(ids: list[int] | None, entity: str | None, every: bool) -> None:
    if sum((bool(ids), entity is not None, every)) != 1:
        raise typer.BadParameter("say which: ids, --entity or --all", param_hint="ID…")
