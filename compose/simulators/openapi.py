"""Whether an answer is what an official OpenAPI file says: the simulators' own honesty check.

Besides validating, it tells keys that the file does not know: a misspelt optional field is valid
JSON for every schema, and a lie all the same.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SPECS = Path(__file__).parents[3] / "shared" / "specs"
Schema = dict[str, Any]


class Spec:
    """One OpenAPI file, 3.0 or 3.1."""

    def __init__(self, path: Path) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = _with_null_types(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))
        self.paths: dict[str, Any] = document["paths"]
        self._schemas: dict[str, Schema] = document["components"]["schemas"]
        self._checks = jsonschema.FormatChecker()

    def answer_schema(self, method: str, path: str, status: int) -> Schema:
        """What an endpoint answers; ``path`` is the file's own template."""
        answers = self.paths[path][method.lower()]["responses"]
        answer = answers.get(str(status)) or answers["default"]
        return dict(answer["content"]["application/json"]["schema"])

    def fields(self, name: str) -> set[str]:
        """The names of all that an object of this schema may hold."""
        parts = self._parts(self._schemas[name])
        return {field for part in parts for field in part.get("properties", {})}

    def faults(self, schema: Schema, value: Any) -> list[str]:
        """Everything about the value that the file does not allow, or does not know."""
        whole = {**schema, "components": {"schemas": self._schemas}}
        validator = jsonschema.Draft202012Validator(whole, format_checker=self._checks)
        wrong = [
            f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)
        ]
        return wrong + list(self._unknown(schema, value, "$"))

    def _unknown(self, schema: Schema, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, list):
            for items in [each["items"] for each in self._parts(schema) if "items" in each]:
                for index, each in enumerate(value):
                    yield from self._unknown(items, each, f"{path}[{index}]")
        elif isinstance(value, dict):
            known: dict[str, Schema] = {}
            for part in self._parts(schema):
                known |= part.get("properties", {})
            for key, each in value.items():
                if key in known:
                    yield from self._unknown(known[key], each, f"{path}.{key}")
                elif known:
                    yield f"{path}: {key!r} is not in the file"

    def _parts(self, schema: Schema) -> Iterator[Schema]:
        """The schema and all it is made of."""
        yield schema
        if "$ref" in schema:
            yield from self._parts(self._schemas[schema["$ref"].split("/")[-1]])
        for word in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(word, ()):
                yield from self._parts(each)


def _with_null_types(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(node, list):
        return [_with_null_types(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _with_null_types(each) for key, each in node.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain
