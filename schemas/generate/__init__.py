"""JSON Schemas of every topic's key and value, generated from the models: ``schemas/json/``.

    python -m schemas.generate            write them
    python -m schemas.generate --check    exit 1 where a file is not what would be written

One file per entity and schema version; what a version once allowed it allows for ever.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas.dead_letter import SCHEMA_ID, DeadLetter
from schemas.entities import ENTITIES, Entity

FOLDER = Path(__file__).parents[1] / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT = {"type": "string"}
_KEY = {"book": _TEXT, "id": _TEXT, "source": _TEXT}

KEY_SCHEMA: dict[str, Any] = {
    "$schema": DIALECT,
    "$id": "key/1",
    "title": "key",
    "description": "The primary key of a row: canonical JSON, sorted keys, no spaces.",
    "type": "object",
    "properties": _KEY,
    "required": ["book", "id", "source"],
    "additionalProperties": False,
}

_SOURCE: dict[str, Any] = {
    "type": "object",
    "description": "Where the change came from; flat scalars, more may be added.",
    "properties": {
        "version": {"type": "string", "description": "of this envelope's content"},
        "connector": {"type": "string", "examples": ["mongodb", "ynab", "plaid"]},
        "name": {"type": "string", "description": "of the source"},
        "ts_ms": {"type": "integer", "description": "when it happened at the source"},
        "snapshot": {"enum": ["true", "last", "false"]},
        "db": {"type": "string", "description": "database; for APIs the plan or item"},
        "collection": {"type": "string", "description": "collection; for APIs the resource"},
        "change_version": {"type": "string", "pattern": "^[0-9a-f]{28}$"},
        "mapping": {"type": "string"},
    },
    "required": [
        "version",
        "connector",
        "name",
        "ts_ms",
        "snapshot",
        "db",
        "collection",
        "change_version",
        "mapping",
    ],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}


def value_schema(entity: Entity) -> dict[str, Any]:
    """The envelope of an entity's topic."""
    model = entity.model.model_json_schema()
    row = {
        "type": "object",
        "description": model.get("description", ""),
        "properties": _KEY | {name: _plain(each) for name, each in model["properties"].items()},
        "required": sorted([*_KEY, *model.get("required", [])]),
        "additionalProperties": False,
    }
    # before may be the state under an older mapping: any column may be missing there
    before = row | {"required": sorted(_KEY)}
    return {
        "$schema": DIALECT,
        "$id": entity.schema_id,
        "title": entity.name,
        "type": "object",
        "properties": {
            "before": {"anyOf": [{"type": "null"}, before]},
            "after": {"anyOf": [{"type": "null"}, row]},
            "op": {"enum": ["c", "u", "d", "r"]},
            "source": _SOURCE,
            "ts_ms": {"type": "integer", "description": "when it was published"},
        },
        "required": ["before", "after", "op", "source", "ts_ms"],
        "additionalProperties": False,
    }


def dead_letter_schema() -> dict[str, Any]:
    """The value on the topic of dead letters."""
    schema = msgspec.json.schema(DeadLetter)["$defs"]["DeadLetter"]
    return {"$schema": DIALECT, "$id": SCHEMA_ID, **schema}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A column's schema without what pydantic adds for its own use."""
    return {name: value for name, value in schema.items() if name not in ("title", "default")}


def documents() -> dict[str, dict[str, Any]]:
    """Every file's name and content."""
    found = {
        f"{entity.name}.v{entity.schema_version}.json": value_schema(entity)
        for entity in ENTITIES.values()
    }
    return found | {"key.v1.json": KEY_SCHEMA, "dead_letter.v1.json": dead_letter_schema()}


def main(arguments: list[str]) -> int:
    """Exit code; what is stale is told on stderr."""
    wanted = {
        name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in documents().items()
    }
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    stale = sorted(
        name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name)
    )
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"schemas/json/{name} is stale: run python -m schemas.generate\n")
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()
    return 0
