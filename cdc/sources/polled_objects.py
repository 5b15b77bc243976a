"""Objects of an API's answer, read one by one: what is wrong with one is a fault of it alone.

An answer's objects are kept undecoded (``msgspec.Raw``), and what has only been skipped over may
still be no UTF-8, no number, or too deep. Nothing of that gets out of here but as ``Unreadable``.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from cdc.runtime.http import UNREADABLE, UNTYPED
from cdc.sources.protocol import Change, Document

T = TypeVar("T")
HeldRow = tuple[str, Any]
"""An object's id, and whatever the source makes its document from."""

CONTEXT = "$"
"""The key under which a document carries what it belongs to; no API's key begins so."""
NO_ID = "id: missing or not usable"
"""The fault of an object without a usable id; such an object's id here is empty."""
DEPTH_MAX = 100
INT64 = 1 << 63


class Unreadable(Exception):
    """An object that cannot be read. ``fault``: its path, and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.fault = f"{path}: {reason}"


def head_of(decoder: "msgspec.json.Decoder[T]", raw: Raw) -> T | None:
    """The part of an object that must be known before it is decoded; None where it is not as it
    must be."""
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def usable_id(found: str) -> str:
    """An id that can be a key: with a NUL in it (no database holds that) it is none."""
    return "" if "\0" in found else found


def object_of(raw: Raw) -> Document:
    """The object decoded exactly; raises ``Unreadable``."""
    try:
        found = UNTYPED.decode(raw)
    except UnicodeDecodeError:
        raise Unreadable(_path_of_broken_text(bytes(raw)), "is no valid UTF-8") from None
    except RecursionError:
        raise Unreadable("", "is nested too deep") from None
    except UNREADABLE as error:
        raise Unreadable("", f"cannot be read ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise Unreadable("", "is no object")
    return found


def change_of(
    collection: str,
    op: str,
    row: HeldRow,
    load: Callable[[HeldRow], Document],
    position: int,
    ordinal: int,
    time_ms: int,
) -> Change:
    """The object with its content, or with the fault why it has none. An empty id is none."""
    if not row[0]:
        return Change(collection, op, None, None, None, position, ordinal, time_ms, NO_ID)
    try:
        after = load(row)
    except Unreadable as error:
        return Change(collection, op, row[0], None, None, position, ordinal, time_ms, error.fault)
    return Change(collection, op, row[0], None, after, position, ordinal, time_ms)


def exact(value: Any, depth: int = 0) -> Any:
    """As plain JSON, for a digest or a token: fractions and very large numbers as text."""
    if depth > DEPTH_MAX:
        raise Unreadable("", "is nested too deep")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {name: exact(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item, depth + 1) for item in value]
    return str(value) if type(value) is int and not -INT64 <= value < INT64 else value


def _path_of_broken_text(raw: bytes) -> str:
    """Where in an object the text stands that is no UTF-8."""
    try:
        found = json.loads(raw.decode(errors="surrogateescape"), parse_float=Decimal)
        return _broken_within(found) or ""
    except (ValueError, RecursionError, ArithmeticError):
        return ""


def _broken_within(value: Any) -> str | None:
    """The path from ``value`` to its first broken text, with a dot before each step."""
    if isinstance(value, str):
        return None if value.isascii() or _is_whole(value) else ""
    steps: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        steps = [("", name) for name in value] + list(value.items())
    elif isinstance(value, list):
        steps = [(str(at), item) for at, item in enumerate(value)]
    for name, item in steps:
        within = _broken_within(item)
        if within is not None:
            return ".".join(part for part in (name, within) if part)
    return None


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
