"""What a job is given to do its work with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from cdc.runtime.errors import SettingsError
from cdc.runtime.log import Log
from cdc.runtime.postgres import Connect
from cdc.runtime.settings_reader import did_you_mean

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


class Note(Protocol):
    """Tells how far the job is; ``cursor``: where it goes on after a crash."""

    def __call__(self, progress: Mapping[str, Any], cursor: Any = None) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """``control``: the control database. ``budget``: the database with the budget, by target."""

    control: Connect
    budget: Callable[[str | None], Connect]
    sources: frozenset[str]
    note: Note
    log: Log


class Said:
    """A job's parameters, each taken by name; what is left over is wrong."""

    def __init__(self, kind: str, params: Mapping[str, str]) -> None:
        self._kind = kind
        self._left = dict(params)
        self._known: list[str] = []

    def text(self, name: str) -> str | None:
        self._known.append(name)
        return self._left.pop(name, None)

    def needed(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise SettingsError(f"{self._kind} needs {name}", hint=f"add --param {name}=…")
        return found

    def one_of(self, name: str, values: tuple[str, ...], default: str) -> str:
        found = self.text(name)
        if found is not None and found not in values:
            raise SettingsError(f"{name} {found} is not known", hint=f"one of {', '.join(values)}")
        return default if found is None else found

    def flag(self, name: str) -> bool:
        return self.one_of(name, TRUE + FALSE, FALSE[0]) in TRUE

    def numbers(self, name: str) -> tuple[int, ...]:
        """Numbers with commas between."""
        parts = [part.strip() for part in (self.text(name) or "").split(",") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            raise SettingsError(f"{name} is no list of numbers", hint=f"as {name}=17,18")
        return tuple(map(int, parts))

    def day(self, name: str) -> date | None:
        """A date as ``2026-11-01``."""
        found = self.text(name)
        try:
            return None if found is None else date.fromisoformat(found)
        except ValueError as error:
            raise SettingsError(f"{name} {found} is no date", hint="as 2026-11-01") from error

    def nothing_else(self) -> None:
        """Raises ``SettingsError`` for a parameter that was not asked for."""
        for name in self._left:
            hint = did_you_mean(name, self._known)
            raise SettingsError(f"{self._kind} takes no parameter {name}", hint=hint)
