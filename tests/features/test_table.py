from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.data.spec import InputSpec
from headstart.errors import StoreError
from headstart.features import rows as rows_module
from headstart.features import scratch
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable

SPACE = FeatureSpace("test_net", "0" * 32, "pool", InputSpec(), "float32", "float32", (2, 3))


def image(number: int) -> str:
    return f"{number:032x}"


def values(*numbers: int) -> np.ndarray:
    """Features (N, 2, 3) that differ from image to image."""
    return np.stack([np.random.default_rng(number).normal(size=(2, 3)).astype(np.float32) for number in numbers])


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return FeatureStore(tmp_path / "store").table(SPACE)


def stored_images(table: FeatureTable) -> list[bytes]:
    return lance.dataset(str(table.path)).to_table()["image"].to_pylist()


def test_rows_are_returned_in_the_requested_order_bit_for_bit(table: FeatureTable) -> None:
    numbers = np.random.default_rng(0).permutation(50)
    for some in np.split(numbers, 10):
        table.append([image(number) for number in some], values(*some))
    asked = np.random.default_rng(1).choice(50, 70)  # some of them twice
    rows = table.rows([image(number) for number in asked])
    assert (len(rows), rows.nbytes) == (70, 70 * 6 * 4)
    assert rows.take(np.arange(70)).tobytes() == values(*asked).tobytes()
    assert rows.take([69, 0, 0]).tobytes() == values(asked[69], asked[0], asked[0]).tobytes()
    assert rows.take([]).shape == (0, 2, 3)


def test_many_rows_are_read_in_chunks(table: FeatureTable) -> None:
    count = 2500
    features = np.arange(count * 6, dtype=np.float32).reshape(count, 2, 3)
    table.append([image(number) for number in range(count)], features)
    asked = np.random.default_rng(1).choice(count, 3000)
    rows = table.rows([image(number) for number in range(count)])
    assert np.array_equal(rows.take(asked), features[asked])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), max_size=5))
def test_any_commits_read_as_one_row_per_image(tmp_path: Path, commits: list[list[int]]) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    table = FeatureStore(tmp_path / "store").table(SPACE)
    for some in commits:
        table.append([image(number) for number in some], values(*some))
    there = sorted({number for some in commits for number in some})
    assert table.missing([image(number) for number in (*range(14), 3)]) == [
        image(number) for number in range(14) if number not in there
    ]
    if there:
        asked = [image(number) for number in there]
        assert np.array_equal(table.rows(asked).take(np.arange(len(there))), values(*there))
        table.prune()
        assert len(table) == len(there)
        assert np.array_equal(table.rows(asked).take(np.arange(len(there))), values(*there))


def test_prune_removes_duplicates_and_keeps_the_first_row(table: FeatureTable) -> None:
    table.append([image(1), image(2)], values(1, 2))
    table.append([image(2), image(3)], values(7, 3))  # real duplicates have the same content
    assert len(table) == 4
    assert np.array_equal(table.rows([image(2)]).take([0]), values(2))
    table.prune()
    assert sorted(stored_images(table)) == [bytes.fromhex(image(number)) for number in (1, 2, 3)]
    assert np.array_equal(table.rows([image(3), image(2)]).take([0, 1]), values(3, 2))


def test_views_are_separate(table: FeatureTable) -> None:
    table.append([image(1)], values(1))
    table.append([image(1), image(2)], values(8, 9), view=1)
    assert table.missing([image(1), image(2)]) == [image(2)]
    assert table.missing([image(1), image(2), image(3)], view=1) == [image(3)]
    assert np.array_equal(table.rows([image(2), image(1)], view=1).take([0, 1]), values(9, 8))
    table.prune()
    assert len(table) == 3


def test_missing_views_of_several_images(table: FeatureTable) -> None:
    table.append([image(1), image(2)], values(1, 2))
    table.append([image(1), image(3), image(1)], values(4, 5, 6), view=[2, 2, -1])  # one commit
    asked = [image(number) for number in (3, 1, 2, 3)]
    assert table.missing_views(asked, (0, 2)) == {image(3): [0], image(2): [2]}
    assert table.missing_views(asked, (2, 0, -1, 2)) == {image(3): [-1, 0], image(2): [-1, 2]}
    assert table.missing_views(asked[1:2], (-1, 0, 2)) == {}
    assert table.missing_views(asked, ()) == table.missing_views([], (0, 1)) == {}
    assert np.array_equal(table.rows([image(3), image(1)], view=2).take([0, 1]), values(5, 4))
    assert np.array_equal(table.rows([image(1)], view=-1).take([0]), values(6))
    assert table.verify() == 0
    table.prune()
    assert len(table) == 5


