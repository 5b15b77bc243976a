"""The names of ``contract.md``, read from it: what people and dashboards meet is there, as written.

Only names are compared; what stands behind them has tests of its own. What is of later
versions stands in one list here, with nothing in it that exists.
"""

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.cli.commands import app
from cdc.mapping.declared import FieldDeclaration
from cdc.runtime.metrics import Metrics
from cdc.runtime.settings_reader import FaultySettings
from cdc.settings import load
from cdc.settings.tree import SOURCE_TYPES, KafkaSettings
from schemas.entities import ENTITIES
from schemas.topics import cursors_topic, dead_letters_topic, entity_topic_name
from tests.test_tidy import REPOSITORY

CONTRACT = REPOSITORY.parent / "shared" / "contract.md"
LATER_TARGETS = {"nemesis", "soak", "bench-peer", "bench-awkward", "screenshots"}
LATER_TABLES = {"budget.coverage", "sync.schedules"}
LATER_HEADERS = {"traceparent"}
NO_COLUMNS = {"budget.*"}
"""Told in words."""
NOT_COLUMNS = {"boolean", "bytea", "numeric", "book", "map", "apply"}
"""Types and values that stand among the columns."""
SQL = (REPOSITORY / "schemas" / "sql" / "schema.sql").read_text(encoding="utf-8")
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("cdc", "consumers", "schemas")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
)


def section(number: int) -> str:
    if not CONTRACT.exists():
        pytest.skip("contract.md is not beside the repository")
    text = CONTRACT.read_text(encoding="utf-8")
    return text.split(f"\n## {number}. ")[1].split("\n## ")[0]


def spans(text: str) -> list[str]:
    """What stands in backticks, but for blocks."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def rows(number: int) -> list[tuple[str, str]]:
    """A section's table: first and second cell of each row."""
    lines = [line for line in section(number).splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines]
    return [(each[0], " ".join(each[1:])) for each in cells[1:] if len(each) > 1]


def helped(*words: str) -> str:
    return (
        CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
        .invoke(app, [*words, "--help"])
        .output
    )


def test_every_make_target() -> None:
    text = section(1)
    told = {name for line in text.splitlines() for name in re.findall(r"`make ([a-z-]+)", line)}
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"demo", "bench", "crash"} < told
    assert told - targets == LATER_TARGETS


def test_every_command_with_its_options() -> None:
    commands: dict[tuple[str, ...], str] = {}
    for cell, says in rows(1):
        for span in spans(cell):
            program, name, *rest = span.replace("\\", "").split()
            if program == "cdc" and name == "dead-letters":
                commands |= {(name, verb): "" for verb in rest[0].split("|")}
            elif program == "cdc":
                commands[name,] = f"{cell} {says}"
    assert {("run",), ("consume",), ("check",), ("replay",), ("dead-letters", "retry")} <= set(
        commands
    )
    for words, text in commands.items():
        told = set(re.findall(r"--[a-z-]+", text)) | {"--json", "--config", "--help", "--debug"}
        shown = set(re.findall(r"--[a-z-]+", helped(*words)))
        assert told <= shown, (words, told - shown)
    assert {"--entity", "--all"} <= set(re.findall(r"--[a-z-]+", helped("dead-letters", "retry")))
    (line,) = (each for each in section(1).splitlines() if "need no running API" in each)
    assert all("Usage" in helped(name) for name in spans(line))


def test_every_key_of_the_documents() -> None:
    told = {
        key
        for span in spans(section(1))
        if span.startswith("{")
        for key in re.findall(r'"([a-z_0-9]+)"', span)
    }
    assert {"lag_records", "example_ids", "unchanged", "p99_ms"} < told
    demo = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "compose").rglob("*.py"))
    rest = {"violation", "seed", "kafka"}  # the nemesis'; a server's name as an example
    missing = [key for key in told - rest if not re.search(rf"\b{key}\b", CODE + demo)]
    assert not missing


def test_every_setting_of_the_example(tmp_path: Path) -> None:
    text = section(2).split("```toml\n")[1].split("```")[0]
    text = text.replace('"postgresql://…"', '"postgresql://u@h/x"').replace(
        "mongodb://…/", "mongodb://h/"
    )
    assert {"sources", "targets", "kafka", "control", "http"} < set(tomllib.loads(text))
    path = tmp_path / "ledger.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path, variables={})
    except FaultySettings as error:
        unknown = [str(each) for each in error.faults if "unknown key" in each.reason]
        assert not unknown


