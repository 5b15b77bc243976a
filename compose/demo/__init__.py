"""The product, to watch: a property-management company lives, and its books follow.

Why: a person who has never heard of change streams should understand within a minute what this
does, see it survive a SIGKILL, and be told by independent code that the books are right.

Command: `python -m compose.demo [--for 20s]`. It starts MongoDB, Kafka and PostgreSQL as plain
processes and our own two beside them, and leaves nothing behind. Read `story.py` first.
"""
