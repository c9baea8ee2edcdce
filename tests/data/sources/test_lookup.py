"""Names of tables that are not those of the files: which is taken, and when none is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.sources.lookup import ImageLookup


def _made(root: Path, files: Iterable[str]) -> ImageLookup:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()  # to find a file its content does not matter
    return ImageLookup(root)


def _matched(lookup: ImageLookup, names: list[str]) -> list[list[str]]:
    return [[str(Path(path).relative_to(lookup.root)) for path in paths] for paths in lookup.match_all(names).files]


@pytest.mark.parametrize(
    ("files", "names", "expected", "said"),
    [
        # lost or added zeros, and numbers as programs write them
        (["001.png", "002.png", "100.png"], ["1", "2", "100"], ["001.png", "002.png", "100.png"], True),
        (["1.png", "2.png"], ["001", "002"], ["1.png", "2.png"], True),
        (["x/001.png", "y/001.png"], ["x/1", "y/1.png"], ["x/001.png", "y/001.png"], True),
        (["1.png", "2.png"], ["1.0", "2.0"], ["1.png", "2.png"], True),
        (["001.png", "002.png"], ["1.0", "2.0"], ["001.png", "002.png"], True),
        (["100000.png", "1.png"], ["1E+05", "1"], ["100000.png", "1.png"], True),
        (["100000.png", "1e5.png"], ["1e5"], ["1e5.png"], False),
        # another extension
        (["a.jpg", "b.jpg", "c.png"], ["a.heic", "b.heic", "c.png"], ["a.jpg", "b.jpg", "c.png"], True),
        # case
        (["A.jpg", "B.jpg"], ["a", "b"], ["A.jpg", "B.jpg"], True),
        (["Aa.JPG", "Bb.JPG"], ["Aa.jpg", "Bb.jpg"], ["Aa.JPG", "Bb.JPG"], False),
        # the folder of another machine
        (
            ["images/1.jpg", "images/2.jpg"],
            ["/data/x/images/1.jpg", "/data/x/images/2.jpg"],
            ["images/1.jpg", "images/2.jpg"],
            True,
        ),
        (["1.jpg", "2.jpg"], ["C:\\me\\images\\1.jpg", "D:\\x\\2.jpg"], ["1.jpg", "2.jpg"], True),
    ],
)
def test_names_that_differ_from_the_files(
    tmp_path: Path, files: list[str], names: list[str], expected: list[str], said: bool
) -> None:
    lookup = _made(tmp_path, files)
    assert _matched(lookup, names) == [[name] for name in expected]
    assert len(lookup.match_all(names).guesses) == said


@pytest.mark.parametrize(
    ("files", "names", "missing"),
    [
        (["Qx0.jpg", "Qx1.jpg", "aB.jpg"], ["qX0", "Qx1", "aB"], "qX0"),  # case matters in the other names
        (["Qx0.jpg", "qb.jpg"], ["qx0", "Qx0"], "qx0"),  # another row names that file
        (["Img.jpg"], ["IMG", "img"], "IMG"),  # two names, one file
        (["1.png", "002.png", "005.png"], ["1", "5", "002"], "5"),  # 1 and 002 have all their zeros
        (["a.jpg", "masks/b.png"], ["a.jpg", "b.jpg"], "b.jpg"),  # a.jpg shows that the extension is right
        (["120000.png"], ["1.2E+05", "1.2E+05"], "1.2E+05"),  # a rounded number stands for several images
        (["test/5.jpg"], ["train/5.jpg"], "train/5.jpg"),
        (["5.jpg"], ["/data/train/5.jpg", "/data/test/5.jpg"], "/data/test/5.jpg"),
    ],
)
def test_no_name_takes_the_file_of_another(tmp_path: Path, files: list[str], names: list[str], missing: str) -> None:
    assert dict(zip(names, _matched(_made(tmp_path, files), names), strict=True))[missing] == []


def test_names_with_two_files_are_left_to_the_caller(tmp_path: Path) -> None:
    lookup = _made(tmp_path, ["1.jpg", "001.png", "IMG_1.JPG", "img_1.jpg"])
    assert _matched(lookup, ["1.png", "Img_1"]) == [["001.png", "1.jpg"], ["IMG_1.JPG", "img_1.jpg"]]
    assert _matched(lookup, ["1", "IMG_1", "img_1"]) == [["1.jpg"], ["IMG_1.JPG"], ["img_1.jpg"]]


def test_what_was_matched_otherwise_is_said(tmp_path: Path) -> None:
    lookup = _made(tmp_path, ["001.png", "002.png", "100.png"])
    assert [*map(str, lookup.match_all(["1", "2", "100"]).guesses)] == [
        "2 of 3 names are matched as numbers, with another count of leading zeros, for example '1' is 001.png "
        "(guessed; writing the names of the files into the table settles it)"
    ]
    assert lookup.match_all(["001", "100.png", "2000"]).guesses == ()
    assert [guess.what for guess in lookup.match_all(["/data/x/001.png"]).guesses] == [
        f"paths below /data/x are taken below {tmp_path}"
    ]


def test_the_share_of_names(tmp_path: Path) -> None:
    lookup = _made(tmp_path, ["1.jpg", "2.jpg"])
    assert lookup.share(["1", "2.jpg", None, "3", "x"]) == 0.5
    assert lookup.share([]) == 0


NAMES = st.text(st.sampled_from("aAbB01"), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(files=st.sets(NAMES, min_size=1, max_size=8), names=st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_an_exact_name_always_has_its_file_and_no_file_has_two_names(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], names: list[str]
) -> None:
    lookup = _made(tmp_path_factory.mktemp("names"), [f"{name}.jpg" for name in files])
    matched = dict(zip(names, _matched(lookup, names), strict=True))
    for name in files & set(names):
        assert matched[name] == [f"{name}.jpg"]
    taken = [found[0] for found in matched.values() if len(found) == 1]
    assert len(set(taken)) == len(taken)
