"""The server both simulators are: listening, faults, edits between requests, control, the log.

`POST /_control` with `{"do": name, "args": {…}}` does what the method of that name does and answers
`{"result": …}`; an order that makes no sense answers 400 `{"error": text}`.
"""

import asyncio
import hashlib
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, Self

import h11
import msgspec

from compose.simulators.clock import Clock, instant
from compose.simulators.faults import (
    INSTEAD,
    Fault,
    Faults,
    html_answer,
    patched,
    rewritten,
    zipped,
)
from compose.simulators.wire import Answer, Connection, Request

HOST = "127.0.0.1"
CONTROL_PATH = "/_control"
REQUESTS_KEPT_MAX = 200_000
ORDER_ERRORS = (TypeError, ValueError, LookupError, AttributeError)
_log = logging.getLogger(__name__)


class Refusal(Exception):
    """The API's own error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


class Seen(msgspec.Struct, kw_only=True):
    """One request as the log keeps it; the credential only as a short digest."""

    number: int
    at: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    credential: str
    status: int = 0
    """0: no answer."""
    answer_bytes: int = 0
    fault: str | None = None


class Script(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An order to be carried out around the next request that fits."""

    do: str
    args: dict[str, Any] = {}
    match: str = ""
    when: Literal["before", "after"] = "before"
    """before it is looked at, or after its answer was made but not yet sent"""
    skip: int = 0
    times: int = 1


