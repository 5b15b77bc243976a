"""The one error of the stack: what went wrong, and the way out."""

from pathlib import Path

TAIL_LINES_MAX = 15


class StackError(Exception):
    """Tells a person in one line what is missing or broken (`text`) and what helps (`way_out`)."""

    def __init__(self, text: str, way_out: str) -> None:
        super().__init__(f"{text}\n  way out: {way_out}")
        self.text = text
        self.way_out = way_out


def log_tail(path: Path) -> str:
    """The last lines of a server's log, indented, for the end of an error text."""
    if not path.exists():
        return "  (no log was written)"
    lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES_MAX:]
    return "\n".join(f"  | {line[:400]}" for line in lines) or "  (its log is empty)"
