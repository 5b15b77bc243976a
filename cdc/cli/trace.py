"""``cdc trace``: from a row to the event that made it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output, named
from cdc.cli.repairs import Target

if TYPE_CHECKING:
    from cdc.settings import Settings


def trace(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="As accounting.transactions.")],
    row_id: Annotated[str, typer.Argument(metavar="ID", help="The row's id.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Only of this source.")
    ] = None,
    target: Target = None,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Where a row comes from: its event, and whether the two agree. Exit 1 where they do not.

    \b
    cdc trace accounting.transactions 65f1c0ffee0ddba11ca5cade
    cdc trace budget.transactions 9c1d --source ynab --json
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import trace

        found = await trace(known, table, row_id, source=source, target=target)
        ok = all(each["agrees"] is not False for each in found)
        output.result({"ok": ok, "traced": found}, lambda: _lines(table, found))
        return 0 if ok else 1

    execute(common(config, as_json, debug, settings), work)


def _lines(table: str, found: list[dict[str, Any]]) -> Iterator[str]:
    for each in found:
        row, event = each["row"], each["event"]
        place = f"{row['topic']}:{row['partition']}"
        owner = f"source {row['source']}, book {row['book']}, target {each['target']}"
        yield f"{table} {row['id']} ({owner})"
        yield from (f"  {line}" for line in named(row))
        yield f"from {place} at offset {row['offset']}"
        if event is not None:
            value = event["value"]
            told = {"op": value["op"], **value["source"], "published_at": event["published_at"]}
            yield from (f"  {line}" for line in named(told | event["headers"]))
            for side in ("before", "after"):
                yield f"  {side}: {orjson.dumps(value.get(side)).decode()}"
        if each["agrees"] is None:
            yield f"whether it is right cannot be told: {each['reason']}"
        elif each["agrees"]:
            yield "the row is what the event says"
        else:
            part = f"{place} --from {row['offset']} --to {row['offset'] + 1}"
            heal = f"cdc replay {part} --target {each['target']}"
            yield f"the row is NOT what the event says; `{heal} --dry-run` tells what heals"
