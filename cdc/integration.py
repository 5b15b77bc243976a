"""Answers of other people's servers that cannot be used, or contradict themselves: kept to be seen.

Such an answer ends nothing: the stream asks again, others go on. What is kept are its kind, where
it was met and how often; never what it held. Whoever has the control database stores it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cdc.runtime.errors import BadAnswer, LedgerError, Rejected

REJECTED = "rejected"


class Kind(NamedTuple):
    """``subject``: the object that contradicts itself; empty: the answer as a whole."""

    stream: str
    endpoint: str
    category: str
    subject: str = ""


@dataclass(slots=True)
class Seen:
    """``count``: since it was last stored. ``open``: it has not ended since."""

    count: int = 0
    detail: str = ""
    open: bool = True


@dataclass(slots=True)
class Steps:
    """What is to be stored: first what has ended, then what was seen."""

    streams: set[str] = field(default_factory=set)
    """Their answers can be used again."""
    subjects_of: set[str] = field(default_factory=set)
    """Streams that are read whole: what contradicts itself will be told again."""
    agreed: set[Kind] = field(default_factory=set)
    seen: dict[Kind, Seen] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.streams or self.subjects_of or self.agreed or self.seen)


class IntegrationErrors:
    """Of one source. ``news``: told of a kind that was not open; ``counted``: of each one."""

    def __init__(
        self,
        news: Callable[[Kind], None] = lambda kind: None,
        counted: Callable[[str], None] = lambda category: None,
    ) -> None:
        self._news = news
        self._counted = counted
        self._steps = Steps()
        self.open: set[Kind] = set()
        """What was met and has not ended since, in this life."""
        self._usable: set[str] = set()

    def failed(self, stream: str, error: LedgerError) -> None:
        """A request of the stream (empty: of the source) ended so; other errors are not kept."""
        if isinstance(error, BadAnswer | Rejected):
            category = error.category if isinstance(error, BadAnswer) else REJECTED
            self._usable.discard(stream)
            self._note(Kind(stream, error.operation, category), error.message)

    def contradicts(self, kind: Kind) -> None:
        """An object contradicts itself."""
        self._note(kind, "")

    def agrees(self, kind: Kind) -> None:
        """It was told again and does not."""
        self._steps.agreed.add(kind)
        self._close({kind} & self.open)

    def answered(self, stream: str) -> None:
        """The stream's answers can be used."""
        for each in ("", stream):
            if each not in self._usable:
                self._usable.add(each)
                self._steps.streams.add(each)
                self._close(k for k in self.open if k.stream == each and not k.subject)

    def read_whole(self, stream: str) -> None:
        """All of the stream's objects are told again from now on."""
        self._steps.subjects_of.add(stream)
        self._close(kind for kind in self.open if kind.stream == stream and kind.subject)

    def take(self) -> Steps:
        """What has changed since the last time."""
        steps, self._steps = self._steps, Steps()
        return steps

    def give_back(self, steps: Steps) -> None:
        """It could not be stored."""
        later, self._steps = self._steps, steps
        steps.streams |= later.streams
        steps.subjects_of |= later.subjects_of
        steps.agreed |= later.agreed
        for kind, seen in later.seen.items():
            known = steps.seen.setdefault(kind, Seen())
            known.count += seen.count
            known.detail, known.open = seen.detail, seen.open

    def _note(self, kind: Kind, detail: str) -> None:
        self._counted(kind.category)
        if kind not in self.open:
            self.open.add(kind)
            self._news(kind)
        seen = self._steps.seen.setdefault(kind, Seen())
        seen.count += 1
        seen.detail, seen.open = detail, True
        self._steps.agreed.discard(kind)

    def _close(self, kinds: Iterable[Kind]) -> None:
        for kind in list(kinds):
            self.open.discard(kind)
            if (seen := self._steps.seen.get(kind)) is not None:
                seen.open = False
