"""Plaid followed through faults: whole updates or nothing, logins told, cursors refused."""

import random
from typing import Any

import pytest

from cdc.sources.plaid import Login
from cdc.wishes import Resync
from compose.simulators.plaid_bank import PlaidSize
from tests.fakes import random_faults
from tests.plaid_world import PAGES, SMALL, world


@pytest.mark.parametrize("page", [1, 2])
async def test_a_change_between_pages_starts_the_update_again(page: int) -> None:
    """The page before the change was half of something that is no more."""
    async with world(PAGES) as it:
        it.sim.script(
            "add_transaction",
            args={"amount": "1.00", "name": "In between"},
            match="/transactions/sync",
            skip=page,
        )
        await it.settled()
        it.check()
        statuses = [each.status for each in it.sim.requests("/transactions/sync")]
        assert 400 in statuses


async def test_an_update_that_changes_all_the_time_is_given_up_for_a_while() -> None:
    async with world(PAGES) as it:
        it.sim.script(
            "add_transaction",
            args={"amount": "1.00", "name": "In between"},
            match="/transactions/sync",
            times=25,
        )
        await it.settled()
        it.check()


async def test_a_cursor_refused_for_ever_is_a_gap_mended_by_a_whole_read() -> None:
    """Seen live (monetr#3126): the error comes back even on a stored final cursor."""
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        gone = edits.transactions()[3].transaction_id
        edits.remove_transaction(gone)
        edits.refuse_cursors()
        await it.settled()
        it.check()
        assert gone not in it.followed.rows("budget.transactions")


async def test_a_cursor_of_another_item_is_a_gap() -> None:
    """The bank was linked anew under the same name: all ids are others."""
    async with world() as it:
        await it.settled()
        token = it.sim.relink_item()
        it.logins[0] = Login(it.logins[0].name, token)
        await it.followed.restart()
        await it.settled()
        it.check([it.sim.items[token].item])


