"""The published schemas: fresh, and true for what older versions of this program wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from schemas.generate import FOLDER, documents, main

SAMPLES = sorted((Path(__file__).parents[1] / "golden" / "samples").glob("*.json"))


def schema(name: str) -> Draft202012Validator:
    document = json.loads((FOLDER / name).read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_files_are_what_the_models_say() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("name", sorted(documents()))
def test_every_schema_is_a_valid_one(name: str) -> None:
    schema(name)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_what_a_version_once_wrote_stays_valid(path: Path) -> None:
    """A sample is named ``<schema file>.<what it shows>.json`` and never edited."""
    name, version = path.name.rsplit(".v", 1)
    schema(f"{name}.v{version.split('.')[0]}.json").validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"amount": 12.5}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"date": "1.3.2026"}, "date"),
        ({"settled": None}, "settled"),
        ({"secret": "x"}, "after"),
    ],
)
def test_what_we_never_write_is_refused(change: dict[str, Any], path: str) -> None:
    name = "accounting.transactions.v1.json"
    sample = next(each for each in SAMPLES if each.name.startswith("accounting.transactions.v1"))
    event = json.loads(sample.read_text())
    event["after"] |= change
    with pytest.raises(ValidationError) as refused:
        schema(name).validate(event)
    assert path in str(refused.value)
