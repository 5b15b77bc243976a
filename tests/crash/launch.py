"""`cdc` with its clients wrapped: it dies at the first point that no life before it has passed.

    python -m tests.crash.launch run | consume

What to die of comes by the environment (`CRASH_…`); times and sizes are smaller than usual, so
that every step comes within a second.
"""

import os
import signal
import sys
from pathlib import Path

from tests.crash.points import Points
from tests.crash.wrapped import wrap_everything


def main() -> None:
    said = os.environ
    points = Points(
        Path(said["CRASH_SEEN"]),
        number=signal.Signals[said.get("CRASH_SIGNAL", "SIGKILL")],
        nth=int(said.get("CRASH_NTH", "1")),
        only=said.get("CRASH_ONLY", ""),
        never=tuple(filter(None, said.get("CRASH_NEVER", "").split(","))),
    )
    wrap_everything(points)
    hasten(sys.argv[1])
    from cdc.__main__ import main as cdc

    cdc()


def hasten(verb: str) -> None:
    """Several pages for a few documents, an idle cursor saved each second, and so on."""
    if verb == "run":
        from cdc import own_rows, running, stream_reader  # noqa: F401
        from cdc.app import sources

        stream_reader.PAGE_ROWS = 7
        stream_reader.SAVE_SECONDS = 0.5
        sources.CONTROL_START_SECONDS = 0.0
        running.REJOIN_SECONDS = 1.0
    else:
        from consumers import apply
        from consumers.settings import ConsumerLimits

        apply.COPY_ROWS_MIN = 5
        limits = ConsumerLimits.__init__.__kwdefaults__  # type: ignore[misc]
        limits |= {"keep_seconds": 0.3, "check_seconds": 0.6, "touch_seconds": 0.5}


if __name__ == "__main__":
    main()
