from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import DataError
from headstart.models.imagenet import imagenet_names
from headstart.models.names import align, match

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
def test_labels(label: str, classes: list[int]) -> None:
    assert match([label], NAMES) == ({0: classes} if classes else {})


def test_a_label_is_known_by_its_position() -> None:
    assert match(["x", "tabby", "y", "Tabby"], NAMES) == {1: [0], 3: [0]}


def test_without_classes() -> None:
    assert match(["a"], []) == {}
    assert match([], ["a"]) == {}


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(names, max_size=8), st.lists(names, max_size=8))
def test_what_is_found_is_there_and_named_so(labels: list[str], pretrained: list[str]) -> None:
    found = match(labels, pretrained)
    for position, classes in found.items():
        assert labels[position].strip()
        assert classes == sorted(set(classes))
        assert all(match([labels[position]], [pretrained[index]]) == {0: [0]} for index in classes)


@given(st.lists(st.text("abcäß한", min_size=1, max_size=6), min_size=1, max_size=8))
def test_every_name_finds_itself_however_it_is_written(pretrained: list[str]) -> None:
    for write in (str, str.upper, str.casefold, "_{}_".format, "-{}".format, " {} (n01234567)".format):
        found = match([write(name) for name in pretrained], pretrained)
        assert all(position in found[position] for position in range(len(pretrained)))


@given(st.lists(names, min_size=2, max_size=5).filter(lambda parts: all(part.strip() for part in parts)))
def test_a_synonym_is_enough(synonyms: list[str]) -> None:
    plain = [each for each in synonyms if "," not in each and match([each], [each])]
    assert all(match([each], ["other", ", ".join(synonyms)]) == {0: [1]} for each in plain if each != "other")


def test_imagenet_s_folders_by_index_are_numbers_not_texts() -> None:
    names = imagenet_names()
    meant = align(["10", "2", "281", "999"], names)
    assert meant == {"10": names[10], "2": names[2], "281": "tabby, tabby cat", "999": names[999]}


def test_a_background_class_in_front_moves_nothing() -> None:
    with_background = ("background", *imagenet_names())
    assert align(["0", "281"], with_background) == {"0": "tench, Tinca tinca", "281": "tabby, tabby cat"}
    assert align(["n02123045", "background"], with_background)["n02123045"] == "tabby, tabby cat"


def test_folders_by_wordnet_identifier() -> None:
    assert align(["n02012849", "n03126707"], imagenet_names()) == {
        "n02012849": "crane (n02012849)",
        "n03126707": "crane (n03126707)",
    }


@pytest.mark.parametrize(
    ("labels", "classes", "text"),
    [
        (["mauve"], ["blue", "red"], "means none of the classifier's 2 classes (such as 'blue')"),
        (["7"], ["blue", "red"], "the label '7' means none"),
        (["1000"], imagenet_names(), "the label '1000' means none"),
        (["Crane"], imagenet_names(), "means several: crane (n02012849), crane (n03126707) of"),
    ],
)
def test_a_label_that_means_no_class(labels: list[str], classes: list[str], text: str) -> None:
    with pytest.raises(DataError) as caught:
        align(labels, classes)
    assert text in str(caught.value)
