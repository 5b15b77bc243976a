"""The log: a fixed lower-case sentence a line, and keys from one list. Never a payload or secret.

Lines go to standard error: JSON, or for people on a terminal the console's way. Other libraries'
loggers end here too, from WARNING up, and are not repeated without end.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Protocol, TextIO, cast

import orjson

from cdc.runtime.settings_reader import HIDDEN, without_password

# structlog would import rich (100 ms) for tracebacks that are never drawn here.
_RICH = {name: sys.modules.get(name) for name in ("rich", "rich.pretty")}
sys.modules.update(dict.fromkeys(_RICH))  # type: ignore[arg-type]
try:
    import structlog
finally:
    for _name, _module in _RICH.items():
        if _module is None:
            del sys.modules[_name]
        else:
            sys.modules[_name] = _module

KEYS = frozenset(
    {
        "attempt",
        "batch",
        "book",
        "collection",
        "collections",
        "count",
        "database",
        "deleted",
        "detail",
        "document_id",
        "endpoint",
        "entity",
        "error",
        "error_class",
        "events",
        "fix",
        "from_offset",
        "group",
        "hint",
        "instance",
        "issues",
        "job",
        "kind",
        "library",
        "lag_seconds",
        "listen",
        "mapping",
        "mappings",
        "offset",
        "operation",
        "outcome",
        "partition",
        "partitions",
        "path",
        "position",
        "reason",
        "request",
        "rows",
        "row_id",
        "seconds",
        "signal",
        "source",
        "sources",
        "stack",
        "stage",
        "state",
        "stream",
        "subject",
        "suppressed",
        "target",
        "targets",
        "task",
        "tasks",
        "topic",
        "topics",
        "version",
    }
)
_ALWAYS = frozenset({"event", "level", "timestamp"})
TEXT_CHARS_MAX = 2000
REPEAT_SECONDS = 30.0
SECRET_CHARS_MIN = 4
"""Shorter secrets would blot out ordinary words."""
_LIBRARIES = ("aiokafka", "asyncio", "asyncpg", "httpx", "kafka", "motor", "pymongo")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

EventDict = MutableMapping[str, Any]


class Log(Protocol):
    """A bound logger."""

    def bind(self, **keys: object) -> "Log": ...
    def debug(self, event: str, **keys: object) -> object: ...
    def info(self, event: str, **keys: object) -> object: ...
    def warning(self, event: str, **keys: object) -> object: ...
    def error(self, event: str, **keys: object) -> object: ...


class UnlistedKey(KeyError):
    """A log line used a key that is not in ``KEYS``, or a sentence that is not fixed."""


def make_log(
    *,
    level: str = "info",
    style: str = "auto",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    strict: bool = False,
    libraries: bool = True,
) -> Log:
    """The process's logger. ``strict`` (tests): a key that is not listed raises.

    ``secrets``: texts that are blotted out wherever they appear. ``libraries``: take over the
    standard library's root logger.
    """
    out = stream or sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    render: Callable[..., Any] = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), sort_keys=False) if console else _json
    )
    log = cast(
        Log,
        structlog.wrap_logger(
            structlog.PrintLogger(out),
            processors=[
                structlog.processors.add_log_level,
                _listed_keys(strict=strict),
                _blotted(secrets),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        ),
    )
    if libraries:
        _take_over(log)
    return log


def _listed_keys(*, strict: bool) -> Callable[[Any, str, EventDict], EventDict]:
    def check(_logger: Any, _method: str, event: EventDict) -> EventDict:
        sentence = event["event"]
        unlisted = [key for key in event if key not in KEYS and key not in _ALWAYS]
        if strict and (unlisted or sentence != sentence.lower() or not sentence.isascii()):
            raise UnlistedKey(f"{sentence}: {', '.join(unlisted)}")
        for key in unlisted:
            del event[key]
        return event

    return check


def _blotted(secrets: Iterable[str]) -> Callable[[Any, str, EventDict], EventDict]:
    clean = cleaner(secrets)

    def blot(_logger: Any, _method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if type(value) is str:
                event[key] = clean(value)
            elif isinstance(value, list | tuple):
                event[key] = [clean(each) if type(each) is str else each for each in value]
        return event

    return blot


def cleaner(secrets: Iterable[str]) -> Callable[[str], str]:
    """Makes a text fit to be shown: secrets blotted out, control characters escaped, cut."""
    hidden = sorted({each for each in secrets if len(each) >= SECRET_CHARS_MIN}, key=len)[::-1]

    def clean(text: str) -> str:
        for secret in hidden:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if "://" in text or "password=" in text:
            text = without_password(text)
        if len(text) > TEXT_CHARS_MAX:
            text = f"{text[:TEXT_CHARS_MAX]}…"
        return text if text.isprintable() else _escaped(text)

    return clean


def _escaped(text: str) -> str:
    """Control characters as ``\\x1b``: a log line must not steer a terminal or forge a line."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "replace").decode()
        for each in text
    )


def _json(_logger: Any, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return orjson.dumps(first | dict(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class LibraryHandler(logging.Handler):
    """Other people's log records as lines of ours, each repeated at most every 30 s."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        which = (record.name, str(record.msg))
        told_at, suppressed = self._told.get(which, (now - REPEAT_SECONDS, 0))
        if now - told_at < REPEAT_SECONDS:
            self._told[which] = (told_at, suppressed + 1)
            return
        self._told[which] = (now, 0)
        keys: dict[str, Any] = {"library": record.name, "detail": _message(record)}
        if suppressed:
            keys["suppressed"] = suppressed
        if record.exc_info and record.exc_info[1] is not None:
            keys["error_class"] = type(record.exc_info[1]).__name__
        tell = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        tell("library says", **keys)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)


def _take_over(log: Log) -> None:
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [LibraryHandler(log)]
    root.setLevel(logging.WARNING)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def keys_of(error: BaseException) -> Mapping[str, str]:
    """The keys by which an error is logged."""
    return {"error": str(error), "error_class": type(error).__name__}
