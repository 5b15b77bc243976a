"""Kafka to Postgres. Read ``consume.py`` first."""
