from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.data.spec import InputSpec
from headstart.errors import StoreError
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore, Space

SPACE = FeatureSpace("test_net", "0" * 32, "pool", InputSpec(), "float32", "float32", (2, 3))


def image(number: int) -> str:
    return f"{number:032x}"


def values(*numbers: int) -> np.ndarray:
    """Features (N, 2, 3) that tell whose they are."""
    return np.stack([np.random.default_rng(number).normal(size=(2, 3)).astype(np.float32) for number in numbers])


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return FeatureStore(tmp_path / "store").space(SPACE)


def in_the_store(space: Space) -> list[bytes]:
    return lance.dataset(str(space.path)).to_table()["image"].to_pylist()


def test_rows_come_back_in_the_asked_order_bit_for_bit(space: Space) -> None:
    numbers = np.random.default_rng(0).permutation(50)
    for some in np.split(numbers, 10):
        space.append([image(number) for number in some], values(*some))
    asked = np.random.default_rng(1).choice(50, 70)  # some of them twice
    rows = space.rows([image(number) for number in asked])
    assert (len(rows), rows.nbytes) == (70, 70 * 6 * 4)
    assert rows.take(np.arange(70)).tobytes() == values(*asked).tobytes()
    assert rows.take([69, 0, 0]).tobytes() == values(asked[69], asked[0], asked[0]).tobytes()
    assert rows.take([]).shape == (0, 2, 3)


def test_many_rows_are_read_in_parts(space: Space) -> None:
    count = 2500
    features = np.arange(count * 6, dtype=np.float32).reshape(count, 2, 3)
    space.append([image(number) for number in range(count)], features)
    asked = np.random.default_rng(1).choice(count, 3000)
    rows = space.rows([image(number) for number in range(count)])
    assert np.array_equal(rows.take(asked), features[asked])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), max_size=5))
def test_any_commits_read_as_one_row_an_image(tmp_path: Path, commits: list[list[int]]) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    space = FeatureStore(tmp_path / "store").space(SPACE)
    for some in commits:
        space.append([image(number) for number in some], values(*some))
    there = sorted({number for some in commits for number in some})
    assert space.missing([image(number) for number in (*range(14), 3)]) == [
        image(number) for number in range(14) if number not in there
    ]
    if there:
        asked = [image(number) for number in there]
        assert np.array_equal(space.rows(asked).take(np.arange(len(there))), values(*there))
        space.prune()
        assert len(space) == len(there)
        assert np.array_equal(space.rows(asked).take(np.arange(len(there))), values(*there))


def test_of_a_row_that_is_there_twice_the_first_counts_until_prune_drops_the_other(space: Space) -> None:
    space.append([image(1), image(2)], values(1, 2))
    space.append([image(2), image(3)], values(7, 3))  # by the contract the content would be the same
    assert len(space) == 4
    assert np.array_equal(space.rows([image(2)]).take([0]), values(2))
    space.prune()
    assert sorted(in_the_store(space)) == [bytes.fromhex(image(number)) for number in (1, 2, 3)]
    assert np.array_equal(space.rows([image(3), image(2)]).take([0, 1]), values(3, 2))


def test_views_are_kept_apart(space: Space) -> None:
    space.append([image(1)], values(1))
    space.append([image(1), image(2)], values(8, 9), view=1)
    assert space.missing([image(1), image(2)]) == [image(2)]
    assert space.missing([image(1), image(2), image(3)], view=1) == [image(3)]
    assert np.array_equal(space.rows([image(2), image(1)], view=1).take([0, 1]), values(9, 8))
    space.prune()
    assert len(space) == 3


def test_the_views_that_images_lack_are_told_together(space: Space) -> None:
    space.append([image(1), image(2)], values(1, 2))
    space.append([image(1), image(3), image(1)], values(4, 5, 6), view=[2, 2, -1])  # one commit
    asked = [image(number) for number in (3, 1, 2, 3)]
    assert space.missing_views(asked, (0, 2)) == {image(3): [0], image(2): [2]}
    assert space.missing_views(asked, (2, 0, -1, 2)) == {image(3): [-1, 0], image(2): [-1, 2]}
    assert space.missing_views(asked[1:2], (-1, 0, 2)) == {}
    assert space.missing_views(asked, ()) == space.missing_views([], (0, 1)) == {}
    assert np.array_equal(space.rows([image(3), image(1)], view=2).take([0, 1]), values(5, 4))
    assert np.array_equal(space.rows([image(1)], view=-1).take([0]), values(6))
    assert space.verify() == 0
    space.prune()
    assert len(space) == 5


