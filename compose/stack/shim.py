"""Becomes a server that dies with its parent.

Why a program of its own: the kernel forgets the wish to die with the parent when the user
changes, so it must be said after that and before the server's own first instruction; and doing
it between fork and exec of a Python process with threads can dead-lock.

Use: `python -I -S shim.py PARENT_PID USER_ID:GROUP_ID|- COMMAND…`
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent_pid, owner, *command = sys.argv[1:]
    if owner != "-":
        user_id, group_id = (int(part) for part in owner.split(":"))
        os.setgroups([])
        os.setresgid(group_id, group_id, group_id)
        os.setresuid(user_id, user_id, user_id)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent_pid):  # it died before we asked
        sys.exit(1)
    os.execv(command[0], command)


main()
