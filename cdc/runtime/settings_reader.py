"""Where settings come from: a TOML file, the environment over it, flags over both.

Knows no setting's meaning. Each layer is laid over one tree of plain values, and every value keeps
the words for where it was found, so that a fault can name its place. The only reader of the
process's environment.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from cdc.runtime.errors import SettingsError

Keys = tuple[str, ...]
HIDDEN = "***"
SEPARATOR = "__"
FILE_SUFFIX = "_FILE"

# Kubernetes describes every service of a namespace in its pods' environment: one named "cdc"
# would otherwise look like misspelt settings.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")


class Fault(NamedTuple):
    """One thing that is wrong. ``value``: as text, secrets as ``***``, or empty."""

    place: str
    value: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.place}{value}: {self.reason}{fix}"


class FaultySettings(SettingsError):
    """All that is wrong with the settings, at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)), hint="")


def environment() -> dict[str, str]:
    """A copy of the process's environment, taken once."""
    return dict(os.environ)


@dataclass(slots=True)
class SettingsTree:
    """Plain values as the layers said them, and where each was said."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Keys, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def read_file(self, path: Path, *, required: bool) -> None:
        """Lays a TOML file over the tree; a missing one is a fault only where it is required."""
        try:
            with path.open("rb") as file:
                self.values = tomllib.load(file)
        except FileNotFoundError:
            if required:
                self._fault(str(path), "there is no such file", "give --config an existing file")
        except OSError as error:
            self._fault(str(path), f"cannot be read: {error.strerror}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self._fault(str(path), f"is not TOML: {error}")
        else:
            self.places[()] = path.name

    def read_environment(
        self, variables: Mapping[str, str], prefix: str, ignored: Iterable[str] = ()
    ) -> None:
        """Lays ``PREFIX_A__B=value`` over ``a.b``; with ``_FILE`` the value is a file's content."""
        for name in sorted(variables):
            if not name.startswith(prefix) or name in ignored or _SERVICE_LINK.search(name):
                continue
            if name.endswith(FILE_SUFFIX) and name.removesuffix(FILE_SUFFIX) in variables:
                self._fault(name, f"{name.removesuffix(FILE_SUFFIX)} is set too", "keep one")
                continue
            value = self.variable(variables, name.removesuffix(FILE_SUFFIX))
            bare = name.removesuffix(FILE_SUFFIX).removeprefix(prefix)
            if value is not None:
                self.lay(tuple(bare.lower().split(SEPARATOR)), value, f"environment {name}")

    def variable(self, variables: Mapping[str, str], name: str) -> str | None:
        """A variable's value, or the content of the file that ``NAME_FILE`` names."""
        if name in variables:
            return variables[name]
        file = variables.get(name + FILE_SUFFIX)
        if file is None:
            return None
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8"
            self._fault(name + FILE_SUFFIX, f"cannot be read: {reason}", value=file)
            return None

    def lay(self, path: Keys, text: str, place: str) -> None:
        """Puts ``text`` (JSON where it begins like a list or a table) at ``path``."""
        node: Any = self.values
        known: list[str] = []
        for part in path[:-1]:
            key = _key(node, part)
            known.append(str(key))
            if isinstance(node, list) and isinstance(key, int):
                node = node[key]
            elif isinstance(node, dict):
                node = node.setdefault(str(key), {})
            if not isinstance(node, dict | list):
                self._fault(place, f"{'.'.join(known)} is a value, not a table")
                return
        key = _key(node, path[-1])
        if isinstance(node, list) and not isinstance(key, int):
            self._fault(place, f"{'.'.join(known)} has no element {path[-1]}")
            return
        node[key] = _value(text)
        self.places[(*known, str(key))] = place

    def has(self, *path: str) -> bool:
        """Whether any layer said something there."""
        node: Any = self.values
        for part in path:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def place(self, path: Keys) -> str:
        """The setting's name, and where it was said."""
        for length in range(len(path), -1, -1):
            if said := self.places.get(path[:length]):
                return f"{'.'.join(path)} ({said})"
        return ".".join(path)

    def fault(self, path: Keys, reason: str, fix: str = "", value: str = "") -> None:
        """Notes a fault of a setting."""
        self.faults.append(Fault(self.place(path), value, reason, fix))

    def _fault(self, place: str, reason: str, fix: str = "", value: str = "") -> None:
        self.faults.append(Fault(place, value, reason, fix))


def _value(text: str) -> Any:
    """Lists and tables are JSON; a password that begins like one is still a text."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _key(node: Any, part: str) -> str | int:
    """The key meant by a part of a variable's name: case and dashes are lost in those."""
    if isinstance(node, list):
        return int(part) if part.isdecimal() and int(part) < len(node) else part
    for key in node if isinstance(node, dict) else ():
        if key.lower().replace("-", "_") == part.replace("-", "_"):
            return str(key)
    return part


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    known = sorted(words)
    found = get_close_matches(word.lower(), [each.lower() for each in known], n=1, cutoff=0.6)
    return next((each for each in known if found and each.lower() == found[0]), None)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The fix of an unknown key: the nearest right one, or all of them."""
    known = sorted(words)
    if (found := nearest(word, known)) is not None:
        return f"did you mean {found}?"
    return f"known: {', '.join(known)}" if known else ""


def without_password(text: str) -> str:
    """A URI or DSN whose password is ``***``."""
    return _PASSWORD.sub(rf"\1{HIDDEN}\2", _QUERY_PASSWORD.sub(rf"\1{HIDDEN}", text))


_PASSWORD = re.compile(r"(\w+://[^/\s:@]*:)\S*(@)")
_QUERY_PASSWORD = re.compile(r"([?&\s]password=)[^&\s]+", re.IGNORECASE)
