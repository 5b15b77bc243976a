"""What a log line may hold, and what it must never show."""

import ast
import io
import json
import logging
from collections.abc import Iterator

import pytest

from cdc.runtime.log import KEYS, UnlistedKey, make_log
from tests.test_tidy import LOG_METHODS, LOG_NAMES, dotted, product_trees


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers, _ = handlers, logger.setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_sentence() -> None:
    out = io.StringIO()
    log = make_log(stream=out, libraries=False).bind(source="property")
    log.info("source state changed", state="idle", reason="")
    (line,) = lines(out)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["level"], line["event"]) == ("info", "source state changed")
    assert (line["source"], line["state"]) == ("property", "idle")
    assert str(line["timestamp"]).endswith("Z")


def test_keys_come_from_one_list() -> None:
    out = io.StringIO()
    with pytest.raises(UnlistedKey, match="amount"):
        make_log(stream=out, strict=True, libraries=False).info("row applied", amount="12.50")
    make_log(stream=out, libraries=False).info("row applied", amount="12.50", rows=1)
    (line,) = lines(out)
    assert "amount" not in line
    assert line["rows"] == 1


def test_sentences_are_fixed_and_lower_case() -> None:
    with pytest.raises(UnlistedKey):
        make_log(stream=io.StringIO(), strict=True, libraries=False).info("Row Applied")


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://ledger:hunter2@db/x",
        "mongodb://u:hunter2@a:1,b:2/db refused",
        "host=db password=hunter2 user=x",
        "the token hunter2 was refused",
        "postgresql://ledger:p%2Fhunter2@h/x",
    ],
)
def test_secrets_are_blotted_out(text: str) -> None:
    out = io.StringIO()
    log = make_log(stream=out, secrets=["hunter2"], libraries=False)
    log.error("source will try again", error=text, stack=[text])
    assert "hunter2" not in out.getvalue()
    assert "***" in out.getvalue()


def test_passwords_in_addresses_are_blotted_out_even_where_unknown() -> None:
    out = io.StringIO()
    make_log(stream=out, libraries=False).error("x", error="postgresql://u:a@b/c:d@h/x is bad")
    assert "a@b" not in out.getvalue()
    assert "postgresql://u:***@h/x is bad" in out.getvalue()


def test_control_characters_neither_forge_lines_nor_steer_terminals() -> None:
    out = io.StringIO()
    log = make_log(stream=out, style="console", libraries=False)
    log.warning("document does not map", document_id='x"\n2026-01-01 [info] fine\x1b[2J')
    assert "\x1b[2J" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 1


def test_long_texts_are_cut() -> None:
    out = io.StringIO()
    make_log(stream=out, libraries=False).info("x", detail="a" * 1_000_000)
    assert len(out.getvalue()) < 3000


def test_libraries_are_heard_from_warning_up_and_not_without_end(root: logging.Logger) -> None:
    out = io.StringIO()
    make_log(stream=out, secrets=["hunter2"])
    logger = logging.getLogger("aiokafka.client")
    logger.info("chatter")
    for attempt in range(100):
        logger.error("no broker at %s with hunter2", attempt)
    logging.getLogger("pymongo").warning("other")
    told = lines(out)
    assert [(line["library"], line["level"]) for line in told] == [
        ("aiokafka.client", "error"),
        ("pymongo", "warning"),
    ]
    assert told[0]["detail"] == "no broker at 0 with ***"


def test_levels_are_kept() -> None:
    out = io.StringIO()
    log = make_log(stream=out, level="warning", libraries=False)
    log.info("x")
    log.warning("y")
    assert [line["event"] for line in lines(out)] == ["y"]


def test_logging_does_not_load_the_terminal_library() -> None:
    import subprocess
    import sys

    code = "import sys, cdc.runtime.log; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import cdc.runtime.log, rich.console, rich.pretty; print(rich.console.Console)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_key_that_the_product_logs_is_listed() -> None:
    faults = [
        f"{path}:{node.lineno}: {keyword.arg}"
        for path, tree in product_trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
        and dotted(node.func.value).split(".")[-1] in LOG_NAMES
        for keyword in node.keywords
        if keyword.arg is not None and keyword.arg not in KEYS
    ]
    assert not faults, "\n".join(faults)
