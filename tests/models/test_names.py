from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.models.names import match

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
