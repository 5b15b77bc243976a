"""The names that other programs already use for the same things, where nothing else says it."""

from collections.abc import Mapping
from typing import Any

from cdc.runtime.settings_reader import SettingsTree


def lay_plain_names(tree: SettingsTree, variables: Mapping[str, str]) -> None:
    """Lays ``MONGODB_URI`` and its like under the tree."""

    def said(name: str) -> str | None:
        return tree.variable(variables, name) or None

    _source(tree, "property", "mongodb", "uri", "MONGODB_URI", said("MONGODB_URI"))
    ynab = "YNAB_PERSONAL_ACCESS_TOKEN"
    _source(tree, "ynab", "ynab", "token", ynab, said(ynab))
    _targets(tree, said("DATABASE_URL"), said("ACCOUNTING_DB_URI"))
    _one(tree, ("kafka", "bootstrap_servers"), "KAFKA_BOOTSTRAP_SERVERS", said)
    _one(tree, ("sync", "enabled"), "SYNC_ENABLED", said)
    _one(tree, ("sync", "real_time"), "REAL_TIME_SYNC_ENABLED", said)
    _one(tree, ("sync", "scheduled"), "SCHEDULED_SYNC_ENABLED", said)


def _one(tree: SettingsTree, path: tuple[str, ...], name: str, said: Any) -> None:
    value = said(name)
    if value is not None and not tree.has(*path):
        tree.lay(path, value, f"environment {name}")


def _table(tree: SettingsTree, name: str) -> dict[str, Any]:
    """The tables under ``name``; empty where what stands there is no table (a fault elsewhere)."""
    found = tree.values.get(name, {})
    return found if isinstance(found, dict) else {}


def _source(
    tree: SettingsTree, source: str, kind: str, key: str, variable: str, value: str | None
) -> None:
    """A source of its own, unless one of its kind is configured otherwise."""
    if value is None:
        return
    sources = _table(tree, "sources")
    if source not in sources and any(_kind(each) == kind for each in sources.values()):
        return
    place = f"environment {variable}"
    if not tree.has("sources", source, "type"):
        tree.lay(("sources", source, "type"), kind, place)
    if _kind(sources.get(source) or tree.values["sources"][source]) == kind and not tree.has(
        "sources", source, key
    ):
        tree.lay(("sources", source, key), value, place)


def _kind(source: Any) -> str | None:
    return source.get("type") if isinstance(source, dict) else None


def _targets(tree: SettingsTree, database: str | None, accounting: str | None) -> None:
    targets = _table(tree, "targets")
    if database is not None and (not targets or "main" in targets):
        _dsn(tree, "main", database, "DATABASE_URL")
    if accounting is None:
        return
    for name, target in _table(tree, "targets").items():
        domains = target.get("domains", []) if isinstance(target, dict) else []
        if name != "accounting" and "accounting" in domains:
            return  # somebody said where accounting goes
    place = "environment ACCOUNTING_DB_URI"
    _dsn(tree, "accounting", accounting, "ACCOUNTING_DB_URI")
    if not tree.has("targets", "accounting", "domains"):
        tree.lay(("targets", "accounting", "domains"), '["accounting"]', place)
    for name in _table(tree, "targets"):
        if name != "accounting" and not tree.has("targets", name, "domains"):
            tree.lay(("targets", name, "domains"), '["budget"]', place)


def _dsn(tree: SettingsTree, target: str, dsn: str, variable: str) -> None:
    if not tree.has("targets", target, "dsn"):
        tree.lay(("targets", target, "dsn"), dsn, f"environment {variable}")
