"""YNAB's API: its endpoints, its errors, and its quota taken before every request."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx
import msgspec
from msgspec import Raw, Struct

from cdc.quota import Quota
from cdc.runtime.errors import BadAnswer, Gap, LedgerError, Rejected, Unavailable, Unfit
from cdc.runtime.http import Answer, HttpClient, detail, exact_decoder
from cdc.sources.polled_objects import head_of
from cdc.sources.ynab_answers import PlanBody, PlanSummary

T = TypeVar("T")

BASE_URL = "https://api.ynab.com/v1"


class TooSlow(Unavailable):
    """503: overload, maintenance, or more than YNAB can put together in its 30 seconds."""


class _Plans(Struct):
    plans: list[Raw]


class _Plan(Struct):
    plan: PlanBody
    server_knowledge: int


class _List(Struct):
    """Any of the lists. Those without a delta have no knowledge."""

    server_knowledge: int | None = None
    accounts: list[Raw] | None = None
    category_groups: list[Raw] | None = None
    payees: list[Raw] | None = None
    payee_locations: list[Raw] | None = None
    months: list[Raw] | None = None
    transactions: list[Raw] | None = None
    scheduled_transactions: list[Raw] | None = None
    money_movements: list[Raw] | None = None
    money_movement_groups: list[Raw] | None = None


class _MonthCategories(Struct):
    categories: list[Raw]


class _Month(Struct):
    month: _MonthCategories


class _PlansAnswer(Struct):
    data: _Plans


class _PlanAnswer(Struct):
    data: _Plan


class _ListAnswer(Struct):
    data: _List


class _MonthAnswer(Struct):
    data: _Month


_SUMMARY = exact_decoder(PlanSummary)
_PLANS = exact_decoder(_PlansAnswer)
_PLAN = exact_decoder(_PlanAnswer)
_LIST = exact_decoder(_ListAnswer)
_MONTH = exact_decoder(_MonthAnswer)


def explain(answer: Answer) -> LedgerError | None:
    """What YNAB means by an error (``id`` is a text, sometimes dotted)."""
    body = answer.error.get("error") if isinstance(answer.error, dict) else None
    said = body if isinstance(body, dict) else {}
    code, words = str(said.get("id", "")), detail(said.get("detail") or said.get("name"))
    status = answer.status
    if status == 401:
        return Unfit(
            f"YNAB refuses the token: {words}",
            hint="make a new personal access token in YNAB's developer settings",
        )
    if status == 403:
        return Unfit(f"YNAB refuses access ({code or status}): {words}")
    if status == 429:
        return Unavailable(
            "YNAB says that the hour's requests are used up",
            retry_after_seconds=answer.retry_after_seconds or 300.0,
        )
    if status == 503:
        return TooSlow(
            f"HTTP 503: {words}" if words else "HTTP 503",
            retry_after_seconds=answer.retry_after_seconds,
        )
    if 400 <= status < 500:
        return Rejected(
            f"HTTP {status}: {words}" if words else f"HTTP {status}",
            status=status,
            code=code or str(status),
        )
    return None


class YnabApi:
    """Requests for one token."""

    def __init__(
        self,
        token: str,
        quota: Quota,
        *,
        now: Callable[[], float],
        base_url: str = BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.quota = quota
        self._client = HttpClient(
            base_url,
            now=now,
            headers={"Authorization": f"Bearer {token}"},
            secrets=[token],
            explain=explain,
            transport=transport,
        )

    async def plans(self) -> list[PlanSummary]:
        """All plans of the token's owner that can be told, whatever the others are like."""
        raws = (await self._get("/plans", _PLANS)).data.plans
        found = [plan for raw in raws if (plan := head_of(_SUMMARY, raw)) and "/" not in plan.id]
        if raws and not found:
            raise BadAnswer(
                "unexpected shape: none of the plans", category="shape", operation="GET /plans"
            )
        return found

    async def plan(self, plan_id: str, knowledge: int | None = None) -> tuple[PlanBody, int]:
        """The plan whole, or what is different since ``knowledge``; with the new knowledge."""
        path = f"/plans/{plan_id}"
        data = (await self._get(path, _PLAN, _since(knowledge))).data
        if data.plan.id != plan_id:
            raise BadAnswer(
                "another plan than the one asked for",
                category="contradiction",
                operation=f"GET {path}",
            )
        return data.plan, data.server_knowledge

    async def objects(
        self,
        plan_id: str,
        resource: str,
        knowledge: int | None = None,
        **dates: str,
    ) -> tuple[list[Raw], int | None]:
        """One of the lists; ``resource`` as in its path. Categories come as their groups."""
        path = f"/plans/{plan_id}/{resource}"
        data = (await self._get(path, _LIST, _since(knowledge) | dates)).data
        name = "category_groups" if resource == "categories" else resource
        objects: list[Raw] | None = getattr(data, name)
        return objects or [], data.server_knowledge

    async def month_categories(self, plan_id: str, month: str) -> list[Raw]:
        """The categories of one month, with its amounts."""
        return (await self._get(f"/plans/{plan_id}/months/{month}", _MONTH)).data.month.categories

    async def _get(
        self, path: str, decoder: "msgspec.json.Decoder[T]", params: Mapping[str, str] | None = None
    ) -> T:
        self._client.breaker.check("")
        await self.quota.take()
        try:
            return await self._client.get(path, decoder, params=params)
        except Rejected as error:
            if error.status == 400 and params and "last_knowledge_of_server" in params:
                raise Gap(
                    f"the knowledge is refused: {error.message}", operation=error.operation
                ) from error
            raise

    def mended(self) -> None:
        """A person says so: a refused token is tried again at once."""
        self._client.breaker.reset()

    async def close(self) -> None:
        await self._client.close()


def _since(knowledge: int | None) -> dict[str, Any]:
    return {} if knowledge is None else {"last_knowledge_of_server": str(knowledge)}
