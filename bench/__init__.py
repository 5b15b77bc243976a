"""The benchmark: what an event costs, how fast a backlog goes, how late a row is.

Command: `python -m bench [--only inserts,idle] [--events 20000] [--repeat 3]`. What is measured and
how stands in README.md beside this file; the figures to reach in `figures.py`.
"""
