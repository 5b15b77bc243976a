"""What both sides of Kafka agree on: keys, values, versions, topics, hashes, tables.

Imports nothing else of ours, so that a reader of the topics needs this package alone.
"""
