"""Which rows of two feeds are the same purchase: names made alike, a stated score, one to one.

A pair is looked at only where amount and currency are equal and the days are at most 5 apart. Then

    score = 0.25 account + 0.25 date + 0.35 payee + 0.15 alone

account  1 where the two accounts are one and the same account (see ``link_accounts``), 0.3 where
         they may be, which alone keeps a pair from being confirmed
date     1 on the same day (booked or authorised), less by each day apart, 0.4 at five
payee    how alike the names are, 0 to 1; 0.5 where one side tells none, as transfers do
alone    1 unless either row is about as much like a row of yet another payee

From 0.85 on a pair is confirmed, from 0.6 on proposed. Every row is in one pair at most, so two
equal purchases on one day stay two: the first of the one feed goes with the first of the other.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from functools import lru_cache
from typing import NamedTuple
from unicodedata import combining, normalize

CONFIRMED_FROM, PROPOSED_FROM = 0.85, 0.6
DATE_SCORES = (1.0, 0.95, 0.9, 0.8, 0.6, 0.4)
DAYS_MAX = len(DATE_SCORES) - 1
WEIGHTS = {"account": 0.25, "date": 0.25, "payee": 0.35, "alone": 0.15}
MAY_BE_ACCOUNT, UNKNOWN_PAYEE = 0.3, 0.5
RIVAL_MARGIN, SAME_PAYEE_FROM = 0.3, 0.6
VOTES_MIN, VOTES_RATIO = 3, 2
_ALIKE_FROM = 0.8
_PREFIX_CHARS_MIN = 4

_LEAD = re.compile(r"^(card |debit |pos |visa |contactless |purchase |payment |direct )+")
_SOLD_THROUGH = re.compile(r"^(sq|sp|tst|pp|py|iz|ic|paypal|sumup|zettle|izettle)\s*[*:_-]\s*")
_WORD = re.compile(r"[^\W_]+")
_LEGAL = frozenset("inc llc ltd gmbh ag sa sl srl bv co corp plc com www the".split())


@lru_cache(maxsize=65_536)
def payee_key(text: str) -> tuple[str, ...]:
    """The words that name a payee: no accents, case, numbers, tills, payment services, suffixes."""
    plain = "".join(sign for sign in normalize("NFKD", text) if not combining(sign)).casefold()
    plain = plain.replace("'", "").replace("’", "")
    plain = _SOLD_THROUGH.sub("", _LEAD.sub("", plain.strip()))
    words = [word for word in _WORD.findall(plain) if not any(sign.isdigit() for sign in word)]
    return tuple(word for word in words if word not in _LEGAL) or tuple(words)


@lru_cache(maxsize=65_536)
def likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """0 to 1: how much of the shorter name is in the longer one, by the length of its words."""
    if not one or not other:
        return 0.0
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=lambda words: sum(map(len, words)))
    joined, whole = "".join(short), "".join(long)
    if len(joined) >= _PREFIX_CHARS_MIN and whole.startswith(joined):
        return 0.95
    found = sum(len(word) * max(_words_alike(word, each) for each in long) for word in short)
    return max(found / len(joined) * 0.95, _ratio(joined, whole))


def _words_alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= _PREFIX_CHARS_MIN and long.startswith(short):
        return 0.9
    return _ratio(one, other)


def _ratio(one: str, other: str) -> float:
    found = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return found if found >= _ALIKE_FROM else 0.0


class Side(NamedTuple):
    """A row of one feed. ``texts``: every name it gives its payee; ``days``: booked, authorised."""

    id: str
    days: tuple[date, ...]
    texts: tuple[str, ...]

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(key for text in self.texts if (key := payee_key(text))))


class Pair(NamedTuple):
    """``parts``: the score's parts by name; ``score`` is their weighted sum, three decimals."""

    one: Side
    other: Side
    score: float
    parts: dict[str, float]

    @property
    def confirmed(self) -> bool:
        return self.score >= CONFIRMED_FROM


