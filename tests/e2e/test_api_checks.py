"""``cdc check`` on credentials of APIs: what is wrong with the fix, in one request each."""

from typing import Any

import pytest

from cdc.app import feeds
from cdc.app.api_checks import plaid, ynab
from cdc.app.checks import check_all
from cdc.app.process import Process
from cdc.integration import IntegrationErrors
from cdc.operation.check import Check, bounded_checks
from cdc.runtime.log import make_log
from cdc.runtime.postgres import PostgresTarget, session
from cdc.settings import PlaidSettings, Settings, YnabSettings
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize
from consumers.migrate import migrate
from tests.followed import FreeQuota

HOME = YnabSize(name="Home", transactions=60, years=1)
BANK = PlaidSize(transactions=60, days=90)


async def ynab_checked(sim: YnabSimulator, **said: Any) -> Check:
    settings = YnabSettings.model_validate(
        {"type": "ynab", "token": TOKEN, "base_url": sim.base_url, **said}
    )
    (found,) = await bounded_checks("ynab", "home", ynab("home", settings, FreeQuota()))
    return found


async def test_a_ynab_token_is_checked_with_one_request() -> None:
    async with YnabSimulator([HOME]) as sim:
        good = await ynab_checked(sim)
        assert (good.outcome, good.detail) == ("pass", "plans the token gives: 1")
        assert len(sim.requests()) == 1
        wrong = await ynab_checked(sim, token="no-such-token")
        assert wrong.outcome == "fail"
        assert "refuses the token" in wrong.detail and "personal access token" in wrong.fix
        assert "no-such-token" not in str(wrong)
        other = await ynab_checked(sim, plans=["Hom"])
        assert (other.outcome, "no plan Hom" in other.detail) == ("fail", True)
        assert "Home" in other.fix
        assert len(sim.requests()) == 3


async def plaid_checked(sim: PlaidSimulator, *tokens: str, **said: Any) -> list[Check]:
    settings = PlaidSettings.model_validate(
        {
            "type": "plaid",
            "client_id": CLIENT_ID,
            "secret": SECRET,
            "base_url": sim.base_url,
            "items": [{"name": f"b{n}", "access_token": token} for n, token in enumerate(tokens)],
            **said,
        }
    )
    return await bounded_checks("plaid", "bank", plaid("bank", settings))


async def test_plaids_keys_and_items_are_checked_with_one_request_each() -> None:
    async with PlaidSimulator([BANK, BANK]) as sim:
        tokens = [edits.item.access_token for edits in sim.items.values()]
        good = await plaid_checked(sim, *tokens)
        assert [(each.subject, each.outcome) for each in good] == [
            ("bank b0", "pass"),
            ("bank b1", "pass"),
        ]
        assert len(sim.requests()) == 2
        found = await plaid_checked(sim, "access-sandbox-0000-1111-2222", *tokens)
        assert [each.outcome for each in found] == ["fail", "pass", "pass"]
        assert "INVALID_ACCESS_TOKEN" in found[0].detail and "access_token" in found[0].fix
        assert "0000-1111" not in str(found)
        before = len(sim.requests())
        (keys,) = await plaid_checked(sim, *tokens, secret="nothing")
        assert (keys.subject, keys.outcome) == ("bank", "fail")
        assert "client_id, secret" in keys.fix and "nothing" not in str(keys)
        assert len(sim.requests()) == before + 1


async def test_an_item_that_needs_a_login_is_told_by_its_name() -> None:
    async with PlaidSimulator([BANK, BANK]) as sim:
        first = next(iter(sim.items.values()))
        first.fail_item()
        tokens = [edits.item.access_token for edits in sim.items.values()]
        needs, good = await plaid_checked(sim, *tokens)
        assert (needs.subject, needs.outcome, good.outcome) == ("bank b0", "warn", "pass")
        assert "ITEM_LOGIN_REQUIRED" in needs.detail and "update mode" in needs.fix


async def test_no_item_is_a_warning() -> None:
    async with PlaidSimulator([BANK]) as sim:
        (found,) = await plaid_checked(sim)
        assert found.outcome == "warn"


@pytest.mark.parametrize("name", ["poll_seconds", "accounts_seconds"])
def test_intervals_of_polls_are_validated(name: str) -> None:
    keys = {"type": "plaid", "client_id": "c", "secret": "s"}
    assert getattr(PlaidSettings.model_validate({**keys, name: 30}), name) == 30.0
    with pytest.raises(ValueError, match=name):
        PlaidSettings.model_validate({**keys, name: 0})


async def test_cdc_check_asks_both_apis_and_counts_the_request(database: str) -> None:
    """All sources of a configuration at once; YNAB's request is written down as any other."""
    async with (
        YnabSimulator([HOME]) as plans,
        PlaidSimulator([BANK]) as bank,
        session(PostgresTarget(dsn=database).connect) as connection,
    ):
        await migrate(connection)
        token = next(iter(bank.items.values())).item.access_token
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": "127.0.0.1:1"},
                "targets": {"main": {"dsn": database}},
                "sources": {
                    "home": {"type": "ynab", "token": TOKEN, "base_url": plans.base_url},
                    "bank": {
                        "type": "plaid",
                        "client_id": CLIENT_ID,
                        "secret": "wrong",
                        "base_url": bank.base_url,
                        "items": [{"name": "b", "access_token": token}],
                    },
                },
            }
        )
        found = await check_all(settings, sample=0)
        told = {each.name: each.outcome for each in found.checks}
        assert (told["ynab"], told["plaid"]) == ("pass", "fail")
        assert found.exit_code == 3
        assert await connection.fetchval("SELECT count(*) FROM sync.api_requests") == 1


def test_what_is_left_of_the_quota_is_a_metric(database: str) -> None:
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
            "targets": {"main": {"dsn": database}},
            "sources": {"home": {"type": "ynab", "token": TOKEN}},
        }
    )
    process = Process(settings, make_log(libraries=False, strict=True))
    home = settings.sources["home"]
    assert isinstance(home, YnabSettings)
    feeds.ynab(process, "home", home, IntegrationErrors())
    page = process.metrics.page().decode()
    assert 'cdc_api_quota_remaining{source="home"} 180.0' in page
