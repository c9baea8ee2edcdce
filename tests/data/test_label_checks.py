from __future__ import annotations

import itertools
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import ImageNetInfo

from headstart.data.label_checks import check_class_names, separator_of_several_labels
from headstart.errors import DataError
from headstart.models.imagenet import imagenet_names

DOGS = [name.split(",")[0] for name in imagenet_names()[151:269]]
WORDS = [
    *("cat", "dog", "tree", "haze", "clear", "water", "primary", "road", "cloudy", "mine", "slash", "bare ground"),
    *("bell", "pepper", "fox"),
]


@pytest.mark.parametrize(
    "names",
    [
        ["Cat", "cat", "dog"],
        ["true", "True"],
        ["ice cream", "ice  cream"],
        ["ice cream", "ice_cream"],
        ["ice\u00a0cream", "ice cream"],
        ["a\u200b", "a"],
        ["cafe\u0301", "caf\u00e9"],
        ["STRASSE", "straße"],
        ["ａ", "a"],
        ["y", "Y", "n", "N"],
    ],
)
def test_spellings_of_one_name_are_refused(names: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        check_class_names(names)
    assert f"{sorted(names[:2])[0]!r} and " in str(caught.value)


def test_different_names_are_accepted() -> None:
    check_class_names([])
    check_class_names(imagenet_names())
    check_class_names(["cat", "cats", "cat-1", "cat 1", "cat1", "고양이"])
    check_class_names(string.ascii_letters + string.digits)  # the letters of EMNIST


def test_many_are_counted() -> None:
    names = [form(name) for name in WORDS for form in (str.lower, str.upper)]
    with pytest.raises(DataError, match=f"'BARE GROUND' and 'bare ground'; .*, and {len(WORDS) - 5} more; if that"):
        check_class_names(names)


@pytest.mark.parametrize(
    "names",
    [
        ["golden retriever", "labrador retriever", "fox terrier", "west highland white terrier"],
        ["bear", "polar bear", "brown bear", "teddy bear", "polar fox"],
        ["red apple", "green apple", "red pear", "green pear"],
        ["tomato|healthy", "tomato|blight", "potato|healthy", "potato|blight"],
        ["blue", "green", "light blue", "dark blue", "blue green", "yellow green", "yellow"],
        ["small", "very small", "large", "very large"],
        [f"{rank} of {suit}" for rank in range(2, 11) for suit in ("clubs", "hearts", "spades")],
        ["tench, Tinca tinca", "maillot", "maillot, tank suit"],
        ["747-100", "747-200", "A330-200"],
        ["0,5", "1,5"],
        ["1", "2", "10"],
        [],
    ],
)
def test_names_of_several_words_are_names(names: list[str]) -> None:
    assert separator_of_several_labels(names) is None


def test_lists_of_real_names_are_names() -> None:
    """ImageNet-1k and dog breeds whole, and any choice of the 21,841 names of ImageNet-21k."""
    assert separator_of_several_labels(imagenet_names()) is None
    assert separator_of_several_labels(DOGS) is None
    info = ImageNetInfo("imagenet21k")
    names = [info.index_to_description(index) for index in range(info.num_classes())]
    chance = np.random.default_rng(0)
    for size in (*range(2, 50, 3), 1000, len(names)):
        chosen = [names[index] for index in chance.choice(len(names), size, replace=False)]
        assert separator_of_several_labels(chosen) is None, chosen
        assert separator_of_several_labels([name.split(",")[0] for name in chosen]) is None, chosen


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True), min_size=1, max_size=9),
    st.sampled_from("|;, +&/"),
)
def test_lists_of_labels_that_also_occur_alone_are_found(lists: list[list[str]], separator: str) -> None:
    words = [word.replace(" ", "") for word in WORDS]
    labels = [separator.join(word.replace(" ", "") for word in words) for words in lists]
    several = any(len(words) > 1 for words in lists)
    assert (separator_of_several_labels([*labels, *words]) == separator) == several


@pytest.mark.parametrize(
    "names",
    [
        ["haze primary", "clear primary water", "primary clear water"],
        ["Cardiomegaly|Emphysema", "Emphysema|Effusion", "No Finding"],
        ["a|b", "a"],
        ["16 0", "7 1 2 0", "3"],
        [" ".join(words) for size in (2, 3) for words in itertools.combinations(WORDS[:8], size)],
    ],
)
def test_lists_of_labels(names: list[str]) -> None:
    assert separator_of_several_labels(names) in ("|", " ")
