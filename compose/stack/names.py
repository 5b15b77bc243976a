"""Where a stack of a given name keeps what.

`.stack/NAME/` is its folder and `.stack/NAME/env` its addresses; the stack without a name is
called `default` and has its addresses in `.stack/env`.
"""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from compose.stack.errors import StackError

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / ".stack"
DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


@dataclass(frozen=True)
class Place:
    """The files of one named stack."""

    name: str
    root: Path = ROOT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "env":
            raise StackError(
                f"{self.name!r} cannot be the name of a stack",
                "take lower-case letters, digits, - and _ (31 at most), and not `env`",
            )

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def environment_file(self) -> Path:
        return (self.root if self.name == DEFAULT else self.folder) / "env"

    @property
    def log(self) -> Path:
        """What the supervisor said after the start."""
        return self.folder / "supervisor.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "supervisor.pid"

    def lock(self, purpose: str) -> int | None:
        """Hold the named lock until the descriptor is closed or we die; None: another has it."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(locks / f"{self.name}.{purpose}", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @property
    def supervised(self) -> bool:
        """Whether a supervisor lives: the lock it holds cannot outlive it, as a pid file can."""
        descriptor = self.lock("supervisor")
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def environment(self) -> dict[str, str] | None:
        """The addresses of the running stack; None when it is not up."""
        if not self.supervised or not self.environment_file.exists():
            return None
        lines = self.environment_file.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)
