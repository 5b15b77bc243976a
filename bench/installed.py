"""`cdc` as a user installs it: the packages of the runtime and none of the tests'.

Libraries look for further packages and import what they find (pymongo half of `cryptography`,
7 MB): in `.venv` that would be counted as ours.
"""

import hashlib
import sysconfig
from pathlib import Path

from compose.stack.names import REPOSITORY
from compose.stack.process import Child

INSTALL_SECONDS_MAX = 300.0
_LOCK = REPOSITORY / "requirements-runtime.lock"
_UV = REPOSITORY / ".venv" / "bin" / "uv"


async def installed() -> tuple[Path | str, ...]:
    """The words that run it; installs under `.cache/` what the lock says, where that is not yet."""
    folder = REPOSITORY / ".cache" / "bench-venv"
    python = folder / "bin" / "python"
    stamp = folder / "lock.sha256"
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        own = REPOSITORY / ".venv" / "bin" / "python"
        await _run("venv", "--quiet", "--clear", "--python", own, folder)
        await _run("pip", "sync", "--quiet", "--require-hashes", "--python", python, _LOCK)
        packages = folder / Path(sysconfig.get_path("purelib")).relative_to(own.parents[1])
        (packages / "ledger-cdc.pth").write_text(f"{REPOSITORY}\n")
        stamp.write_text(wanted)
    return (python, "-m", "cdc")


async def _run(*words: str | Path) -> None:
    log = REPOSITORY / ".cache" / "bench-venv.log"
    child = Child([_UV, *words], log)
    await child.finish(INSTALL_SECONDS_MAX, f"`uv {words[0]}`")
