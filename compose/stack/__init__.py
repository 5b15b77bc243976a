"""MongoDB, Kafka and PostgreSQL as plain processes, for demo, tests and bench.

Why: the product's promises are about real servers, and a person must be able to try it with two
commands on a machine that has no container engine.

Command: `python -m compose.stack up|down|env|fetch [--name NAME]` (see `__main__`).
From Python: `compose.stack.servers`. Starting, stopping, killing and restarting are coroutines
that belong to no particular event loop, so a server may be started in one loop and killed in
another; pausing and resuming are plain calls.
"""
