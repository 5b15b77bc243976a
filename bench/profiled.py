"""Runs `cdc` under cProfile: `python profiled.py OUTPUT VERB`.

Why not `python -m cProfile`: the product ends its process at once, before a profile is written.
"""

import cProfile
import sys

from cdc.cli.commands import app


def main() -> None:
    output, *sys.argv[1:] = sys.argv[1:]
    profile = cProfile.Profile()
    try:
        profile.runcall(app, prog_name="cdc")
    finally:
        profile.dump_stats(output)


main()
