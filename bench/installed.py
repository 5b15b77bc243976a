"""`cdc` as a user installs it: the packages of the runtime and none of the tests', compiled.

Libraries look for further packages and import what they find (pymongo half of `cryptography`,
7 MB): in `.venv` that would be counted as ours.
"""

import asyncio
import hashlib
import shutil
import sys
from pathlib import Path

from compose.stack.errors import StackError
from compose.stack.names import REPOSITORY
from compose.stack.process import Child

INSTALL_SECONDS_MAX = 300.0
IMAGE_PYTHON = "python3.11"
"""What the Dockerfile's image runs."""
PACKAGES = ("cdc", "consumers", "schemas")
_DISTRIBUTION = "/usr/local/bin:/usr/bin"
_LOCK = REPOSITORY / "requirements-runtime.lock"
_UV = REPOSITORY / ".venv" / "bin" / "uv"


def usual_python() -> Path:
    """The distribution's own interpreter of the image's version, else the one that runs this.

    Images and distributions build theirs with profile-guided optimisation. One that somebody
    compiled (pyenv does by default) has none, and everything costs a seventh more.
    """
    return Path(shutil.which(IMAGE_PYTHON, path=_DISTRIBUTION) or sys.executable)


async def installed(interpreter: Path) -> tuple[Path | str, ...]:
    """The words that run it; installs under `.cache/` what the lock says, where that is not yet.

    Raises `StackError` where the interpreter cannot be used.
    """
    folder = REPOSITORY / ".cache" / "bench-venv"
    python = folder / "bin" / "python"
    stamp = folder / "lock.sha256"
    wanted = _wanted(interpreter)
    if not stamp.is_file() or stamp.read_text() != wanted:
        await _run(_UV, "venv", "--quiet", "--clear", "--python", interpreter, folder)
        exact = ("--quiet", "--require-hashes", "--compile-bytecode", "--python", python)
        await _run(_UV, "pip", "sync", *exact, _LOCK)
        (packages,) = folder.glob("lib/python3.*/site-packages")
        (packages / "ledger-cdc.pth").write_text(f"{REPOSITORY}\n")
        stamp.write_text(wanted)
    # As an installation does: a stale file would be compiled anew by every process.
    await _run(python, "-m", "compileall", "-q", *(REPOSITORY / each for each in PACKAGES))
    return (python, "-m", "cdc")


def _wanted(interpreter: Path) -> str:
    """What an installation for it is known by."""
    found = shutil.which(interpreter)
    if found is None:
        raise StackError(f"there is no program {interpreter}", "name another with --python")
    program = Path(found).resolve()
    made = f"{program} {program.stat().st_mtime_ns}"
    return hashlib.sha256(_LOCK.read_bytes() + made.encode()).hexdigest()


async def python_version(interpreter: Path) -> str:
    """With the compiler it was built with."""
    process = await asyncio.create_subprocess_exec(
        *(interpreter, "-c", "import sys; print(sys.version.replace(chr(10), ''))"),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise StackError(f"{interpreter} does not run", "name another with --python")
    return told.decode().strip()


async def _run(*words: str | Path) -> None:
    log = REPOSITORY / ".cache" / "bench-venv.log"
    child = Child(words, log)
    await child.finish(INSTALL_SECONDS_MAX, f"`{' '.join(map(str, words[:3]))}`")