def days_apart(one: Side, other: Side) -> int:
    """The least distance of any of their days."""
    return min(abs((a - b).days) for a in one.days for b in other.days)


def _payee(one: Side, other: Side) -> float:
    ours, theirs = one.keys, other.keys
    if not ours or not theirs:
        return UNKNOWN_PAYEE
    return max(likeness(a, b) for a in ours for b in theirs)


def _alone(row: Side, chosen: Side, near: Iterable[Side]) -> bool:
    """Whether no row of another payee is about as much like ``row`` as ``chosen`` is."""
    enough = _payee(row, chosen) - RIVAL_MARGIN
    return not any(
        each.id != chosen.id
        and _payee(row, each) >= enough
        and _payee(chosen, each) < SAME_PAYEE_FROM
        for each in near
    )


def pairs(candidates: Iterable[tuple[Side, Side]], *, same_account: bool) -> list[Pair]:
    """Of all pairs of equal amount and currency: the best ones, each row once."""
    near = [each for each in candidates if days_apart(*each) <= DAYS_MAX]
    beside: dict[tuple[int, str], list[Side]] = {}
    for one, other in near:
        beside.setdefault((0, one.id), []).append(other)
        beside.setdefault((1, other.id), []).append(one)
    scored = []
    for one, other in near:
        alone = _alone(one, other, beside[0, one.id]) and _alone(other, one, beside[1, other.id])
        parts = {
            "account": 1.0 if same_account else MAY_BE_ACCOUNT,
            "date": DATE_SCORES[days_apart(one, other)],
            "payee": round(_payee(one, other), 3),
            "alone": float(alone),
        }
        score = round(sum(WEIGHTS[name] * value for name, value in parts.items()), 3)
        if score >= PROPOSED_FROM:
            scored.append(Pair(one, other, score, parts))
    return _one_to_one(scored)


def _one_to_one(scored: list[Pair]) -> list[Pair]:
    """Greedy by score; equal ones in the order of days and ids, so that every run agrees."""
    scored.sort(key=lambda pair: (-pair.score, pair.one.days, pair.one.id, pair.other.id))
    taken: set[tuple[int, str]] = set()
    chosen = []
    for pair in scored:
        ends = {(0, pair.one.id), (1, pair.other.id)}
        if not ends & taken:
            taken |= ends
            chosen.append(pair)
    return chosen


@dataclass(frozen=True, slots=True)
class AccountPair:
    """Two accounts of different feeds. ``votes``: amounts that each has once, within days.

    ``told``: their names, masks or the bank's lasting id say that they are one.
    """

    book: str
    source: str
    account: str
    feed: str
    other_source: str
    other_account: str
    other_feed: str
    votes: int
    told: bool


def link_accounts(found: Sequence[AccountPair]) -> list[tuple[AccountPair, bool]]:
    """(pair, whether it is one account). An account is one with one account of a feed at most."""
    order = sorted(
        found, key=lambda p: (not p.told, -p.votes, p.source, p.account, p.other_account)
    )
    most: dict[tuple[str, ...], list[int]] = {}
    for pair in found:
        for end in _ends(pair):
            most.setdefault(end, []).append(pair.votes)
    linked: set[tuple[str, ...]] = set()
    sure, rest = [], []
    for pair in order:
        ends = _ends(pair)
        rivals = max((sorted(most[end])[-2] for end in ends if len(most[end]) > 1), default=0)
        clear = pair.votes >= VOTES_MIN and pair.votes >= VOTES_RATIO * rivals
        if not linked & set(ends) and (pair.told or clear):
            linked |= set(ends)
            sure.append(pair)
        else:
            rest.append(pair)
    may_be = [pair for pair in rest if not linked & set(_ends(pair))]
    return [*((pair, True) for pair in sure), *((pair, False) for pair in may_be)]


def _ends(pair: AccountPair) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Each account, as seen from the other's feed."""
    return (
        (pair.book, pair.source, pair.account, pair.other_source, pair.other_feed),
        (pair.book, pair.other_source, pair.other_account, pair.source, pair.feed),
    )