def test_training_views_of_another_version_are_not_found(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    space.append([image(1)] * 3, values(1, 2, 3), view=[-1, 0, 1])
    monkeypatch.setattr("headstart.features.key.TRAINING_VIEWS", 2)
    assert space.missing_views([image(1)], (-1, 0, 1)) == {image(1): [1]}
    assert space.verify() == 0


def test_joining_fragments_keeps_all_and_does_not_move_what_is_being_read(space: Space) -> None:
    for number in range(70):
        space.append([image(number)], values(number))
    space.append([image(0)], values(0))
    space.prune()  # drops a row, so that places move
    early = space.rows([image(number) for number in range(70)])
    for number in range(70, 140):
        space.append([image(number)], values(number))
    assert len(lance.dataset(str(space.path)).get_fragments()) > 64
    space.tidy()
    assert len(lance.dataset(str(space.path)).get_fragments()) == 1
    assert np.array_equal(early.take(np.arange(70)), values(*range(70)))
    assert np.array_equal(
        space.rows([image(number) for number in range(140)]).take(np.arange(140)), values(*range(140))
    )
    assert space.verify() == 0


def test_rows_are_of_one_version_though_another_process_prunes_meanwhile(space: Space) -> None:
    class Restless(Space):
        def _dataset(self) -> Any:
            opened = super()._dataset()
            space.prune()
            return opened

    space.append([image(1), image(1), image(2), image(3)], values(1, 1, 2, 3))
    restless = Restless(space.path, space.facts_path, space.dtype, space.shape)
    rows = restless.rows([image(3), image(2)])
    assert len(space) == 3
    assert np.array_equal(rows.take([0, 1]), values(3, 2))


def test_few_fragments_are_left_as_they_are(space: Space) -> None:
    for number in range(3):
        space.append([image(number)], values(number))
    space.tidy()
    assert len(lance.dataset(str(space.path)).get_fragments()) == 3


def test_prune_frees_what_older_versions_hold(space: Space) -> None:
    for number in range(20):
        space.append([image(number)], values(number))
    before = space.bytes
    space.prune(timedelta(0))
    assert space.bytes < before / 4
    assert np.array_equal(space.rows([image(7)]).take([0]), values(7))


def test_a_value_that_is_not_finite_is_refused_and_nothing_is_kept(space: Space) -> None:
    features = values(1, 2)
    features[1, 0, 0] = np.nan
    with pytest.raises(StoreError, match=r"^the network gave values that are not finite: use --precision float32$"):
        space.append([image(1), image(2)], features)
    assert len(space) == 0


def test_float16_is_clipped_on_its_way_in(tmp_path: Path) -> None:
    space = FeatureStore(tmp_path).space(replace(SPACE, dtype="float16", shape=(3,)))
    space.append([image(1)], np.array([[1e6, -1e6, 0.1]], np.float32))
    assert space.rows([image(1)]).take([0]).tolist() == [[65504.0, -65504.0, float(np.float16(0.1))]]


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
def test_spaces_never_mix(tmp_path: Path, other: FeatureSpace) -> None:
    store = FeatureStore(tmp_path)
    one, two = store.space(SPACE), store.space(other)
    one.append([image(1)], values(1))
    assert two.missing([image(1)]) == [image(1)]
    assert [len(each) for each in store.spaces()] == [len(each) for each in sorted((one, two), key=lambda it: it.path)]


def test_an_image_without_a_row_is_named(space: Space) -> None:
    space.append([image(1)], values(1))
    with pytest.raises(StoreError) as caught:
        space.rows([image(1), image(0xAB)])
    assert str(caught.value) == f"{space.path}: no features of the image with hash {image(0xAB)}"


def test_the_store_tells_what_it_holds(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    assert list(store.spaces()) == []
    made = store.space(SPACE)
    made.append([image(1)], values(1))
    (found,) = store.spaces()
    assert found == made
    assert (found.facts["model"], found.facts["shape"], len(found)) == ("test_net", [2, 3], 1)
    assert found.bytes == sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    assert store.space(SPACE) == made  # opened again, not made anew
    assert len(made) == 1


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    one, two = store.space(SPACE), store.space(replace(SPACE, cut="blocks"))
    one.append([image(1)], values(1))
    one.remove()
    assert list(store.spaces()) == [two]
    assert sorted(tmp_path.joinpath("store").iterdir()) == [two.facts_path, two.path]
    assert store.space(SPACE).missing([image(1)]) == [image(1)]


@pytest.mark.parametrize("name", ["with space", "a=1", "50%25 #1?", "한국", "b'x\"y"])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    space = FeatureStore(tmp_path / name / "deep").space(SPACE)
    space.append([image(1)], values(1))
    assert np.array_equal(space.rows([image(1)]).take([0]), values(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_relative_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = FeatureStore(Path("store")).space(SPACE)
    space.append([image(1)], values(1))
    assert (tmp_path / "store" / space.path.name).is_dir()
    assert space.missing([image(1)]) == []


# -- what goes wrong on disks -----------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    folder = tmp_path / "store"
    with pytest.raises(StoreError) as caught:
        FeatureStore(folder).space(SPACE)
    assert str(caught.value) == (
        f"{folder}: the feature store cannot be written ([Errno 17] File exists: '{folder}'); give another: --store"
    )


def test_a_data_set_that_is_gone(space: Space) -> None:
    shutil.rmtree(space.path)
    for use, what in [
        (lambda: space.missing([image(1)]), "its rows cannot be listed"),
        (lambda: space.rows([image(1)]), "its rows cannot be listed"),
        (lambda: len(space), "its rows cannot be counted"),
        (space.verify, "a file is damaged"),
        (space.prune, "it cannot be pruned"),
    ]:
        with pytest.raises(StoreError) as caught:
            use()
        assert str(caught.value).startswith(f"{space.path}: {what} (Dataset at path ")
    space.tidy()
    space.remove()
    assert not list(space.path.parent.iterdir())


def test_a_data_set_that_cannot_be_written(space: Space) -> None:
    (space.path / "data").write_text("a file")
    with pytest.raises(StoreError) as caught:
        space.append([image(1)], values(1))
    assert str(caught.value).startswith(f"{space.path}: features cannot be added (")


def test_what_was_killed_while_it_made_the_data_set_does_not_bar_the_way(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    (tmp_path / f"{SPACE.key}.lance" / "data").mkdir(parents=True)
    space = store.space(SPACE)
    space.append([image(1)], values(1))
    assert space.missing([image(1)]) == []


def test_damaged_facts_are_named(tmp_path: Path, space: Space) -> None:
    space.facts_path.write_text('{"key": ')
    with pytest.raises(StoreError) as caught:
        list(FeatureStore(tmp_path / "store").spaces())
    assert str(caught.value).startswith(f"{space.facts_path}: damaged (JSONDecodeError(")
    assert str(caught.value).endswith("); delete it and the folder with its name")
    space.facts_path.write_text(json.dumps({"dtype": "float32"}))
    with pytest.raises(StoreError) as caught:
        list(FeatureStore(tmp_path / "store").spaces())
    assert str(caught.value) == (
        f"{space.facts_path}: damaged (KeyError('shape')); delete it and the folder with its name"
    )


def data_file(space: Space) -> Path:
    (file,) = (space.path / "data").iterdir()
    return file


def test_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    space = FeatureStore(tmp_path).space(replace(SPACE, shape=(64,)))
    features = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    names = [image(number) for number in range(40)]
    space.append(names, features)
    file = data_file(space)
    whole = file.read_bytes()
    told: Counter[str] = Counter()
    for place in range(0, len(whole), 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        found = _told(space)
        told[found] += 1
        # Whatever was hit, what is read is what was written, or the damage is told.
        try:
            assert np.array_equal(space.rows(names).take(np.arange(40)), features), place
        except StoreError:
            told["not read"] += 1
            assert found != "0 wrong", place
    file.write_bytes(whole)
    assert space.verify() == 0
    assert told["1 wrong"] > 0.9 * 40 * 64 * 4 / 97  # nearly all of the file is features
    assert told["not read"] >= told["1 wrong"]
    assert all(re.fullmatch(r"\d+ wrong|not read|: a file is damaged", each) for each in told)


def _told(space: Space) -> str:
    try:
        return f"{space.verify()} wrong"
    except StoreError as failure:
        return str(failure).replace(str(space.path), "").partition(" (")[0]


def test_a_damaged_list_of_files_is_told_or_does_no_harm(space: Space, tmp_path: Path) -> None:
    """Rust code panics on some of these."""
    space.append([image(1), image(2)], values(1, 2))
    file = min((space.path / "_versions").glob("*.manifest"))  # numbered from the back: the newest
    whole = file.read_bytes()
    told: Counter[str] = Counter()
    for place in range(0, len(whole), 5):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            FeatureStore(tmp_path / "store").space(SPACE).verify()
            told["fine"] += np.array_equal(space.rows([image(1), image(2)]).take([0, 1]), values(1, 2))
        except StoreError as failure:
            told[str(failure).replace(str(space.path), "").partition(" (")[0]] += 1
    assert {": it cannot be opened", ": a file is damaged"} < set(told)
    assert sum(told.values()) == len(range(0, len(whole), 5))


def test_a_damaged_row_is_not_read(space: Space) -> None:
    space.append([image(1)], values(1))
    file = data_file(space)
    whole = file.read_bytes()
    place = whole.index(values(1).tobytes())
    file.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(StoreError) as caught:
        space.rows([image(1)]).take([0])
    assert str(caught.value) == (
        f"{space.path}: features cannot be read (a checksum is wrong); headstart cache prune --model NAME removes a "
        "model's features, and the next run computes them again"
    )
    assert space.verify() == 1


def test_a_file_cut_short_is_told(space: Space) -> None:
    space.append([image(1), image(2)], values(1, 2))
    file = data_file(space)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(StoreError, match=r": a file is damaged \("):
        space.verify()
    with pytest.raises(StoreError, match=r": its rows cannot be listed \("):
        space.rows([image(1)])
