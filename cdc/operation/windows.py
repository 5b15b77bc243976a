"""Days of a source's history asked of its owner: read, woven into the stream, and told."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from cdc.operation.asked import Done
from cdc.runtime.errors import LedgerError, Policy, Refused, Unfit, policy
from cdc.sources.protocol import Page, Stream, Told, Window, Windowed
from cdc.whole_read import LookUp


def window_look_up(source: Windowed | None, said: Mapping[str, Any], done: Done) -> LookUp:
    """``said``: ``collection``, ``first``, ``last``, ``accounts``, ``left_out``.

    ``done`` gets ``{"accounts": {id: [objects, first date]}}``, once all of it is published.
    """
    if source is None:
        raise Refused("this source's history is not read by days")
    try:
        window = Window(
            date.fromisoformat(said["first"]),
            date.fromisoformat(said["last"]),
            tuple(said["accounts"]),
            frozenset(said.get("left_out", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"the window is not told: {error!r}") from error
    collection = str(said["collection"])
    told: dict[str, Told] = {}

    async def read(stream: Stream) -> Page:
        page, found = await source.window(stream, collection, window)
        told.clear()
        told.update(found)
        return page

    def published() -> None:
        done(result={"accounts": {name: list(each) for name, each in told.items()}})

    return LookUp(collection, (), published, read=read, on_failed=failing(done))


def failing(done: Done) -> Callable[[LedgerError], None]:
    """Tells who asked what went wrong, whether it may pass, and when to ask again."""

    def failed(error: LedgerError) -> None:
        wait = getattr(error, "retry_after_seconds", None)
        may_pass = policy(error) is Policy.RETRY and not isinstance(error, Unfit)
        done(str(error), {"may_pass": may_pass, "retry_after_seconds": wait})

    return failed
