"""`python -m bench.matching`: precision and recall of matching over feeds, on a labelled household.

The figures are of a seed that no constant of the matcher was chosen with. A pair is right where
both rows are of one purchase (`exact`). Equal purchases near each other cannot be told apart by
anybody: `counted` takes all purchases of one account, merchant and amount, over the whole history,
as one kind, of which it is right to link as many as there are.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict

from bench.matching_set import Told, household
from cdc.jobs.matching import DAYS_MAX, AccountPair, Pair, Side, days_apart, link_accounts, pairs

SEED, PURCHASES = 9_041_977, 20_000
Key = tuple[int, str]


def found_pairs(plan: list[Told], bank: list[Told], pending: list[Told]) -> list[Pair]:
    """As the job does it: once while purchases are pending, and again when they are posted."""
    posted = {row.pending_id: row for row in bank if row.pending_id is not None}
    before = [row for row in bank if row.pending_id is None] + pending
    kept = []
    for pair in _matched(plan, before, set()):
        if pair.confirmed:  # and follows its purchase
            row = posted.get(pair.other.id)
            kept.append(pair if row is None else pair._replace(other=_side(row)))
    taken = {side.id for pair in kept for side in (pair.one, pair.other)}
    return kept + _matched(plan, bank, taken)


def _matched(plan: list[Told], bank: list[Told], taken: set[str]) -> list[Pair]:
    """Accounts first, then the rows of each pair of accounts."""
    by_key: dict[Key, list[Told]] = defaultdict(list)
    for row in bank:
        by_key[row.account, row.amount].append(row)
    ours: dict[Key, list[Told]] = defaultdict(list)
    for row in plan:
        ours[row.account, row.amount].append(row)
    found = []
    for link, same in link_accounts(_votes(ours, by_key)):
        one, other = int(link.account), int(link.other_account)
        candidates = [
            (_side(mine), _side(theirs))
            for (account, amount), rows in ours.items()
            if account == one
            for mine in rows
            for theirs in by_key.get((other, amount), ())
            if mine.id not in taken
            and theirs.id not in taken
            and days_apart(_side(mine), _side(theirs)) <= DAYS_MAX
        ]
        found += pairs(candidates, same_account=same)
    return found


def _votes(ours: dict[Key, list[Told]], theirs: dict[Key, list[Told]]) -> list[AccountPair]:
    votes: Counter[tuple[int, int]] = Counter()
    single: dict[str, list[Told]] = defaultdict(list)
    for (_, amount), rows in theirs.items():
        if len(rows) == 1:
            single[amount].append(rows[0])
    for (account, amount), rows in ours.items():
        if len(rows) == 1:
            for row in single[amount]:
                if abs((row.days[0] - rows[0].days[0]).days) <= DAYS_MAX:
                    votes[account, row.account] += 1
    return [
        AccountPair("home", "ynab", str(a), "plan", "bank", str(b), "item", count, False)
        for (a, b), count in sorted(votes.items())
    ]


def _side(row: Told) -> Side:
    return Side(row.id, row.days, (row.text,))


def figures(plan: list[Told], bank: list[Told], found: list[Pair]) -> dict[str, float | int]:
    """Of automatic confirmation, unless it says `proposed`."""
    rows = {row.id: row for row in (*plan, *bank)}
    both = {row.purchase for row in plan} & {row.purchase for row in bank}
    confirmed = [pair for pair in found if pair.confirmed]
    exact = sum(rows[p.one.id].purchase == rows[p.other.id].purchase for p in confirmed)
    alike: Counter[tuple[int, str, str]] = Counter(
        (row.account, row.merchant, row.bought) for row in plan if row.purchase in both
    )
    linked: Counter[tuple[int, str, str]] = Counter()
    for pair in confirmed:
        one, other = rows[pair.one.id], rows[pair.other.id]
        key = (one.account, one.merchant, one.bought)
        if key == (other.account, other.merchant, other.bought):
            linked[key] += 1
    counted = sum(min(count, alike[key]) for key, count in linked.items())
    told = [p for p in found if rows[p.one.id].purchase == rows[p.other.id].purchase]
    return {
        "purchases": len(both),
        "confirmed": len(confirmed),
        "proposed": len(found) - len(confirmed),
        "precision_counted": round(counted / max(1, len(confirmed)), 5),
        "recall_counted": round(counted / len(both), 5),
        "precision_exact": round(exact / max(1, len(confirmed)), 5),
        "recall_exact": round(exact / len(both), 5),
        "recall_with_proposed": round(len(told) / len(both), 5),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.matching", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--purchases", type=int, default=PURCHASES)
    said = parser.parse_args()
    plan, bank, pending = household(said.purchases, said.seed)
    found = found_pairs(plan, bank, pending)
    print(json.dumps({"seed": said.seed, **figures(plan, bank, found)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
