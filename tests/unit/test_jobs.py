"""Jobs without servers: parameters, the bar, and that no start waits for them."""

import subprocess
import sys

import pytest

from cdc.cli.jobs import bar
from cdc.jobs.kinds import KINDS, kind
from cdc.jobs.tools import Said
from cdc.runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("synk", {}),
        ("sync", {}),
        ("sync", {"source": "a", "sorce": "b"}),
        ("sync", {"source": "a", "allow_deletes": "perhaps"}),
    ],
)
def test_wrong_parameters_are_told_with_the_way_out(name: str, params: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as told:
        kind(name).check(params)
    assert told.value.hint


def test_numbers_are_a_list() -> None:
    assert Said("k", {"ids": "3, 4"}).numbers("ids") == (3, 4)
    with pytest.raises(SettingsError):
        Said("k", {"ids": "3;4"}).numbers("ids")


def test_the_bar_shows_how_far_it_is() -> None:
    job = {"state": "running", "progress": {"done": 5, "total": 10, "step": "balances"}}
    assert bar(job) == f"running  [{'#' * 15}{' ' * 15}]  50%  balances"
    assert bar({"state": "waiting", "progress": {}}) == "waiting"
    assert bar({"state": "running", "progress": {"done": 7}}) == "running  7 done"


def test_no_start_waits_for_jobs() -> None:
    program = "import sys, cdc.app.sources; print([m for m in sys.modules if 'cdc.jobs' in m])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
    assert KINDS
