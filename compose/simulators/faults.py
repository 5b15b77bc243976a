"""What can go wrong with an answer, on order: the next request that fits fails so.

A fault takes effect either *instead* of the request (it changes nothing, and is not answered by
the API) or *on* its answer (the request was carried out: what a client cannot tell apart).
"""

import gzip
from typing import Any, Literal

import msgspec

from compose.simulators.wire import Answer, Request

Kind = Literal[
    "status",  # instead: the status, body and headers given, or the API's own error by name
    "html",  # instead: a web page with status 200, or the status given
    "timeout",  # instead: silence for `seconds`, then the connection is closed
    "reset",  # instead: the connection is reset
    "reset_after",  # on: carried out, then reset
    "timeout_after",  # on: carried out, then silence
    "truncated",  # on: the head promises the whole body, the connection ends after `keep_bytes`
    "slow",  # on: `bytes_per_second`
    "delay",  # on: the answer comes after `seconds`
    "patch",  # on: the JSON answer with `changes` made to it
    "bytes",  # on: texts of the answer replaced by others, Latin-1: what no encoder would write
    "gzip",  # on: compressed, with `pad_bytes` of blanks behind the JSON (a bomb, if many)
    "endless",  # on: blanks after the body, without end
]
INSTEAD = frozenset({"status", "html", "timeout", "reset"})
HTML = b"<!doctype html><html><head><title>Sorry</title></head><body>We'll be back.</body></html>"


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One order. It fits requests whose path contains ``match``, after letting ``skip`` pass."""

    kind: Kind
    match: str = ""
    method: str | None = None
    skip: int = 0
    times: int = 1
    status: int | None = None
    error: str | None = None
    body: str | None = None
    headers: dict[str, str] = {}
    seconds: float = 30.0
    keep_bytes: int | None = None
    bytes_per_second: int = 4096
    pad_bytes: int = 0
    changes: list[tuple[str, Any]] = []
    """(path with dots, new value), where `-` before the path removes it; or (text, new text)"""


class Faults:
    """The orders that still stand, oldest first."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []

    def order(self, fault: Fault) -> None:
        self._orders.append(fault)

    def clear(self) -> None:
        self._orders.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that this request meets, used up by one."""
        for fault in list(self._orders):
            if fault.match not in request.path or fault.method not in (None, request.method):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._orders.remove(fault)
            return fault
        return None


def html_answer(fault: Fault) -> Answer:
    """A gateway's page where JSON was expected."""
    body = fault.body.encode() if fault.body is not None else HTML
    headers = {"content-type": "text/html; charset=utf-8", **fault.headers}
    return Answer(fault.status or 200, body, headers)


def zipped(answer: Answer, pad_bytes: int) -> Answer:
    """The answer compressed, longer by blanks that cost next to nothing on the wire."""
    body = gzip.compress(answer.body + b" " * pad_bytes, mtime=0)
    return Answer(answer.status, body, {**answer.headers, "content-encoding": "gzip"})


def patched(answer: Answer, changes: list[tuple[str, Any]]) -> Answer:
    """The answer with values set or removed; a path that is not there is an error of the order."""
    document = msgspec.json.decode(answer.body)
    for path, value in changes:
        *way, last = path.removeprefix("-").split(".")
        place = document
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        key: Any = int(last) if isinstance(place, list) else last
        if path.startswith("-"):
            del place[key]
        else:
            place[key] = value
    return Answer(answer.status, msgspec.json.encode(document), answer.headers)


def rewritten(answer: Answer, changes: list[tuple[str, Any]]) -> Answer:
    """The answer with texts replaced, byte for byte."""
    body = answer.body
    for old, new in changes:
        body = body.replace(old.encode(), str(new).encode("latin-1"))
    return Answer(answer.status, body, answer.headers)