def test_training_views_of_another_version_are_missing(table: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append([image(1)] * 3, values(1, 2, 3), view=[-1, 0, 1])
    monkeypatch.setattr("headstart.features.key.TRAINING_VIEWS_VERSION", 2)
    assert table.missing_views([image(1)], (-1, 0, 1)) == {image(1): [1]}
    assert table.verify() == 0


def test_compacting_keeps_all_rows_and_open_readers(table: FeatureTable) -> None:
    for number in range(70):
        table.append([image(number)], values(number))
    table.append([image(0)], values(0))
    table.prune()  # removes a row, so that positions change
    early = table.rows([image(number) for number in range(70)])
    for number in range(70, 140):
        table.append([image(number)], values(number))
    assert len(lance.dataset(str(table.path)).get_fragments()) > 64
    table.compact()
    assert len(lance.dataset(str(table.path)).get_fragments()) == 1
    assert np.array_equal(early.take(np.arange(70)), values(*range(70)))
    assert np.array_equal(
        table.rows([image(number) for number in range(140)]).take(np.arange(140)), values(*range(140))
    )
    assert table.verify() == 0


def test_rows_belong_to_one_version_while_another_process_prunes(table: FeatureTable) -> None:
    class Restless(FeatureTable):
        def _dataset(self) -> Any:
            opened = super()._dataset()
            table.prune()
            return opened

    table.append([image(1), image(1), image(2), image(3)], values(1, 1, 2, 3))
    restless = Restless(table.path, table.space)
    rows = restless.rows([image(3), image(2)])
    assert len(table) == 3
    assert np.array_equal(rows.take([0, 1]), values(3, 2))


def test_few_fragments_are_not_compacted(table: FeatureTable) -> None:
    for number in range(3):
        table.append([image(number)], values(number))
    table.compact()
    assert len(lance.dataset(str(table.path)).get_fragments()) == 3


def test_prune_deletes_older_versions(table: FeatureTable) -> None:
    for number in range(20):
        table.append([image(number)], values(number))
    before = table.bytes
    table.prune(alone=True)
    assert table.bytes < before / 4
    assert np.array_equal(table.rows([image(7)]).take([0]), values(7))


def test_a_value_that_is_not_finite_is_refused_and_nothing_is_stored(table: FeatureTable) -> None:
    features = values(1, 2)
    features[1, 0, 0] = np.nan
    with pytest.raises(StoreError, match=r"^the network returned values that are not finite; use --precision float32$"):
        table.append([image(1), image(2)], features)
    assert len(table) == 0


def test_values_beyond_float16_are_clipped(tmp_path: Path) -> None:
    table = FeatureStore(tmp_path).table(replace(SPACE, dtype="float16", shape=(3,)))
    table.append([image(1)], np.array([[1e6, -1e6, 0.1]], np.float32))
    assert table.rows([image(1)]).take([0]).tolist() == [[65504.0, -65504.0, float(np.float16(0.1))]]


@pytest.mark.parametrize(
    "other",
    [
        replace(SPACE, precision="bfloat16"),
        replace(SPACE, cut="blocks"),
        replace(SPACE, weights="1" * 32),
        replace(SPACE, spec=SPACE.spec.whole()),
        replace(SPACE, dtype="float16"),
    ],
)
def test_tables_of_different_spaces_are_separate(tmp_path: Path, other: FeatureSpace) -> None:
    store = FeatureStore(tmp_path)
    one, two = store.table(SPACE), store.table(other)
    one.append([image(1)], values(1))
    assert two.missing([image(1)]) == [image(1)]
    assert [len(each) for each in store.tables()] == [len(each) for each in sorted((one, two), key=lambda it: it.path)]


def test_error_names_an_image_without_a_row(table: FeatureTable) -> None:
    table.append([image(1)], values(1))
    with pytest.raises(StoreError) as caught:
        table.rows([image(1), image(0xAB)])
    assert str(caught.value) == f"{table.path}: no features of the image with hash {image(0xAB)}"


def test_store_lists_its_tables(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    assert list(store.tables()) == []
    made = store.table(SPACE)
    made.append([image(1)], values(1))
    (found,) = store.tables()
    assert found == made
    assert (found.space, len(found)) == (SPACE, 1)
    assert found.bytes == sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    assert store.table(SPACE) == made  # opened, not created again
    assert len(made) == 1


def test_remove_deletes_all_files(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    one, two = store.table(SPACE), store.table(replace(SPACE, cut="blocks"))
    one.append([image(1)], values(1))
    one.remove()
    assert list(store.tables()) == [two]
    assert sorted(tmp_path.joinpath("store").iterdir()) == [two.space_file, two.path]
    assert store.table(SPACE).missing([image(1)]) == [image(1)]


@pytest.mark.parametrize("name", ["with space", "a=1", "50%25 #1?", "한국", "b'x\"y"])
def test_folder_of_any_name(tmp_path: Path, name: str) -> None:
    table = FeatureStore(tmp_path / name / "deep").table(SPACE)
    table.append([image(1)], values(1))
    assert np.array_equal(table.rows([image(1)]).take([0]), values(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = FeatureStore(Path("store")).table(SPACE)
    table.append([image(1)], values(1))
    assert (tmp_path / "store" / table.path.name).is_dir()
    assert table.missing([image(1)]) == []


# -- damage and failures of the disk ---------------------------------------------------------------------------------


def test_store_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    folder = tmp_path / "store"
    with pytest.raises(StoreError) as caught:
        FeatureStore(folder).table(SPACE)
    assert str(caught.value) == (
        f"{folder}: cannot write the feature store (it is a file, not a folder); choose another folder with --cache-dir"
    )


def test_missing_dataset(table: FeatureTable) -> None:
    shutil.rmtree(table.path)
    for use, what in [
        (lambda: table.missing([image(1)]), "cannot list the rows"),
        (lambda: table.rows([image(1)]), "cannot list the rows"),
        (lambda: len(table), "cannot count the rows"),
        (table.verify, "a file is damaged"),
        (table.prune, "cannot be pruned"),
    ]:
        with pytest.raises(StoreError) as caught:
            use()
        assert str(caught.value).startswith(f"{table.path}: {what} (Dataset at path ")
    table.compact()
    table.remove()
    assert not list(table.path.parent.iterdir())


def test_dataset_that_cannot_be_written(table: FeatureTable) -> None:
    (table.path / "data").write_text("a file")
    with pytest.raises(StoreError) as caught:
        table.append([image(1)], values(1))
    assert str(caught.value).startswith(f"{table.path}: cannot add features (")


def test_remains_of_a_killed_creation_do_no_harm(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    (tmp_path / f"{SPACE.key}.lance" / "data").mkdir(parents=True)
    table = store.table(SPACE)
    table.append([image(1)], values(1))
    assert table.missing([image(1)]) == []


def test_error_names_the_damaged_description_of_a_space(tmp_path: Path, table: FeatureTable) -> None:
    table.space_file.write_text('{"key": ')
    store = FeatureStore(tmp_path / "store")
    assert list(store.tables()) == []
    assert str(store.damaged()[table.space_file]) == (
        f"{table.space_file}: cannot be read (Expecting value: line 1 column 9 (char 8)); "
        "the next fit that needs the table writes it anew, and headstart cache prune removes the table"
    )
    table.space_file.write_text(json.dumps({"dtype": "float32"}))
    assert "cannot be read (damaged: model: Field required.); " in str(store.damaged()[table.space_file])


def test_a_damaged_description_hides_no_other_table_and_is_written_anew(tmp_path: Path, table: FeatureTable) -> None:
    table.append([image(1)], values(1))
    store = FeatureStore(tmp_path / "store")
    other = store.table(replace(SPACE, cut="blocks"))
    table.space_file.write_text('{"key": ')
    assert list(store.tables()) == [other]
    assert store.table(SPACE).missing([image(1)]) == []
    assert store.damaged() == {}
    assert {each.path for each in store.tables()} == {table.path, other.path}


def test_clearing_removes_a_table_with_a_damaged_description(tmp_path: Path, table: FeatureTable) -> None:
    store = FeatureStore(tmp_path / "store")
    other = store.table(replace(SPACE, cut="blocks"))
    table.space_file.write_text('{"key": ')
    store.clear()
    assert sorted(store.folder.iterdir()) == [other.space_file, other.path]


def test_a_description_of_another_space_is_refused(tmp_path: Path, table: FeatureTable) -> None:
    text = table.space_file.read_text()
    table.space_file.write_text(text.replace('"test_net"', '"test_nat"'))
    assert table.space_file.read_text() != text
    damaged = FeatureStore(tmp_path / "store").damaged()
    assert "cannot be read (damaged: its values do not lead to its name)" in str(damaged[table.space_file])
    table.space_file.write_text(text.replace('"format": ', '"format": 1'))  # of another version, which is only listed
    assert [each.space for each in FeatureStore(tmp_path / "store").tables()] == [table.space]


def data_file(table: FeatureTable) -> Path:
    (file,) = (table.path / "data").iterdir()
    return file


def test_flipped_bytes_are_found(tmp_path: Path) -> None:
    table = FeatureStore(tmp_path).table(replace(SPACE, shape=(64,)))
    features = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    names = [image(number) for number in range(40)]
    table.append(names, features)
    file = data_file(table)
    whole = file.read_bytes()
    outcomes: Counter[str] = Counter()
    for place in range(0, len(whole), 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        found = _verify(table)
        outcomes[found] += 1
        # Whatever was hit, reading returns what was written or raises.
        try:
            assert np.array_equal(table.rows(names).take(np.arange(40)), features), place
        except StoreError:
            outcomes["not read"] += 1
            assert found != "0 wrong", place
    file.write_bytes(whole)
    assert table.verify() == 0
    assert outcomes["1 wrong"] > 0.9 * 40 * 64 * 4 / 97  # nearly all of the file is features
    assert outcomes["not read"] >= outcomes["1 wrong"]
    assert all(re.fullmatch(r"\d+ wrong|not read|: a file is damaged", each) for each in outcomes)


def _verify(table: FeatureTable) -> str:
    try:
        return f"{table.verify()} wrong"
    except StoreError as failure:
        return str(failure).replace(str(table.path), "").partition(" (")[0]


def test_damaged_version_file_raises_or_does_no_harm(table: FeatureTable, tmp_path: Path) -> None:
    """Rust code panics on some of them."""
    table.append([image(1), image(2)], values(1, 2))
    file = min((table.path / "_versions").glob("*.manifest"))  # numbered from the back: the newest
    whole = file.read_bytes()
    outcomes: Counter[str] = Counter()
    for place in range(0, len(whole), 5):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            FeatureStore(tmp_path / "store").table(SPACE).verify()
            outcomes["fine"] += np.array_equal(table.rows([image(1), image(2)]).take([0, 1]), values(1, 2))
        except StoreError as failure:
            outcomes[str(failure).replace(str(table.path), "").partition(" (")[0]] += 1
    assert {": cannot be opened", ": a file is damaged"} < set(outcomes)
    assert sum(outcomes.values()) == len(range(0, len(whole), 5))


def test_damaged_row_raises(table: FeatureTable) -> None:
    table.append([image(1)], values(1))
    file = data_file(table)
    whole = file.read_bytes()
    place = whole.index(values(1).tobytes())
    file.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(StoreError) as caught:
        table.rows([image(1)]).take([0])
    assert str(caught.value) == (
        f"{table.path}: cannot read features (wrong checksum); headstart cache prune --model NAME removes a "
        "model's features; the next run computes them again"
    )
    assert table.verify() == 1


def test_truncated_file_raises(table: FeatureTable) -> None:
    table.append([image(1), image(2)], values(1, 2))
    file = data_file(table)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(StoreError, match=r": a file is damaged \("):
        table.verify()
    with pytest.raises(StoreError, match=r": cannot list the rows \("):
        table.rows([image(1)])


@pytest.mark.parametrize("large", [1, 1 << 20])
def test_all_rows_are_loaded_in_their_order(
    table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(scratch, "LARGE", large)
    table.append([image(number) for number in range(6)], values(*range(6)))
    rows = table.rows([image(number) for number in (4, 0, 5, 4)])
    assert np.array_equal(rows.load(tmp_path), values(4, 0, 5, 4))


def test_keys_are_looked_up_in_parts(table: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_PART", 3)
    for start in range(0, 10, 2):  # five fragments
        numbers = range(start, start + 2)
        table.append([image(number) for number in numbers], values(*numbers), view=[0, 1])
    asked = [image(number) for number in (11, 9, 8, 3, 9, 0)]
    assert table.missing_views(asked, (0, 1)) == {
        image(11): [0, 1],
        image(9): [0],
        image(8): [1],
        image(3): [0],
        image(0): [1],
    }
    assert table.missing(asked, view=1) == [image(11), image(8), image(0)]
