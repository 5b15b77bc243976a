"""Matching without servers: names made alike, scores, one to one, accounts."""

from datetime import date
from unicodedata import normalize

import pytest

from bench.matching import figures, found_pairs
from bench.matching_set import household
from cdc.jobs.matching import (
    WEIGHTS,
    AccountPair,
    Side,
    likeness,
    link_accounts,
    pairs,
    payee_key,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SQ *BLUE BOTTLE 0423", "Blue Bottle"),
        ("TST* Blue Bottle Coffee", "Blue Bottle"),
        (normalize("NFD", "Café Zürich"), normalize("NFC", "CAFÉ ZÜRICH")),
        ("POS PURCHASE TRADER JOE'S #552", "Trader Joes"),
        ("NETFLIX.COM", "Netflix"),
        ("PAYPAL *SPOTIFY 35314369001", "Spotify"),
    ],
)
def test_one_payee_in_many_words(one: str, other: str) -> None:
    assert likeness(payee_key(one), payee_key(other)) >= 0.9


@pytest.mark.parametrize(
    ("one", "other"),
    [("Blue Bottle", "Red Lobster"), ("Shell", "Aldi"), ("", "Aldi"), ("Market", "Marlene")],
)
def test_two_payees(one: str, other: str) -> None:
    assert likeness(payee_key(one), payee_key(other)) < 0.6


def side(name: str, day: int, text: str = "Kiosk") -> Side:
    return Side(name, (date(2026, 3, day),), (text,))


def test_a_far_day_is_no_pair_and_the_authorised_day_counts() -> None:
    assert pairs([(side("a", 1), side("b", 7))], same_account=True) == []
    late = Side("b", (date(2026, 3, 9), date(2026, 3, 1)), ("Kiosk",))
    (pair,) = pairs([(side("a", 1), late)], same_account=True)
    assert pair.parts["date"] == 1.0


def test_the_score_is_the_stated_sum() -> None:
    (pair,) = pairs([(side("a", 1), side("b", 2))], same_account=False)
    assert pair.parts == {"account": 0.3, "date": 0.95, "payee": 1.0, "alone": 1.0}
    assert not pair.confirmed
    assert pair.score == pytest.approx(sum(WEIGHTS[k] * v for k, v in pair.parts.items()), abs=1e-3)
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_each_row_is_in_one_pair_whatever_the_order() -> None:
    mine, theirs = [side("a1", 1), side("a2", 2)], [side("b1", 1), side("b2", 2), side("b3", 3)]
    every = [(one, other) for one in mine for other in theirs]
    found = {(p.one.id, p.other.id) for p in pairs(every, same_account=True)}
    assert found == {("a1", "b1"), ("a2", "b2")}
    assert found == {(p.one.id, p.other.id) for p in pairs(every[::-1], same_account=True)}


def test_a_row_that_is_as_much_like_anothers_is_not_alone() -> None:
    shell, aldi = side("b", 1, "Shell"), side("c", 1, "Aldi")
    named, unnamed = side("a", 1, "Shell"), side("a", 1, "Birthday")
    (pair,) = pairs([(named, shell), (named, aldi)], same_account=True)
    assert (pair.other.id, pair.parts["alone"]) == ("b", 1.0)
    assert pairs([(unnamed, shell), (unnamed, aldi)], same_account=True) == []
    (only,) = pairs([(unnamed, shell)], same_account=True)
    assert (only.parts["alone"], only.confirmed) == (1.0, False)


def account(one: str, other: str, votes: int, *, told: bool = False) -> AccountPair:
    return AccountPair("home", "ynab", one, "plan", "bank", other, "item", votes, told)


def test_accounts_are_linked_by_clear_votes_or_by_name() -> None:
    found = link_accounts(
        [
            *(account("a", "x", 9), account("a", "y", 2), account("b", "y", 2)),
            *(account("c", "z", 5), account("c", "w", 4), account("d", "v", 0, told=True)),
        ]
    )
    sure = {(pair.account, pair.other_account) for pair, same in found if same}
    may_be = {(pair.account, pair.other_account) for pair, same in found if not same}
    assert sure == {("a", "x"), ("d", "v")}
    assert may_be == {("b", "y"), ("c", "z"), ("c", "w")}


def test_the_figures_are_of_a_household_that_has_the_awkward() -> None:
    plan, bank, pending = household(1_500, 5)
    assert len(pending) > 200 and {row.pending_id for row in bank} >= {row.id for row in pending}
    assert any(row.amount != row.bought for row in bank)
    assert any(row.text != normalize("NFC", row.text) for row in plan)
    found = figures(plan, bank, found_pairs(plan, bank, pending))
    assert found["precision_counted"] > 0.99 and found["recall_counted"] > 0.9
