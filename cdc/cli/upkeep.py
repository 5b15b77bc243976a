"""``cdc migrate``, ``topics``, ``check`` and ``status``: before a run, and beside it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc.cli.options import Config, Debug, Json, Set, common, execute
from cdc.cli.output import Output, table
from cdc.cli.repairs import reads
from cdc.runtime.settings_reader import FaultySettings

if TYPE_CHECKING:
    from cdc.settings import Settings

MISSING_EXIT = 3
Check = Annotated[bool, typer.Option("--check", help="Only tell; change nothing.")]


def migrate(
    check: Check = False,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Bring every database to the declared schema. Safe to repeat.

    \b
    cdc migrate
    cdc migrate --check
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import migrate

        found = await migrate(known, check=check)
        ok = not any(each["missing"] for each in found)
        output.result({"ok": ok, "databases": found}, lambda: _migrated(found))
        if not ok:
            output.say("run `cdc migrate`" if check else "a newer version has been here")
        return 0 if ok else MISSING_EXIT

    execute(common(config, as_json, debug, settings), work)


def _migrated(found: list[dict[str, Any]]) -> Iterator[str]:
    for each in found:
        where = f"{each['database']} ({each['address']})"
        if each["applied"]:
            yield f"{where}: applied {', '.join(each['applied'])}"
        if each["missing"]:
            yield f"{where}: {each['missing']}"
        elif not each["applied"]:
            yield f"{where}: already_current"


def topics(
    check: Check = False,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Create the topics that are missing. What differs is told, never changed.

    \b
    cdc topics
    cdc topics --check
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.errands import bring_up_topics

        found = await bring_up_topics(known, check=check)
        ok = not found["differences"]
        output.result({"ok": ok, **found}, lambda: _topics(found))
        return 0 if ok else MISSING_EXIT

    execute(common(config, as_json, debug, settings), work)


def _topics(found: Mapping[str, Any]) -> Iterator[str]:
    for name in found["created"]:
        yield f"created {name}"
    for each in found["differences"]:
        yield each["text"]
    if not found["created"] and not found["differences"]:
        yield f"already_current: {len(found['topics'])} topics"


def check(
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Documents to try of each collection.")
    ] = 200,
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Tell what would stop a run, and the fix. One line for each check.

    \b
    cdc check
    cdc check --sample 1000 --json
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.app.checks import check_all

        found = await check_all(known, sample=sample)
        output.result(found.document(), lambda: found.lines(output.outcome))
        return found.exit_code

    execute(common(config, as_json, debug, settings), work, tell_faults=_failed_settings)


def _failed_settings(faulty: FaultySettings, output: Output) -> None:
    """Faults of the settings, as checks that failed."""
    checks = [
        {
            "name": "configuration",
            "subject": each.place,
            "outcome": "fail",
            "detail": f"{each.value}: {each.reason}" if each.value else each.reason,
            "fix": each.fix,
        }
        for each in faulty.faults
    ]
    document = {"ok": False, "checks": checks, "mappings": []}
    fail = output.outcome("fail")
    output.result(document, lambda: [f"{fail}  configuration  {each}" for each in faulty.faults])


def status(
    config: Config = None,
    as_json: Json = False,
    settings: Set = None,
    debug: Debug = False,
) -> None:
    """Show sources, consumers, lag and dead letters.

    \b
    cdc status
    cdc status --json | jq .sources
    """

    async def work(known: "Settings", output: Output) -> int:
        from cdc.operation.status import status

        found = await status(known)
        output.result(found.document, lambda: _status(found.document))
        for name, problem in found.problems.items():
            output.say(f"{name}: {problem}")
        return MISSING_EXIT if found.problems else 0

    execute(common(config, as_json, debug, settings), work)


def _status(document: Mapping[str, Any]) -> Iterator[str]:
    yield from table(
        ("SOURCE", "STATE", "LAG S", "EVENTS SINCE START", "REASON"),
        [
            (
                each["name"],
                each["state"],
                each["lag_seconds"],
                each["events_total"],
                "; ".join(filter(None, (each["reason"], *reads(each.get("reading", {}))))),
            )
            for each in document["sources"]
        ],
    )
    yield ""
    rows = _topics_of(document)
    yield from (
        table(("TARGET", "TOPIC", "PARTITIONS", "OFFSETS", "LAG"), rows)
        if rows
        else ("no topic has records yet",)
    )
    yield ""
    for name, value in (
        ("open dead letters", document["dead_letters"]["open"]),
        ("transactions without a known property", document["unassigned_transactions"]),
        ("transactions in another currency", document["other_currency_transactions"]),
    ):
        yield f"{name}: {'unknown' if value is None else value}"
    for each in document["integration_errors"] or ():
        where = " ".join(filter(None, (each["source"], each["stream"], each["endpoint"])))
        objects = f" in {each['objects']} objects" if each["objects"] else ""
        yield (
            f"integration error {each['category']}: {where}, {each['count']} times{objects}"
            f" since {each['first_seen']}" + (f": {each['detail']}" if each["detail"] else "")
        )


def _topics_of(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row for each topic that has records (or that nothing is known of); partitions summed."""
    by_topic: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in document["consumers"]:
        by_topic.setdefault((each["target"], each["topic"]), []).append(each)
    rows: list[tuple[object, ...]] = []
    for (target, topic), parts in by_topic.items():
        records, lag = _sum(parts, "end_offset"), _sum(parts, "lag_records")
        if records != 0 or lag != 0:
            rows.append((target, topic, len(parts), records, lag))
    return rows


def _sum(parts: list[Mapping[str, Any]], name: str) -> int | None:
    values = [part[name] for part in parts]
    return None if None in values else sum(values)
