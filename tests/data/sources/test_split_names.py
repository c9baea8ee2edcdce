from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.sources.split_names import is_for_prediction, parse_split, recognize_splits

TRAIN = ["train", "Training", "TRAIN", "trainset", "learn", "entrenamiento", "Apprentissage", "treino", "обучение"]
TRAIN += ["训练", "訓練", "学習", "훈련", "eğitim", "addestramento"]
TEST = ["test", "Testing", "testset", "prueba", "teste", "тест", "测试", "テスト", "테스트"]
AROUND = ["{}", "{}_images", "{}-set", "{} data", "{}Images", "images_{}", "dataset-{}", "{}1", "seg_{}", "cats_{}_v2"]


@given(st.sampled_from(TRAIN), st.sampled_from(TEST), st.sampled_from(AROUND))
def test_splits_in_many_languages_and_spellings(train: str, test: str, around: str) -> None:
    names = [around.format(train), around.format(test)]
    assert dict(recognize_splits(names).splits) == {names[0]: "train", names[1]: "test"}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["seg_train", "seg_test", "seg_pred"], ["train", "test", None]),
        (["training_set", "test_set"], ["train", "test"]),
        (["train", "eval"], ["train", "test"]),
        (["train", "test", "eval"], ["train", "test", "validation"]),
        (["eval"], [None]),
        (["train", "dev", "holdout"], ["train", "validation", "test"]),
        (["Training Data", "Validation Data"], ["train", "validation"]),
        (["train", "bus", "car"], ["train", None, None]),
        (["test_tube", "train_station", "valid_ticket"], [None, None, None]),
        (["contest", "trainer", "valley", "devil"], [None] * 4),
        (["proven", "latest", "1", "..."], [None] * 4),
        (["images", "photos"], [None, None]),
    ],
)
def test_names_of_siblings(names: list[str], splits: list[str | None]) -> None:
    found = recognize_splits(names).splits
    assert [found.get(name) for name in names] == splits


def test_only_conventional_names_need_no_telling() -> None:
    assert recognize_splits(["train", "Valid", "test"]).guessed == frozenset()
    assert recognize_splits(["train", "test_images"]).guessed == {"test_images"}
    assert parse_split("test_images") is None


def test_folders_for_prediction() -> None:
    assert is_for_prediction("unlabeled", ["train", "test", "unlabeled"])
    assert is_for_prediction("seg_pred", ["seg_train", "seg_test", "seg_pred"])
    assert not is_for_prediction("predator", ["train", "test", "predator"])


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_names(names: list[str]) -> None:
    found = recognize_splits(names)
    assert set(found.splits) <= set(names)
    assert found.distinct <= {"train", "validation", "test"}
