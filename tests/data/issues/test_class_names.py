from __future__ import annotations

import pytest

from headstart.data.issues import CheckedImages
from headstart.data.issues.class_names import find_class_names, find_few_images, find_imbalance, same_but_for
from headstart.data.manifest import Manifest


def labeled(**counts: int) -> CheckedImages:
    labels = [name for name, count in counts.items() for _ in range(count)]
    return CheckedImages(Manifest.from_rows([f"/photos/{n}.jpg" for n in range(len(labels))], labels=labels))


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ("beagle", "Beagle", "case"),
        ("golden retriever", "golden_retriever", "underscores"),
        ("café", "cafe\u0301", "Unicode"),
        ("daisy", "daisies", "plural"),
        ("box", "boxes", "plural"),
        ("golden retreiver", "golden retriever", "swapped"),
        ("sunflower", "sunflwer", "one letter"),
        ("dandelion", "dandeliom", "one letter"),
    ],
)
def test_two_spellings_of_a_name_are_told(one: str, other: str, difference: str) -> None:
    said = same_but_for(one, other)
    assert said is not None
    assert difference in said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "rat"),
        ("class 10", "class 11"),
        ("grade2b", "grade3b"),
        ("norfolk terrier", "norwich terrier"),
        ("hepatitis a", "hepatitis b"),
        ("red wine", "wine"),
        ("glass", "grass plain"),
        ("bus", "bu"),
    ],
)
def test_other_names_are_two_classes(one: str, other: str) -> None:
    assert same_but_for(one, other) is None


def test_the_rarer_name_stands_first_with_its_images() -> None:
    (issue,) = find_class_names(labeled(retriever=5, poodle=3, retreiver=1))
    assert issue.evidence.startswith("'retreiver' (1 image) and 'retriever' (5 images)")
    assert issue.related == ("/photos/8.jpg",)
    assert issue.uri is None


def test_every_pair_that_differs_in_a_slip_is_compared() -> None:
    names = ("retriever", "retreiver", "retrievr", "rettriever", "retrievers", "Retriever")
    pairs = [issue.evidence for issue in find_class_names(labeled(**dict.fromkeys(names, 2)))]
    assert all(any(f"'{name}'" in pair and "'retriever'" in pair for pair in pairs) for name in names[1:])


def test_classes_with_one_or_two_images_are_told() -> None:
    found = list(find_few_images(labeled(cat=9, dog=2, owl=1)))
    assert [issue.evidence for issue in found] == ["the class 'owl' has 1 image", "the class 'dog' has 2 images"]


def test_imbalance_is_told_from_a_factor_of_ten_on() -> None:
    assert list(find_imbalance(labeled(cat=29, dog=3))) == []
    (issue,) = find_imbalance(labeled(cat=30, dog=3))
    assert "10 times" in issue.evidence
    assert list(find_imbalance(labeled(cat=30))) == []
