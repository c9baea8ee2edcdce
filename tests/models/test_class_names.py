from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import DataError, ModelError
from headstart.models.class_names import align, match, own_class_names
from headstart.models.imagenet import imagenet_names

NAMES = ["tabby, tabby cat", "crane (n02012849)", "crane (n03126707)", "Egyptian cat", "St. Bernard, Saint_Bernard"]


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("tabby", [0]),
        ("Tabby_Cat", [0]),
        ("tabby, tabby cat", [0]),
        ("crane", [1, 2]),
        ("EGYPTIAN-CAT", [3]),
        ("  egyptian   cat ", [3]),
        ("st bernard", [4]),
        ("saint bernard", [4]),
        ("cat", []),
        ("tabb", []),
        ("", []),
    ],
)
def test_match_one_label(label: str, classes: list[int]) -> None:
    assert match([label], NAMES) == ({0: classes} if classes else {})


def test_match_uses_the_position_of_the_label() -> None:
    assert match(["x", "tabby", "y", "Tabby"], NAMES) == {1: [0], 3: [0]}


def test_match_without_classes_or_labels() -> None:
    assert match(["a"], []) == {}
    assert match([], ["a"]) == {}


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(names, max_size=8), st.lists(names, max_size=8))
def test_matches_are_valid_and_sorted(labels: list[str], pretrained: list[str]) -> None:
    found = match(labels, pretrained)
    for position, classes in found.items():
        assert labels[position].strip()
        assert classes == sorted(set(classes))
        assert all(match([labels[position]], [pretrained[index]]) == {0: [0]} for index in classes)


@given(st.lists(st.text("abcäß한", min_size=1, max_size=6), min_size=1, max_size=8))
def test_names_match_themselves_in_any_spelling(pretrained: list[str]) -> None:
    for write in (str, str.upper, str.casefold, "_{}_".format, "-{}".format, " {} (n01234567)".format):
        found = match([write(name) for name in pretrained], pretrained)
        assert all(position in found[position] for position in range(len(pretrained)))


@given(st.lists(names, min_size=2, max_size=5).filter(lambda parts: all(part.strip() for part in parts)))
def test_any_synonym_matches(synonyms: list[str]) -> None:
    plain = [each for each in synonyms if "," not in each and match([each], [each])]
    assert all(match([each], ["other", ", ".join(synonyms)]) == {0: [1]} for each in plain if each != "other")


def test_imagenet_folders_named_by_index() -> None:
    names = imagenet_names()
    aligned = align(["10", "2", "281", "999"], names)
    assert aligned == {"10": names[10], "2": names[2], "281": "tabby, tabby cat", "999": names[999]}


def test_background_class_does_not_shift_indices() -> None:
    with_background = ("background", *imagenet_names())
    assert align(["0", "281"], with_background) == {"0": "tench, Tinca tinca", "281": "tabby, tabby cat"}
    assert align(["n02123045", "background"], with_background)["n02123045"] == "tabby, tabby cat"


def test_imagenet_folders_named_by_wordnet_identifier() -> None:
    assert align(["n02012849", "n03126707"], imagenet_names()) == {
        "n02012849": "crane (n02012849)",
        "n03126707": "crane (n03126707)",
    }


@pytest.mark.parametrize(
    ("labels", "classes", "text"),
    [
        (
            ["mauve"],
            ["blue", "red"],
            "one of the classifier's 2 classes (for example 'blue'), but matches none; use the same",
        ),
        (["7"], ["blue", "red"], "the label '7' must match one of the classifier's 2 classes"),
        (["1000"], imagenet_names(), "the label '1000' must match one of the classifier's 1000 classes"),
        (["Crane"], imagenet_names(), "but matches several: crane (n02012849), crane (n03126707); use"),
    ],
)
def test_labels_without_a_unique_class(labels: list[str], classes: list[str], text: str) -> None:
    with pytest.raises(DataError) as caught:
        align(labels, classes)
    assert text in str(caught.value)


def test_own_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"

    def rejected(text: str | bytes) -> str:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ModelError) as raised:
            own_class_names(2, str(path))
        return str(raised.value).removeprefix(f"--class-names {path}: ")

    path.write_text("\ufeffrose\n\nlily\n", encoding="utf-8")
    assert own_class_names(2, str(path)) == (("rose", "lily"), ())
    assert rejected("rose\n") == "has 1 names, but the network has 2 classes"
    assert rejected("rose\nrose\n") == "the name 'rose' is there more than once"
    assert rejected(b"\xff\xfe").startswith("cannot be read (")
    path.unlink()
    with pytest.raises(ModelError, match="must be imagenet, none, or a text file with one name per line"):
        own_class_names(2, str(path))
    with pytest.raises(ModelError, match="the network has 2 classes, which is no ImageNet subset"):
        own_class_names(2, "imagenet")


def test_stated_names_are_no_guess() -> None:
    assert own_class_names(2, None, ["rose", "lily"]) == (("rose", "lily"), ())
    assert own_class_names(1000, None, by_number=False) == (None, ())
    assert own_class_names(1000, "none", imagenet_names()) == (None, ())
