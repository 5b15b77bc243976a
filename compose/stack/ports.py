"""Ports for servers: free, and outside the range the kernel gives to outgoing connections.

Why outside: a server that is killed and started again on its port must find it free. Between the
choice of a port and its server others choose, too: processes that began one after the other do so
from different stripes, and none takes the same twice.
"""

import os
import random
import socket
from pathlib import Path

from compose.stack.errors import StackError

LOOPBACK = "127.0.0.1"
PORT_FIRST = 12_000
PORT_LAST_DEFAULT = 32_767
PORTS_WANTED = 8_000
PORT_MIN = 1_024
LAST_MIN = 4_096
"""Where the kernel's range leaves less than this below itself, ports are taken inside it."""
STRIPES = 32
TRIES_MAX = 200
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def is_free(port: int) -> bool:
    """Whether nobody listens on the port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port on which nobody listens now, and that this process was not given before."""
    last = PORT_LAST_DEFAULT
    if _RANGE.exists() and (below := int(_RANGE.read_text().split()[0]) - 1) >= LAST_MIN:
        last = min(last, below)
    first = min(PORT_FIRST, max(PORT_MIN, last - PORTS_WANTED))
    ours = range(first + (os.getpid() - first) % STRIPES, last + 1, STRIPES)
    for _ in range(TRIES_MAX):
        port = random.SystemRandom().choice(ours)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise StackError("no free port was found", "end some of the servers on this machine")


def require_free(port: int, server: str, way_out: str) -> None:
    """StackError when somebody listens on the port."""
    if not is_free(port):
        raise StackError(f"{server}: port {port} on {LOOPBACK} is taken", way_out)
