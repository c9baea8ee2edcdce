"""What a table lacks of a manifest, in arrays."""

from __future__ import annotations

import secrets

import numpy as np
import pyarrow as pa
import pytest

from headstart.features.missing import MissingViews, first_rows, keys_from_hex


def test_hashes_of_several_chunks_with_nulls() -> None:
    texts = [secrets.token_hex(16) for _ in range(50)]
    texts[7] = texts[30] = texts[49] = None  # type: ignore[call-overload]
    whole = pa.array(texts, pa.string())
    column = pa.chunked_array([whole[:0], whole[:20], whole[20:33], whole[33:]])  # with offsets
    expected = [None if each is None else bytes.fromhex(each) for each in texts]
    assert keys_from_hex(column).to_pylist() == expected
    assert keys_from_hex(column.slice(5, 40)).to_pylist() == expected[5:45]
    assert keys_from_hex([]).to_pylist() == []
    assert keys_from_hex(pa.chunked_array([[None, None]], pa.string())).to_pylist() == [None, None]


@pytest.mark.parametrize("text", ["ab" * 15, "ab" * 17, "", "AB" * 16, "zz" * 16, "é" * 16])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="content hashes have 32 hexadecimal digits each"):
        keys_from_hex(["ab" * 16, text])


def test_the_first_row_of_each_content() -> None:
    keys = keys_from_hex([f"{number:032x}" for number in (5, 3, 5, 4, 3, 9)])
    assert first_rows(keys, np.arange(6)).tolist() == [0, 1, 3, 5]
    assert first_rows(keys, np.array([2, 3, 4])).tolist() == [2, 3, 4]
    assert first_rows(keys, np.array([], np.int64)).tolist() == []


def test_it_is_a_mapping_from_rows_to_views() -> None:
    missing = MissingViews(np.array([2, 5, 9]), (-1, 0, 3), np.array([[1, 1, 1], [0, 1, 0], [1, 0, 1]], bool))
    assert dict(missing) == {2: [-1, 0, 3], 5: [0], 9: [-1, 3]}
    assert (len(missing), missing.total, missing.at(1)) == (3, 6, [0])
    assert 5 in missing
    for row in (0, 3, 10):
        assert row not in missing
    assert not MissingViews(np.array([], np.int64), (0,), np.zeros((0, 1), bool))