def test_every_further_setting() -> None:
    text = section(2)
    kafka = next(span for span in spans(text) if span.startswith("[kafka] security"))
    assert set(re.split(r",?\s+", kafka)[1:]) <= set(KafkaSettings.model_fields)
    assert {"partitions", "replication_factor"} <= set(KafkaSettings.model_fields)
    kinds = re.findall(r"`type = \"(\w+)\"`: ([^\n]*?)(?=\. `|\. The)", text)
    assert [kind for kind, _ in kinds] == ["ynab", "plaid"]
    for kind, names in kinds:
        known = SOURCE_TYPES[kind].model_fields
        told = {
            re.split(r"\W", name)[0]
            for span in spans(names)
            for name in re.split(r", (?![^\[{]*[}\]])", span)
        }
        assert told - {""} <= set(known), kind
    mongo = next(span for span in spans(text) if span.startswith("[sources.X]"))
    assert set(re.split(r",?\s+", mongo)[1:]) <= set(SOURCE_TYPES["mongodb"].model_fields)
    fields = {info.alias or name for name, info in FieldDeclaration.model_fields.items()}
    assert {"minor_units", "epoch", "format", "zone", "map", "default", "join", "with"} <= fields


def test_every_environment_name() -> None:
    names = {span for span in spans(section(2)) if re.fullmatch(r"[A-Z][A-Z_]*_[A-Z_]*[A-Z]", span)}
    assert {"MONGODB_URI", "CDC_CONFIG", "YNAB_PERSONAL_ACCESS_TOKEN"} <= names
    plain = {name for name in names if "__" not in name}
    assert not [name for name in plain if f'"{name}"' not in CODE]
    assert load(variables={"CDC_KAFKA__BOOTSTRAP_SERVERS": "h:1"}).kafka.bootstrap_servers == "h:1"


def test_every_topic_and_header() -> None:
    text = section(3)
    ours = {entity_topic_name("ledger", name) for name in ENTITIES}
    told = set(re.findall(r"`(ledger\.[a-z_.]+[a-z])`", text))
    assert len(told) >= 3
    assert told <= ours
    assert "`<prefix>.cursors`" in text
    assert cursors_topic("p").name == "p.cursors"
    assert "`<prefix>.dead_letters`" in text
    assert dead_letters_topic("p").name == "p.dead_letters"
    line = next(line for line in text.splitlines() if line.startswith("- headers:"))
    headers = set(re.findall(r"`([a-z_]+)`", line)) - {"r"}
    assert headers >= {"event_id", "transaction_hash", "schema"}
    assert {name for name in headers if f'"{name}"' not in CODE} == LATER_HEADERS


def test_every_table_and_column() -> None:
    seen = 0
    for cell, says in rows(4):
        schema = cell.split(".")[0].strip("`")
        for table in (f"{schema}.{span.removeprefix(f'{schema}.')}" for span in spans(cell)):
            if table in LATER_TABLES or table in NO_COLUMNS:
                continue
            found = re.search(rf"CREATE (?:TABLE|VIEW) {re.escape(table)} (.*?);\n", SQL, re.DOTALL)
            assert found, table
            own = dict(re.findall(r"`([a-z_.]+)`: (`[^`]+`)", says))
            columns = own.get(table, "") if own else says.split("(")[0]
            said = [span for span in spans(columns) if "." not in span]
            names = {name for span in said for name in re.findall(r"[a-z_]{2,}", span)}
            body = found[1] + (SQL if found[0].startswith("CREATE VIEW") else "")
            missing = [name for name in names - NOT_COLUMNS if not re.search(rf"\b{name}\b", body)]
            assert not missing, (table, missing)
            seen += 1
    assert seen >= 6
    budget = next(says for cell, says in rows(4) if "budget" in cell)
    named = {re.split(r"\(", span)[0] for span in spans(budget) if span.startswith("budget.")}
    assert {name for name in named if name not in SQL} <= LATER_TABLES


def test_every_endpoint_and_metric() -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert f"`{path}`" in section(6)
        assert f'"{path}"' in CODE
    registry = Metrics("1").registry
    known = {}
    for collector in registry._collector_to_names:
        labels = getattr(collector, "_labelnames", ())
        for name in registry._collector_to_names[collector]:
            known[name] = set(labels)
    told = re.findall(r"`(cdc_[a-z_]+)(?:\{([a-z_,]+)\})?`", section(7))
    assert len(told) >= 14
    for name, labels in told:
        if name == "cdc_":
            continue
        assert name in known, name
        if labels:
            assert known[name] == set(labels.split(",")), name
