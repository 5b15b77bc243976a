"""Mappings are tried wherever documents can be read."""

from typing import Any

import pytest

from cdc.app import checks
from cdc.settings import MongoSettings, Settings
from cdc.sources.mongo_probe import Found


class Client:
    """Of a server that nobody asks."""

    def get_default_database(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("step", "tried"), [("images", True), ("rights", False), ("server", False)]
)
async def test_a_failed_check_keeps_mappings_from_being_tried_but_for_images(
    monkeypatch: pytest.MonkeyPatch, step: str, tried: bool
) -> None:
    async def probe(*_: Any, **__: Any) -> list[Found]:
        return [Found(step, "casa.contracts", checks.FAIL, "is not there", "make it")]

    async def sampled(*_: Any) -> list[dict[str, Any]]:
        return [{"mapping": "contracts"}]

    monkeypatch.setattr(checks, "probe", probe)
    monkeypatch.setattr(checks, "_sampled", sampled)
    monkeypatch.setattr(checks, "connect", lambda _uri: Client())
    source = MongoSettings(type="mongodb", uri="mongodb://127.0.0.1:1/casa?replicaSet=rs0")
    told: list[dict[str, Any]] = []
    found = await checks._mongo(Settings(), "casa", source, 10, told)
    assert [each.outcome for each in found] == [checks.FAIL]
    assert bool(told) is tried
