"""The command line without servers: help, usage, exit codes, output for people and programs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cdc import __version__
from cdc.cli import output as output_module
from cdc.cli.commands import app
from cdc.cli.jobs import _reason
from cdc.cli.output import Output, described, exit_code, shown, table
from cdc.cli.upkeep import _status
from cdc.operation.check import Check, Checked
from cdc.runtime.errors import Fenced, LedgerError, SettingsError, Unavailable, Unfit
from cdc.runtime.settings_reader import Fault, FaultySettings
from tests.test_tidy import REPOSITORY

PLAIN_NAMES = {"MONGODB_URI", "DATABASE_URL", "ACCOUNTING_DB_URI", "KAFKA_BOOTSTRAP_SERVERS"}
COMMANDS = (
    ["run"],
    ["consume"],
    ["migrate"],
    ["topics"],
    ["check"],
    ["status"],
    ["resync", "property"],
    ["replay", "ledger.accounting.transactions", "--from", "0"],
    ["trace", "accounting.transactions", "1"],
    ["dead-letters", "list"],
    ["dead-letters", "show", "1"],
    ["dead-letters", "retry", "1"],
    ["dead-letters", "drop", "1"],
    ["jobs", "list"],
    ["jobs", "show", "1"],
    ["jobs", "cancel", "1"],
    ["jobs", "watch", "1"],
    ["jobs", "run", "validate"],
)


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CDC_") or name in PLAIN_NAMES:
            monkeypatch.delenv(name)


def cdc(*words: str) -> Any:
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_the_common_options_and_an_example(words: list[str]) -> None:
    verb = words[: 2 if words[0] in ("dead-letters", "jobs") else 1]
    result: Result = cdc(*verb, "--help")
    assert result.exit_code == 0
    for option in ("--json", "--config", "--debug", "--set"):
        assert option in result.output
    assert f"  cdc {' '.join(verb)}" in result.output


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nothing_configured_is_wrong_usage_with_the_way_out(words: list[str]) -> None:
    if words == ["check"] or words == ["status"]:
        pytest.skip("they answer with a document of their own")
    result = cdc(*words, "--json")
    assert result.exit_code == 2, result.output
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert all(each["message"] and each["fix"] for each in document["errors"])
    assert "error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["run", "--no-such-option"],
        ["resync"],
        ["replay", "t", "--from", "yesterday"],
        ["replay", "t:x", "--from", "0"],
        ["dead-letters", "retry"],
        ["dead-letters", "drop", "1", "--all"],
        ["run", "--config", "no-such-file.toml"],
        ["run", "--set", "kafka.bootstrap_server=x:1"],
        ["run", "--set", "nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    assert cdc(*words).exit_code == 2


def test_all_faults_of_the_settings_are_lines_with_their_fix(tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").write_text(
        '[kafka]\nbootstrap_server = "k:1"\n[targets.main]\ndsn = "mysql://u:hunter2@h/x"'
    )
    result = cdc("migrate")
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.exit_code == 2
    assert len(lines) == 2
    assert lines[0].startswith("error: kafka.bootstrap_server (ledger.toml): unknown key; did you")
    assert "targets.main.dsn (ledger.toml) = 'mysql://u:***@h/x': is not a PostgreSQL" in lines[1]
    assert "hunter2" not in result.output


def test_the_faults_of_the_settings_are_a_failed_check(tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").write_text("[kafka]\nbootstrap_server = 'k:1'")
    result = cdc("check", "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert set(document) == {"ok", "checks", "mappings"}
    (check,) = document["checks"]
    assert set(check) == {"name", "subject", "outcome", "detail", "fix"}
    assert (check["name"], check["outcome"]) == ("configuration", "fail")
    assert "bootstrap_servers" in check["fix"]


def test_check_of_nothing_is_wrong_configuration(tmp_path: Path) -> None:
    """It called it a missing server: what ``cdc run`` ends on with 2 is 2 here, too."""
    result = cdc("check", "--json")
    assert result.exit_code == 2
    failed = {each["subject"]: each for each in json.loads(result.stdout)["checks"][1:]}
    assert set(failed) == {"kafka.bootstrap_servers", "sources", "targets"}
    assert {each["outcome"] for each in failed.values()} == {"fail"}
    assert all(each["fix"] for each in failed.values())


def test_status_tells_how_far_a_whole_read_is() -> None:
    reading = {
        "payments": {
            "rows_done": 200,
            "rows_total": 1000,
            "rows_per_second": 20.4,
            "remaining_seconds": 39.2,
        },
        "users": {
            "rows_done": 5,
            "rows_total": None,
            "rows_per_second": 0.0,
            "remaining_seconds": None,
        },
    }
    source = {"name": "property", "state": "reading whole", "reason": "payments: resync 7"}
    source |= {"lag_seconds": 1, "events_total": 205, "reading": reading}
    document = {
        "sources": [source],
        "consumers": [],
        "dead_letters": {"open": 0},
        "integration_errors": [],
        "unassigned_transactions": 0,
        "other_currency_transactions": 0,
    }
    line = list(_status(document))[1]
    assert line.endswith(
        "payments: resync 7; payments: 200 of about 1000, 20/s, 39 s left; users: 5, 0/s"
    )


def test_many_checks_that_differ_in_their_subject_only_are_one_line() -> None:
    topics = [
        Check("topics", f"t{number}", "fail", "does not exist", "run x") for number in range(9)
    ]
    others = [Check("migrations", name, "pass", "all applied") for name in ("main", "further")]
    checked = Checked([*others, *topics])
    assert list(checked.lines(str)) == [
        "pass  migrations  main: all applied",
        "pass  migrations  further: all applied",
        "fail  topics  t0, t1, … (9): does not exist; run x",
    ]
    assert len(checked.document()["checks"]) == 11


def test_the_example_configuration_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    from cdc.settings import load

    settings = load(REPOSITORY / "ledger.example.toml", (), {})
    assert settings.sources
    assert settings.targets


def test_unexpected_errors_show_no_traceback_but_with_debug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("cdc.settings.load", broken)
    quiet, loud = cdc("topics"), cdc("topics", "--debug")
    assert quiet.exit_code == loud.exit_code == 1
    assert "Traceback" not in quiet.output
    assert "unexpected ZeroDivisionError: of ours" in quiet.stderr
    assert "Traceback" in loud.stderr


@pytest.mark.parametrize("verb", [(), ("jobs",), ("dead-letters",)])
def test_what_a_command_does_is_told_whole_in_the_list(verb: tuple[str, ...]) -> None:
    listed = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(app, [*verb, "--help"])
    lines = listed.output.partition("Commands:")[2].splitlines()
    assert [each for each in lines if each.endswith("...")] == []


def test_a_reader_that_goes_away_is_no_failure_of_ours() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "cdc", "check", "--json"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(("option", "word"), [("--state", "failed"), ("--kind", "backfill")])
def test_jobs_that_cannot_be_are_not_called_none(option: str, word: str) -> None:
    """A misspelt word found nothing, and said so."""
    control = ("--set", "control.dsn=postgresql://127.0.0.1:1/x")
    result = cdc("jobs", "list", option, f"{word}x", *control)
    assert result.exit_code == 2
    assert f"did you mean {word}?" in result.stderr
    assert cdc("jobs", "list", option, word, *control).exit_code == 3  # nobody listens there


def test_a_list_of_jobs_tells_why_one_is_not_done() -> None:
    failed = {"state": "failed", "errors": [{"error": "once"}, {"error": "no such account"}]}
    done = {"state": "done", "errors": [{"error": "once"}]}
    assert [_reason(each) for each in (failed, done, {"state": "waiting", "errors": []})] == [
        *("no such account", "", "")
    ]


def test_the_version_is_that_of_the_project() -> None:
    assert cdc("--version").output.strip() == __version__
    assert f'version = "{__version__}"' in (REPOSITORY / "pyproject.toml").read_text()


def test_exit_codes_follow_the_error_tree() -> None:
    codes = {
        SettingsError("x"): 2,
        Unfit("x"): 3,
        Unavailable("x"): 3,
        Fenced("x"): 1,
        LedgerError("x"): 1,
        ValueError("x"): 1,
        ExceptionGroup("many", [LedgerError("x"), Unfit("y")]): 3,
    }
    assert {error: exit_code(error) for error in codes} == codes


def test_several_errors_are_several_lines() -> None:
    group = ExceptionGroup("many", [Unfit("a", subject="s", hint="do"), Unavailable("b")])
    assert [each["message"] for each in described(group)] == ["s: a", "b"]
    faulty = FaultySettings([Fault("a.b", "1", "is wrong", "mend it")])
    assert described(faulty) == [
        {"place": "a.b", "value": "1", "message": "is wrong", "fix": "mend it"}
    ]


def test_errors_do_not_show_passwords() -> None:
    (found,) = described(ValueError("postgresql://u:hunter2@h/x is bad"))
    assert "hunter2" not in found["message"]


def test_lines_of_documents_cannot_steer_the_terminal() -> None:
    assert shown("a\x1b[2Jb\rc\nd") == "a\\x1b[2Jb\\rc\\nd"
    green = "\x1b[32mpass\x1b[0m"
    assert shown(green + "\x07") == green + "\\x07"


def test_tables_are_aligned_and_unknown_values_are_dashes() -> None:
    assert table(("A", "LONG"), [("x", None), ("longer", 3)]) == [
        "A       LONG",
        "x       -",
        "longer  3",
    ]


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(output_module, "environment", dict)
    assert Output(as_json=False).outcome("fail") == "\x1b[31mfail\x1b[0m"
    monkeypatch.setattr(output_module, "environment", lambda: {"NO_COLOR": "1"})
    assert Output(as_json=False).outcome("fail") == "fail"
