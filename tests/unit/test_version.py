"""Versions: fixed width, and the order of their bytes is the order of their parts."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.version import EPOCH_MAX, ORDINAL_MAX, POSITION_MAX, VERSION_BYTES, Version, pack

_versions = st.builds(
    Version,
    st.integers(0, EPOCH_MAX),
    st.integers(0, POSITION_MAX),
    st.integers(0, ORDINAL_MAX),
)


@given(_versions, _versions)
def test_bytes_order_as_the_parts_do(one: Version, other: Version) -> None:
    assert (one < other) == (one.encode() < other.encode())
    assert (one == other) == (one.encode() == other.encode())


@given(_versions)
def test_there_and_back(version: Version) -> None:
    encoded = version.encode()
    assert len(encoded) == VERSION_BYTES <= 16
    assert Version.decode(encoded) == version
    assert pack(*version) == encoded


def test_a_row_of_a_whole_read_holds_everything_up_to_its_time() -> None:
    read = Version(0, 5, ORDINAL_MAX)
    assert Version(0, 5, 7) < read < Version(0, 6, 0) < Version(1, 0, 0)


@pytest.mark.parametrize("parts", [(EPOCH_MAX + 1, 0, 0), (0, POSITION_MAX + 1, 0), (0, 0, -1)])
def test_parts_beyond_their_range_are_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(struct.error):
        Version(*parts).encode()


def test_other_lengths_are_refused() -> None:
    with pytest.raises(struct.error):
        Version.decode(b"\0" * (VERSION_BYTES + 1))
