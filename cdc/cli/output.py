"""What a person or a program gets to read: data on standard output, words on standard error."""

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from typing import Any

import orjson

from cdc.runtime.errors import LedgerError, Unavailable, each_of
from cdc.runtime.settings_reader import FaultySettings, environment, without_password

_COLOURS = {"pass": 32, "ok": 32, "warn": 33, "fail": 31, "error": 31}
_ESCAPE = "\x1b["
SPOOLED_CHARS = 1024 * 1024
"""So much of a long document is in memory; the rest is in a file until it is complete."""
UNREACHED = "start it or correct its address; `cdc check` tells more"


class Output:
    """One command's output: with ``as_json`` exactly one document on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        plain = bool(environment().get("NO_COLOR"))
        self._colour_out = sys.stdout.isatty() and not plain
        self._colour_err = sys.stderr.isatty() and not plain

    def result(self, document: Mapping[str, Any], lines: Callable[[], Iterable[str]]) -> None:
        """The one result, as JSON or as the lines for a person."""
        if self.as_json:
            text = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
            sys.stdout.write(text.decode() + "\n")
        else:
            for line in lines():
                sys.stdout.write(shown(line) + "\n")
        sys.stdout.flush()

    async def listing(
        self, name: str, pages: AsyncIterator[Sequence[Mapping[str, Any]]], columns: Sequence[str]
    ) -> None:
        """A list of any length, with a page of it in memory: one document, or lines for a person.

        The document is shown once it is complete: an error on the way leaves no half of it.
        """
        if not self.as_json:
            shown_any = False
            async for page in pages:
                shown_any = True
                rows = [[each[column] for column in columns] for each in page]
                for line in table([column.upper() for column in columns], rows):
                    self.line(line)
            if not shown_any:
                self.line("none")
            return
        with SpooledTemporaryFile(SPOOLED_CHARS, "w+", encoding="utf-8") as spool:
            spool.write(f'{{"{name}":[')
            comma = ""
            async for page in pages:
                for each in page:
                    spool.write(comma + orjson.dumps(each, default=str).decode())
                    comma = ","
            spool.write("]}\n")
            spool.seek(0)
            while part := spool.read(SPOOLED_CHARS):
                sys.stdout.write(part)
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """One line of a longer story, on standard output; nothing with ``--json``."""
        if not self.as_json:
            sys.stdout.write(shown(text) + "\n")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """A word to the person, on standard error."""
        sys.stderr.write(shown(text) + "\n")
        sys.stderr.flush()

    def progress(self, text: str) -> None:
        """Where things are: one line that is written over; only on a terminal."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{_ESCAPE}K{shown(text)}")
            sys.stderr.flush()

    def progress_over(self) -> None:
        """Makes room for the next line."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{_ESCAPE}K")
            sys.stderr.flush()

    def error(self, error: BaseException) -> None:
        """One line for each thing that is wrong, with the way out."""
        found = described(error)
        for each in found:
            self.say(self._marked("error", self._colour_err) + f": {_line(each)}")
        if self.as_json:
            self.result({"ok": False, "errors": found}, list)

    def outcome(self, word: str) -> str:
        """``pass``, ``warn``, ``fail``: in colour where colours are seen."""
        return self._marked(word, self._colour_out)

    def _marked(self, word: str, colour: bool) -> str:
        return f"{_ESCAPE}{_COLOURS[word]}m{word}{_ESCAPE}0m" if colour else word


def described(error: BaseException) -> list[dict[str, str]]:
    """Every error in it as ``message`` and ``fix`` (and ``place``, ``value`` of settings)."""
    return [found for each in each_of(error) for found in _described(each)]


def _described(error: BaseException) -> list[dict[str, str]]:
    if isinstance(error, FaultySettings):
        return [
            {"place": one.place, "value": one.value, "message": one.reason, "fix": one.fix}
            for one in error.faults
        ]
    if isinstance(error, LedgerError):
        where = " ".join(filter(None, (error.operation, error.subject, error.position)))
        message = f"{where}: {error.message}" if where else error.message
        fix = error.hint or (UNREACHED if isinstance(error, Unavailable) else "")
        return [{"message": without_password(message), "fix": fix}]
    text = without_password(f"{type(error).__name__}: {error}".rstrip(": "))
    return [{"message": f"unexpected {text}", "fix": "--debug shows where it comes from"}]


def exit_code(error: BaseException) -> int:
    """Of several errors the gravest that a person can mend: 3, else 2, else 1."""
    return max(each.exit_code if isinstance(each, LedgerError) else 1 for each in each_of(error))


def _line(found: Mapping[str, str]) -> str:
    place = found.get("place", "")
    value = f" = {found['value']}" if found.get("value") else ""
    fix = f"; {found['fix']}" if found.get("fix") else ""
    return f"{place}{value}: {found['message']}{fix}" if place else f"{found['message']}{fix}"


def named(values: Mapping[str, Any]) -> Iterable[str]:
    """A line for each value that there is."""
    return (f"{name}: {value}" for name, value in values.items() if value is not None)


def shown(text: str) -> str:
    """Fit for a terminal: control characters escaped, but for our own colours."""
    if text.isprintable():
        return text
    parts = text.split(_ESCAPE)
    safe = [parts[0]]
    for part in parts[1:]:
        own = part[:2] in ("0m", *(str(each) for each in _COLOURS.values()))
        safe.append((_ESCAPE if own else "\\x1b[") + part)
    return "".join(
        each if each.isprintable() or each == "\x1b" else each.encode("unicode_escape").decode()
        for each in "".join(safe)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns of text, aligned; None is shown as ``-``."""
    cells = [list(head), *([("-" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
