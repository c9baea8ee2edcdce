from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.models.importers.keras.crc32c import masked_crc32c


def crc32c(data: bytes) -> int:
    """Undo the masking."""
    rotated = (masked_crc32c(data) - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "value"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"", 0)],
)
def test_examples_of_rfc_3720(data: bytes, value: int) -> None:
    assert crc32c(data) == value


@given(st.binary(max_size=700))
def test_matches_a_bitwise_implementation(data: bytes) -> None:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    assert crc32c(data) == value ^ 0xFFFFFFFF
