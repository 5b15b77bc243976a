"""What the README shows can be copied."""

import re
from pathlib import Path

from cdc.cli.commands import app
from cdc.settings import load
from tests.test_tidy import REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text()
SERVERS = {
    "MONGODB_URI": "mongodb://127.0.0.1/property?replicaSet=rs0",
    "DATABASE_URL": "postgresql://127.0.0.1/ledger",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
}


def test_its_configurations_are_right(tmp_path: Path) -> None:
    shown = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert len(shown) >= 2
    file = tmp_path / "ledger.toml"
    file.write_text("\n".join(shown).replace("…", "x"))
    sources = load(file, (), SERVERS).sources
    assert {each.type for each in sources.values()} == {"mongodb", "ynab", "plaid"}


def test_its_commands_exist() -> None:
    words = "\n".join(re.findall(r"`([^`\n]+)`", TEXT))
    named = set(re.findall(r"(?<![-/\w])cdc ([a-z][a-z-]+)(?: ([a-z]+)\b)?", words))
    assert {"run", "consume", "check", "replay"} <= {verb for verb, _ in named}
    verbs = {each.name or each.callback.__name__ for each in app.registered_commands}
    groups = {
        group.name: {each.name for each in group.typer_instance.registered_commands}
        for group in app.registered_groups
    }
    for verb, below in named:
        assert verb in verbs | groups.keys()
        assert not below or below in groups.get(verb, {below})


def test_its_targets_of_make_exist() -> None:
    made = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert "demo" in made
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert made <= {*targets}
