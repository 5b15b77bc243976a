"""Every step at which a process talks to a server: its name, and the death at it.

Nothing of this is in the product: the clients' own methods are wrapped before the product is
loaded (`launch.py`). A point is *before* the request, *inside* (the request is out, its answer is
not processed) or *after* it; its name begins with the function of ours that asked. So no list of
points is kept by hand: what is passed is a point, and it is deadly the first time it is passed.
"""

import contextvars
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

REPOSITORY = Path(__file__).parents[2]
OURS = (f"{REPOSITORY}/cdc/", f"{REPOSITORY}/consumers/")
SUSPENSIONS_MAX = 2
"""How often one await may be met inside: a handshake is one step, not twenty."""

HOUSEKEEPING = frozenset(f"kafka {name}" for name in ("ApiVersion", "Metadata", "FindCoordinator"))
"""What the client asks of itself whenever it likes: the same step, whoever made it ask."""

_asking: contextvars.ContextVar[str] = contextvars.ContextVar("asking", default="")
"""Who began what now runs in a task or thread of a client."""


@dataclass
class Points:
    """`seen` is a file of names, one a line, kept from life to life of the process.

    `nth`: at which passing of a point in one life it is deadly. `number`: the signal, one a life.
    `only`: names that count contain it. `raises`: an error that nobody knows, instead of death.
    """

    seen: Path
    number: signal.Signals = signal.SIGKILL
    nth: int = 1
    only: str = ""
    raises: bool = False
    _known: set[str] = field(default_factory=set)
    _passed: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: bool = False

    def __post_init__(self) -> None:
        if self.seen.exists():
            self._known = set(self.seen.read_text().splitlines())

    def at(self, name: str) -> None:
        """Notes the point; the process does not return from a deadly one."""
        with self._lock:
            self._passed[name] += 1
            if self._done or self.only not in name:
                return
            line = name if self.nth == 1 else f"{name} #{self.nth}"
            if self._passed[name] != self.nth or line in self._known:
                return
            self._known.add(line)
            self._done = True
            with self.seen.open("a") as file:
                file.write(f"{line}\n")
            if self.raises:
                raise ZeroDivisionError("planted by a test")
            os.kill(os.getpid(), self.number)

    def asked(self, what: str) -> str:
        """The name of a request, with the function of ours that asked for it."""
        return what if what in HOUSEKEEPING else f"{asker()} > {what}"

    def around(self, what: str, call: Callable[[], Any]) -> Awaitable[Any]:
        """An await that touches a server, with its moments."""
        return self._around(self.asked(what), call)

    async def _around(self, name: str, call: Callable[[], Any]) -> Any:
        token = _asking.set(name)
        try:
            self.at(f"{name} before")
            result = await call()
            self.at(f"{name} after")
            return result
        finally:
            _asking.reset(token)

    def within(self, what: str, call: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """The same for a client that sends before it first waits."""
        return self._within(self.asked(what), call)

    async def _within(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self.at(f"{name} before")
        result = await _Suspended(call(), lambda: self.at(f"{name} inside"))
        self.at(f"{name} after")
        return result


@dataclass
class Pairs(Points):
    """Two crashes in a row: at a step of a commit, and again while the next life recovers from it.

    `first`: parts of the names of the steps to crash at. `last`: where the life before this one
    crashed first; empty: this life is to crash first. The file has `P`, `P then Q`, and `all after
    P` once a life has come back to P without a new point on its way.
    """

    first: tuple[str, ...] = ()
    last: str = ""

    def at(self, name: str) -> None:
        with self._lock:
            if self._done:
                return
            if self.last and name != self.last:
                self._crash(f"{self.last} then {name}")
            elif self.last:
                self._note(f"all after {name}")
                self.last = ""
            elif any(each in name for each in self.first):
                self._crash(name, again=f"all after {name}" not in self._known)

    def _crash(self, line: str, *, again: bool = False) -> None:
        if line in self._known and not again:
            return
        self._done = True
        self._note(line)
        os.kill(os.getpid(), self.number)

    def _note(self, line: str) -> None:
        self._known.add(line)
        with self.seen.open("a") as file:
            file.write(f"{line}\n")


class _Suspended:
    """Awaits for another, and tells each time it is left waiting."""

    def __init__(self, inner: Awaitable[Any], tell: Callable[[], None]) -> None:
        self._inner = inner
        self._tell = tell

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        told = 0
        try:
            waiting_for = next(steps)
            while True:
                if told < SUSPENSIONS_MAX:
                    told += 1
                    self._tell()
                try:
                    sent = yield waiting_for
                except BaseException as error:  # noqa: BLE001 - it is the inner one's affair
                    waiting_for = steps.throw(error)  # type: ignore[attr-defined]
                else:
                    waiting_for = steps.send(sent)  # type: ignore[attr-defined]
        except StopIteration as end:
            return end.value


def asker() -> str:
    """`module.function` of ours nearest on the stack; else who began this task or thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(OURS):
            return f"{Path(code.co_filename).stem}.{code.co_qualname}"
        frame = frame.f_back
    return f"({_asking.get()})"
