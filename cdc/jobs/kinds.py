"""The kinds of jobs. Imported only when one is asked for or run: no start waits for them."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cdc.jobs import backfill, deduplicate, sync, validate
from cdc.jobs.model import Job, Params, Result
from cdc.jobs.tools import Tools
from cdc.runtime.errors import SettingsError
from cdc.runtime.settings_reader import did_you_mean


class Kind(NamedTuple):
    """``check`` raises ``SettingsError`` for parameters that the kind cannot take."""

    check: Callable[[Params], Any]
    run: Callable[[Job, Tools], Awaitable[Result]]


KINDS = {
    "sync": Kind(sync.check, sync.run),
    "backfill": Kind(backfill.check, backfill.run),
    "deduplicate": Kind(deduplicate.check, deduplicate.run),
    "validate": Kind(validate.check, validate.run),
}


def kind(name: str) -> Kind:
    """Raises ``SettingsError`` for a kind that is not."""
    if name not in KINDS:
        raise SettingsError(f"no kind of job {name}", hint=did_you_mean(name, KINDS))
    return KINDS[name]
