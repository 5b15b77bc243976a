"""Where the servers that come as Python wheels keep their programs."""

import importlib.metadata
from pathlib import Path

from compose.stack.errors import StackError


def program_path(distribution: str, path: str) -> Path:
    """The path of a file inside an installed wheel; StackError when the wheel is not there."""
    try:
        found = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found is None or not found.exists():
        raise StackError(f"the package {distribution} is not installed", "make install")
    return found.resolve()
