"""Memory, set for processes that make many short-lived objects and few cycles."""

import contextlib
import gc

YOUNG_OBJECTS = 50_000
GENERATIONS = 20
HEAP_RESERVE_BYTES = 16 * 1024 * 1024

_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2
"""Of ``mallopt(3)``."""


def collect_rarely() -> None:
    """For the whole process, from its first line on.

    By default the collector goes through the objects of a batch again and again while it is being
    read, a fifth of what an event costs; and through all modules while they are imported, a tenth
    of the start.
    """
    gc.set_threshold(YOUNG_OBJECTS, GENERATIONS, GENERATIONS)


def settle_memory() -> None:
    """For daemons, once they are built: what is there by now is never gone through again.

    Not even now: imports leave no cycle to be found, and the look takes 30 ms. And glibc keeps the
    heap's top, which it would give back to the kernel after every batch, to fault it in again for
    the next: 1 us an event. The peak stays the same.
    """
    gc.freeze()
    with contextlib.suppress(AttributeError, OSError):  # another C library: no such option
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, HEAP_RESERVE_BYTES)
        mallopt(_M_TOP_PAD, HEAP_RESERVE_BYTES)
