"""The YNAB simulator: plans, tokens, the rolling hour, and what its endpoints answer."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import msgspec

from compose.simulators.clock import Clock, instant
from compose.simulators.quota import RollingQuota
from compose.simulators.server import Refusal, Simulator
from compose.simulators.wire import Answer, Request
from compose.simulators.ynab_edits import PlanEdits
from compose.simulators.ynab_errors import error_answer, refuse
from compose.simulators.ynab_household import YnabSize, household
from compose.simulators.ynab_lists import data_answer
from compose.simulators.ynab_plan import Plan
from compose.simulators.ynab_reads import PlanReads
from compose.simulators.ynab_switches import Switches
from compose.simulators.ynab_writes import PlanWrites

TOKEN = "simulated-ynab-token"
REQUESTS_PER_HOUR_MAX = 200
HOUR_SECONDS = 3600
OLD_KEYS = {"plans": "budgets", "plan": "budget", "default_plan": "default_budget"}
EDITS = tuple(
    name
    for name in dir(PlanEdits)
    if not name.startswith("_") and callable(getattr(PlanEdits, name))
)


class Token(msgspec.Struct, kw_only=True):
    """What a token may do; ``error`` is the name of the error it always gets."""

    error: str | None = None
    read_only: bool = False
    expires_at: str | None = None


class Book:
    """A plan with those who change it and those who read it."""

    def __init__(self, plan: Plan, switches: Switches) -> None:
        self.plan = plan
        self.edits = PlanEdits(plan)
        self.reads = PlanReads(plan, switches)
        self.writes = PlanWrites(self.edits, self.reads)


class YnabSimulator(Simulator):
    """`base_url` is what a client is configured with; `plan()` gives the edits of a plan."""

    def __init__(
        self,
        sizes: Iterable[YnabSize] = (YnabSize(),),
        *,
        seed: int = 1,
        clock: Clock | None = None,
        switches: Switches | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(clock, port=port)
        self.switches = switches or Switches()
        self.tokens = {TOKEN: Token()}
        self.default_plan: str | None = None
        self.chance = random.Random(seed)
        self.quota = RollingQuota(REQUESTS_PER_HOUR_MAX, HOUR_SECONDS)
        self.books: dict[str, Book] = {}
        for size in sizes:
            self.add_plan(size)

    @property
    def base_url(self) -> str:
        return f"{self.host_url}/v1"

    def add_plan(self, size: YnabSize) -> PlanEdits:
        """One more household."""
        plan = household(size, self.clock, random.Random(self.chance.getrandbits(64)))
        plan.derived_stamps = self.switches.derived_stamps
        self.books[plan.id] = Book(plan, self.switches)
        return self.books[plan.id].edits

    def plan(self, reference: str | None = None) -> PlanEdits:
        """The edits of the plan of that id or name; without one, of the first."""
        for book in self.books.values():
            if reference in (None, book.plan.id, book.plan.name):
                return book.edits
        raise LookupError(f"no plan {reference!r}")

    # -- orders ------------------------------------------------------------------------------

    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """The plan's edits, each with a further ``plan`` argument, and the simulator's own."""
        own = (self.switch, self.set_token, self.drop_plan, self.plans_summary, self.new_plan)
        return {each.__name__: each for each in own} | {name: self._edit_of(name) for name in EDITS}

    def switch(self, **values: Any) -> None:
        """Set fields of ``Switches``."""
        hints = get_type_hints(Switches)
        for name, value in values.items():
            if name not in {each.name for each in fields(Switches)}:
                raise ValueError(f"no switch {name!r}")
            setattr(self.switches, name, msgspec.convert(value, hints[name]))
        for book in self.books.values():
            book.plan.derived_stamps = self.switches.derived_stamps

    def set_token(self, token: str, **fields: Any) -> None:
        """A token of that kind: ``error`` (a name), ``read_only``, ``expires_at``."""
        self.tokens[token] = msgspec.convert(fields, Token)

    def drop_plan(self, plan: str) -> None:
        """A plan is deleted: 404 from now on."""
        del self.books[self.plan(plan).plan.id]

    def new_plan(self, **size: Any) -> str:
        """A further plan of the size given (fields of ``YnabSize``); its id."""
        return self.add_plan(msgspec.convert(size, YnabSize)).plan.id

    def plans_summary(self) -> list[dict[str, Any]]:
        return [book.edits.summary() for book in self.books.values()]

    def _edit_of(self, name: str) -> Callable[..., Any]:
        def edit(plan: str | None = None, **args: Any) -> Any:
            return getattr(self.plan(plan), name)(**args)

        return edit

    # -- answering ---------------------------------------------------------------------------

    def credential(self, request: Request) -> str:
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def named_error(self, name: str) -> Answer:
        return error_answer(name)

    def admit(self, request: Request) -> Answer | None:
        """The token first, which costs nothing; then the hour."""
        name = self.credential(request)
        token = self.tokens.get(name)
        now = self.clock.now()
        if token is None or (token.expires_at is not None and token.expires_at <= instant(now)):
            return error_answer("not_authorized")
        self.quota.counts_refused = self.switches.counts_429
        if not self.quota.take(name, now):
            return error_answer("too_many_requests")
        if token.error is not None:
            return error_answer(token.error)
        if token.read_only and request.method != "GET":
            return error_answer("unauthorized_scope")
        return None

    def answer(self, request: Request) -> Answer:
        answer = self._routed(request)
        if not self.switches.rate_limit_header:
            return answer
        used = self.quota.used(self.credential(request), self.clock.now())
        header = {"x-rate-limit": f"{used}/{self.quota.limit}"}
        return Answer(answer.status, answer.body, header)

    def _routed(self, request: Request) -> Answer:
        first, *parts = request.path.strip("/").split("/")
        old = parts[:1] == ["budgets"] and self.switches.budgets_alias
        if old:
            parts[0] = "plans"
        try:
            if first == "v1":
                match parts:
                    case ["user"]:
                        user = next(iter(self.books.values())).plan.user_id
                        return data_answer(user={"id": user})
                    case ["plans"]:
                        return self._plans(request, OLD_KEYS if old else {})
                    case ["plans", reference, *rest]:
                        return self._about(self._book(reference), rest, request, old=old)
            raise refuse("not_found")
        except Refusal as refusal:
            return refusal.answer

    def _plans(self, request: Request, keys: Mapping[str, str]) -> Answer:
        with_accounts = request.query.get("include_accounts") == "true"
        default = self.books.get(self.default_plan or "")
        parts = {
            "plans": [
                book.reads.summary(with_accounts=with_accounts) for book in self.books.values()
            ],
            "default_plan": default and default.reads.summary(),
        }
        return data_answer(**{keys.get(key, key): part for key, part in parts.items()})

    def _about(self, book: Book, rest: list[str], request: Request, *, old: bool) -> Answer:
        book.plan.roll_over()
        if request.method != "GET":
            return book.writes.route(rest, request)
        if old and not rest:
            return book.reads.detail(request.query, OLD_KEYS["plan"])
        return book.reads.route(rest, request)

    def _book(self, reference: str) -> Book:
        if reference == "default":
            reference = self.default_plan or ""
        elif reference == "last-used":
            return max(self.books.values(), key=lambda book: book.plan.modified_at)
        if reference not in self.books:
            raise refuse("resource_not_found")
        return self.books[reference]