class Simulator:
    """A server on loopback. `async with` starts and ends it; ``port`` 0 takes a free one."""

    def __init__(self, clock: Clock | None = None, *, port: int = 0) -> None:
        self.clock = clock or Clock()
        self.seen: deque[Seen] = deque(maxlen=REQUESTS_KEPT_MAX)
        self.faults = Faults()
        self.bugs: list[Exception] = []
        self._scripts: list[Script] = []
        self._numbers = itertools.count(1)
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, request: Request) -> Answer | None:
        """A refusal by credential or quota; None: the request may pass."""
        raise NotImplementedError

    def answer(self, request: Request) -> Answer:
        """The API's answer; raises ``Refusal``."""
        raise NotImplementedError

    def named_error(self, name: str) -> Answer:
        """The API's own error answer of that name."""
        raise NotImplementedError

    def credential(self, request: Request) -> str:
        """Whose request it is."""
        raise NotImplementedError

    def told(self, request: Request) -> Any:
        """What of the request's body the log keeps."""
        return None

    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """The orders of this API, beside the common ones."""
        raise NotImplementedError

    # -- common orders ---------------------------------------------------------------------

    def fail_next(self, kind: str, **details: Any) -> None:
        """The next request that fits fails; ``details`` are the fields of ``Fault``."""
        self.faults.order(msgspec.convert({"kind": kind, **details}, Fault))

    def clear_faults(self) -> None:
        """No fault and no script stands any more."""
        self.faults.clear()
        self._scripts.clear()

    def script(self, do: str, **details: Any) -> None:
        """Carry out an order around a coming request; ``details`` are ``Script``'s fields."""
        script = msgspec.convert({"do": do, **details}, Script)
        self._operation(script.do)
        self._scripts.append(script)

    def advance_clock(self, seconds: float) -> str:
        return instant(self.clock.advance(seconds))

    def set_clock(self, at: str) -> str:
        return instant(self.clock.set(datetime.fromisoformat(at)))

    def requests(self, match: str = "", since: int = 0) -> list[Seen]:
        """The log: requests whose path contains ``match``, with a number above ``since``."""
        return [each for each in self.seen if match in each.path and each.number > since]

    def counters(self) -> dict[str, Any]:
        """How many requests, by path and by status."""
        return {
            "requests": len(self.seen),
            "by_path": Counter(f"{each.method} {each.path}" for each in self.seen),
            "by_status": Counter(str(each.status) for each in self.seen),
        }

    def forget_requests(self) -> None:
        self.seen.clear()

    def do(self, name: str, /, **args: Any) -> Any:
        """Carry out an order by name, as over HTTP."""
        return self._operation(name)(**args)

    def _operation(self, name: str) -> Callable[..., Any]:
        every = {each.__name__: each for each in self._common()} | dict(self.operations())
        if name not in every:
            raise ValueError(f"no order {name!r}; there are: {', '.join(sorted(every))}")
        return every[name]

    def _common(self) -> tuple[Callable[..., Any], ...]:
        return (
            self.fail_next,
            self.clear_faults,
            self.script,
            self.advance_clock,
            self.set_clock,
            self.requests,
            self.counters,
            self.forget_requests,
        )

    # -- serving ---------------------------------------------------------------------------

    async def start(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """End every connection; a second call does nothing."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self.stop()
        if self.bugs and error is None:
            raise ExceptionGroup("the simulator itself failed", self.bugs)

    @property
    def host_url(self) -> str:
        """`http://127.0.0.1:port`, without the API's own first path."""
        return f"http://{HOST}:{self._port}"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Connection(reader, writer)), name="connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            while not connection.ends:
                request = await connection.request()
                if request is None:
                    break
                if request.path == CONTROL_PATH:
                    await connection.send(self._control(request))
                else:
                    await self._exchange(connection, request)
        except (OSError, h11.ProtocolError) as error:
            _log.debug("connection ended early: %s", error)
        finally:
            await connection.close()

    async def _exchange(self, connection: Connection, request: Request) -> None:
        seen = self._noted(request)
        try:
            answer, fault = self._answered(request, seen)
        except Exception as bug:  # noqa: BLE001 - kept, and raised when the simulator ends
            _log.exception("the simulator failed")
            self.bugs.append(bug)
            answer, fault = Answer(500, b'{"simulator": "failed"}'), None
        silent = fault is not None and fault.kind in ("timeout", "reset")
        seen.status, seen.answer_bytes = (0, 0) if silent else (answer.status, len(answer.body))
        await _delivered(connection, answer, fault)

    def _answered(self, request: Request, seen: Seen) -> tuple[Answer, Fault | None]:
        """The answer, and the fault that it is still to be sent with."""
        self._run_scripts("before", request)
        refusal = self.admit(request)
        fault = self.faults.take(request) if refusal is None else None
        seen.fault = fault.kind if fault else None
        if fault is not None and fault.kind in INSTEAD:
            return self._instead(fault), fault
        try:
            answer = refusal or self.answer(request)
        except Refusal as refused:
            answer = refused.answer
        self._run_scripts("after", request)
        if fault is not None and fault.kind == "patch":
            answer = patched(answer, fault.changes)
        elif fault is not None and fault.kind == "bytes":
            answer = rewritten(answer, fault.changes)
        elif fault is not None and fault.kind == "gzip":
            answer = zipped(answer, fault.pad_bytes)
        return answer, fault

    def _instead(self, fault: Fault) -> Answer:
        if fault.kind == "html":
            return html_answer(fault)
        answer = self.named_error(fault.error) if fault.error else Answer(fault.status or 500, b"")
        body = fault.body.encode() if fault.body is not None else answer.body
        return Answer(fault.status or answer.status, body, {**answer.headers, **fault.headers})

    def _noted(self, request: Request) -> Seen:
        digest = hashlib.sha256(self.credential(request).encode()).hexdigest()[:8]
        seen = Seen(
            number=next(self._numbers),
            at=instant(self.clock.now()),
            method=request.method,
            path=request.path,
            query=request.query,
            body=self.told(request),
            credential=digest,
        )
        self.seen.append(seen)
        return seen

    def _run_scripts(self, when: str, request: Request) -> None:
        for script in list(self._scripts):
            if script.when != when or script.match not in request.path:
                continue
            if script.skip:
                script.skip -= 1
                continue
            script.times -= 1
            if script.times <= 0:
                self._scripts.remove(script)
            self.do(script.do, **script.args)

    def _control(self, request: Request) -> Answer:
        try:
            order = msgspec.json.decode(request.body)
            result = self.do(order["do"], **order.get("args", {}))
            return Answer(200, msgspec.json.encode({"result": result}))
        except (*ORDER_ERRORS, msgspec.MsgspecError) as error:
            text = f"{type(error).__name__}: {error}"
            return Answer(400, msgspec.json.encode({"error": text}))


async def _delivered(connection: Connection, answer: Answer, fault: Fault | None) -> None:
    """Send the answer, as well or as badly as ordered."""
    if fault is None or fault.kind in ("status", "html", "patch", "bytes", "gzip"):
        await connection.send(answer)
    elif fault.kind in ("timeout", "timeout_after"):
        await connection.silence(fault.seconds)
        await connection.close()
    elif fault.kind in ("reset", "reset_after"):
        connection.reset()
    elif fault.kind == "truncated":
        keep = len(answer.body) // 2 if fault.keep_bytes is None else fault.keep_bytes
        await connection.send(answer, keep_bytes=keep)
        await connection.close()
    elif fault.kind == "slow":
        await connection.send_slowly(answer, fault.bytes_per_second)
    elif fault.kind == "delay":
        await connection.silence(fault.seconds)
        await connection.send(answer)
    else:
        await connection.send_endlessly(answer)
