"""Fetches are the library's own, byte for byte and field for field."""

import random
from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.struct import Struct

from cdc.runtime.kafka_fetch import read_fetches_at_once


@pytest.fixture(autouse=True)
def _at_once() -> None:
    read_fetches_at_once()
    assert FetchRequest_v11.encode is not Struct.encode


def some(chance: random.Random, make: Any, most: int = 4) -> list[Any]:
    return [make() for _ in range(chance.randint(0, most))]


def long(chance: random.Random) -> int:
    return chance.choice([-1, 0, 1, chance.getrandbits(62), 2**63 - 1, -(2**63)])


def whole(chance: random.Random) -> int:
    return chance.choice([-1, 0, 1, chance.getrandbits(30), 2**31 - 1, -(2**31)])


def name(chance: random.Random) -> str:
    return chance.choice(["ledger.accounting.transactions", "t", "", "tëma"])


@pytest.mark.parametrize("seed", range(200))
def test_a_request_is_the_librarys_own(seed: int) -> None:
    chance = random.Random(seed)

    def asked() -> tuple[int, ...]:
        return (*(whole(chance) for _ in "pe"), *(long(chance) for _ in "os"), whole(chance))

    request = FetchRequest_v11(
        *(whole(chance) for _ in range(4)),
        chance.choice([0, 1]),
        *(whole(chance) for _ in range(2)),
        some(chance, lambda: (name(chance), some(chance, asked, 20))),
        some(chance, lambda: (name(chance), some(chance, lambda: whole(chance)))),
        name(chance),
    )
    assert request.encode() == Struct.encode(request)


@pytest.mark.parametrize("seed", range(200))
def test_an_answer_is_read_as_the_library_reads_it(seed: int) -> None:
    chance = random.Random(seed)

    def aborted() -> list[tuple[int, int]] | None:
        pairs = some(chance, lambda: (long(chance), long(chance)))
        return chance.choice([None, [], pairs])

    def told() -> tuple[Any, ...]:
        records = chance.choice([None, b"", chance.randbytes(chance.randint(0, 99))])
        offsets = (long(chance), long(chance), long(chance))
        return (
            whole(chance),
            chance.choice([0, 6, -1]),
            *offsets,
            aborted(),
            whole(chance),
            records,
        )

    topics = some(chance, lambda: (name(chance), some(chance, told, 20)))
    answer = FetchResponse_v11(whole(chance), chance.choice([0, 70]), whole(chance), topics)
    data = answer.encode()
    expected = vars(Struct.decode.__func__(FetchResponse_v11, data))  # type: ignore[attr-defined]
    assert vars(FetchResponse_v11.decode(data)) == expected
    behind_a_header = BytesIO(b"head" + data)
    behind_a_header.read(4)
    assert vars(FetchResponse_v11.decode(behind_a_header)) == expected


def test_an_answer_that_was_cut_is_no_answer() -> None:
    answer = FetchResponse_v11(0, 0, 0, [("t", [(0, 0, 5, 5, 0, [(1, 2)], -1, b"records")])])
    data = answer.encode()
    for length in range(len(data) - len(b"records")):
        with pytest.raises(Exception, match=r"."):
            FetchResponse_v11.decode(data[:length])