async def test_a_large_bank_that_is_linked_anew_is_replaced_on_a_persons_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its old rows would go at once: what was an accident, or meant, only a person knows."""
    monkeypatch.setattr("cdc.missing.MASS_DELETE_ROWS", 5)
    async with world() as it:
        await it.settled()
        old = it.followed.rows("budget.transactions").keys()
        token = it.sim.relink_item()
        it.logins[0] = Login(it.logins[0].name, token)
        await it.followed.restart()
        await it.followed.run_until(lambda: "would delete" in it.followed.line.progress.reason)
        assert old <= it.followed.rows("budget.transactions").keys()
        done: list[bool] = []
        it.followed.line.resync(
            Resync("1", deletes_allowed=True, done=lambda *_: done.append(True))
        )
        await it.followed.run_until(lambda: bool(done))
        await it.settled()
        it.check([it.sim.items[token].item])


async def test_a_login_that_is_needed_is_shown_with_its_reason_and_ends_when_repaired() -> None:
    async with world() as it:
        edits = it.sim.item()
        await it.settled()
        edits.fail_item("ITEM_LOGIN_REQUIRED", "OAUTH_CONSENT_EXPIRED")

        def shown() -> bool:
            (budget,) = it.followed.rows("budget.budgets").values()
            return budget["status"] == "login_required"

        await it.followed.run_until(
            lambda: shown() and "ITEM_LOGIN_REQUIRED" in it.followed.line.progress.reason
        )
        (budget,) = it.followed.rows("budget.budgets").values()
        assert budget["status_reason"] == "OAUTH_CONSENT_EXPIRED"
        assert "update mode" in it.followed.line.progress.reason
        asked = it.requests("/transactions/sync")
        start = it.sim.clock.now()

        def minutes() -> float:
            return (it.sim.clock.now() - start).total_seconds() / 60

        await it.followed.run_until(lambda: minutes() > 30)
        assert it.requests("/transactions/sync") - asked <= minutes() / 5 + 1
        edits.repair_item()
        edits.add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


async def test_wrong_keys_are_told_and_never_shown() -> None:
    async with world(secret="not the secret") as it:
        await it.followed.run_until(lambda: it.followed.line.progress.reason != "")
        assert "INVALID_API_KEYS" in it.followed.line.progress.reason
        told = str(it.followed.heard.lines) + it.followed.line.progress.reason
        assert "not the secret" not in told
        assert it.logins[0].access_token not in told + repr(it.logins)


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "error": "TRANSACTIONS_SYNC_LIMIT"},
    {"kind": "status", "error": "INSTITUTION_DOWN"},
    {"kind": "status", "error": "INTERNAL_SERVER_ERROR"},
    {"kind": "status", "status": 502},
    {"kind": "html"},
    {"kind": "reset"},
    {"kind": "truncated", "keep_bytes": 200},
    {"kind": "patch", "changes": [["-next_cursor", None], ["has_more", True]]},
    {"kind": "patch", "changes": [["added", "many"]]},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:60])
@pytest.mark.parametrize("skip", [0, 2])
async def test_a_failing_page_moves_nothing(fault: dict[str, Any], skip: int) -> None:
    """On each page of the first update, and on the next one."""
    async with world(PAGES) as it:
        it.sim.fail_next(match="/transactions/sync", skip=skip, times=2, **fault)
        await it.settled()
        it.sim.item().add_transaction("3.00", "Kiosk")
        await it.settled()
        it.check()


async def test_a_broken_object_is_a_dead_letter_and_its_neighbours_arrive() -> None:
    async with world() as it:
        broken = [
            ["added.0.amount", "ten"],
            ["-added.1.transaction_id", None],
            ["added.2.payment_channel", "telepathy"],
            ["added.2.aura", {"colour": "blue"}],
        ]
        it.sim.fail_next("patch", match="/transactions/sync", changes=broken)
        await it.settled()
        paths = {each["path"] for each in it.followed.dead_letters()}
        assert paths == {"amount", "id"}
        rows = it.followed.rows("budget.transactions")
        assert len(rows) == 58
        (odd,) = (row for row in rows.values() if row["payment_channel"] == "telepathy")
        assert odd["details"]["aura"] == {"colour": "blue"}


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_of_an_update(seed: int) -> None:
    """Lives cut off without a word: nothing lost, twice or revived, no cursor ahead of its rows.

    Half of the stories begin with the first whole read, the others after it.
    """
    chance = random.Random(seed)
    held = 0
    async with world(SMALL, seed=seed) as it:
        edits = it.sim.item()
        if seed % 2:
            await it.settled()
        for _ in range(15):
            edits.add_transaction("1.00", "Kiosk", pending=chance.random() < 0.5)
            if chance.random() < 0.5 and edits.transactions():
                row = chance.choice(edits.transactions())
                if row.pending:
                    edits.post_pending(row.transaction_id)
                else:
                    edits.remove_transaction(row.transaction_id)
            if chance.random() < 0.1:
                edits.refuse_cursors()
            await it.followed.killed_after(chance.randrange(10, 400))
            held += it.check_cursor()
            it.sim.clock.advance(chance.choice([0.0, 5.0, 90.0]))
            await it.followed.restart()
        await it.settled()
        it.check()
        held += it.check_cursor()
    assert held > 0


@pytest.mark.parametrize("seed", range(3))
async def test_commits_that_fail_or_stay_in_doubt(seed: int) -> None:
    async with world(SMALL, seed=seed, fault=random_faults(seed, 0.3)) as it:
        for _ in range(6):
            it.sim.item().refresh()
            await it.settled()
            it.check()


async def test_a_login_needed_at_one_bank_does_not_stop_another() -> None:
    sizes = (SMALL, PlaidSize(name="Second Bank", transactions=40))
    async with world(*sizes) as it:
        await it.settled()
        it.sim.item("Second Bank").fail_item()
        first = it.sim.item()
        for _ in range(3):
            added = first.add_transaction("3.00", "Kiosk")
            await it.followed.run_until(
                lambda added=added: added in it.followed.rows("budget.transactions")
            )
        await it.followed.run_until(
            lambda: (
                "bank 1: " in it.followed.line.progress.reason
                and "ITEM_LOGIN_REQUIRED" in it.followed.line.progress.reason
            )
        )
        states = {row["status"] for row in it.followed.rows("budget.budgets").values()}
        assert states == {"good", "login_required"}
        it.sim.item("Second Bank").repair_item()
        await it.settled()
        it.check()


async def test_an_item_that_never_worked_does_not_stop_another() -> None:
    sizes = (SMALL, PlaidSize(name="Second Bank", transactions=40))
    async with world(*sizes) as it:
        it.sim.item("Second Bank").fail_item()
        first = it.sim.item()
        added = first.add_transaction("3.00", "Kiosk")
        await it.followed.run_until(lambda: added in it.followed.rows("budget.transactions"))
        it.followed.check_order()


async def test_a_resync_tells_which_bank_could_not_be_read() -> None:
    told: list[tuple[str | None, dict[str, Any] | None]] = []
    async with world(SMALL, SMALL) as it:
        await it.settled()
        needy, other = it.sim.items.values()
        needy.fail_item("ITEM_LOGIN_REQUIRED")
        it.sim.clock.advance(600)
        await it.followed.run_until(lambda: "bank 0" in it.followed.line.progress.troubles)
        it.followed.line.resync(
            Resync("1", done=lambda error=None, result=None: told.append((error, result)))
        )
        await it.followed.run_until(lambda: bool(told))
        ((error, result),) = told
        assert error is not None and result is not None
        assert error.startswith("bank 0 cannot be read: ") and "ITEM_LOGIN_REQUIRED" in error
        assert result["bank 1/transactions"]["rows_done"] == len(other.item.rows)
        assert not any(name.startswith("bank 0/") for name in result)
