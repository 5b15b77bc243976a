"""Memory, set for processes that make many short-lived objects and few cycles."""

import contextlib
import gc

START_OBJECTS = 250_000
"""More than a process has when it is built (110,000)."""
YOUNG_OBJECTS = 50_000
GENERATIONS = 20
HEAP_RESERVE_BYTES = 16 * 1024 * 1024

_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2
"""Of ``mallopt(3)``."""


def collect_rarely() -> None:
    """For the whole process, from its first line on.

    By default the collector goes through the modules again and again while they are imported, a
    fifth of the start. They hold no cycle to be found.
    """
    gc.set_threshold(START_OBJECTS, GENERATIONS, GENERATIONS)


def settle_memory() -> None:
    """For daemons, once they are built: what is there by now is never gone through again.

    Nor, by default, would the collector leave the objects of a batch alone while it is being read:
    a fifth of what an event costs. And glibc keeps the heap's top, which it would give back to the
    kernel after every batch, to fault it in again for the next: 1 us an event. The peak stays the
    same.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, GENERATIONS, GENERATIONS)
    with contextlib.suppress(AttributeError, OSError):  # another C library: no such option
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, HEAP_RESERVE_BYTES)
        mallopt(_M_TOP_PAD, HEAP_RESERVE_BYTES)
