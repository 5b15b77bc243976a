"""One piece of a backfill: what is asked of a source's owner, and which days it makes known."""

from datetime import date
from typing import Any, NamedTuple

from cdc.jobs.days import Days


class Step(NamedTuple):
    """``request``: a kind of request. ``accounts``: whose days are known once it is done."""

    request: str
    book: str
    collection: str
    days: Days
    accounts: tuple[str, ...]

    @property
    def feed(self) -> str:
        """Steps of one feed follow one another."""
        return self.collection.rpartition("/")[0]

    def plain(self) -> dict[str, Any]:
        """As JSON, for the job's cursor."""
        first, last = (day.isoformat() for day in self.days)
        return {**self._asdict(), "days": [first, last], "accounts": list(self.accounts)}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Step":
        first, last = map(date.fromisoformat, plain["days"])
        return cls(**{**plain, "days": Days(first, last), "accounts": tuple(plain["accounts"])})
