from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.read import read_images
from headstart.data.sources.tables import Labels, read_columns, read_labels
from headstart.errors import DataError


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageLookup:
    """1.jpg to 6.jpg; to find a file its content does not matter."""
    root = tmp_path_factory.mktemp("images")
    for number in range(1, 7):
        (root / f"{number}.jpg").touch()
    return ImageLookup(root)


def _labels(path: Path, data: str | bytes, lookup: ImageLookup | None = None, **columns: str) -> Labels:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_labels(path, lookup=lookup, **columns)


def _read(path: Path, data: str | bytes, **columns: str) -> tuple[list[str], list[str | None], list[str | None] | None]:
    labels = _labels(path, data, **columns)
    return labels.ids, labels.labels, labels.splits


def _refused(path: Path, data: str | bytes, lookup: ImageLookup | None = None, **columns: str) -> str:
    with pytest.raises(DataError) as caught:
        _labels(path, data, lookup, **columns)
    return str(caught.value).replace(str(path), path.name)


def _parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "id,breed\n007,pug\n1e5,beagle\n",
        "\ufeffID , Breed\r\n007, pug\r\n\r\n1e5,beagle \r\n",
        "breed;id\npug;007\nbeagle;1e5\n",
        "id\tweird\n007\tpug\n1e5\tbeagle",
        "image_id|note|label\n007|x|pug\n1e5|y|beagle\n",
        "index,file_name,class_id,class_name\n0,007,4,pug\n1,1e5,2,beagle\n",
        '"id","label"\n"007","pug"\n"1e5","beagle"\n',
        "'id','label'\n'007','pug'\n'1e5','beagle'\n",
        'id, label\n007, "pug"\n1e5, "beagle"\n',
        "sep=;\nid;label\n007;pug\n1e5;beagle\n",
        '"sep=\t"\nid\tlabel\n007\tpug\n1e5\tbeagle\n',
        "# made by hand\nid,label\n007,pug\n1e5,beagle\n",
        "#id,label\n007,pug\n1e5,beagle\n",
        "\n\r\nid,label\n007,pug\n1e5,beagle\n",
        "id,label\r007,pug\r1e5,beagle\r",
        "id,label\t\n007,pug\n1e5,beagle\n",
        "id label\n007 pug\n1e5   beagle\n",
        ",id,label\n0,007,pug\n1,1e5,beagle\n",
        "id,label,,\n007,pug,,\n1e5,beagle,,,\n,,,\n",
        'id,label\n="007",pug\n="1e5",beagle\n',
    ],
)
def test_columns_are_detected_and_ids_stay_strings(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path / "t.csv", text) == (["007", "1e5"], ["pug", "beagle"], None)


def test_what_was_skipped_is_said(tmp_path: Path) -> None:
    text = "# made by hand\nsep=;\nid;label\n1;a\n2;b\n"
    assert _labels(tmp_path / "t.csv", text).notes == (
        "line 1 is skipped as a comment: '# made by hand'",
        "the first line, 'sep=;', states the separator",
    )
    guesses = _labels(tmp_path / "t.csv", "id label\n1 a\n2 b\n").guesses
    assert [*map(str, guesses)] == [
        "the columns are separated by spaces (guessed; saving the table with commas settles it)"
    ]


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
TOTALS = (
    "sum",
    "count",
    "total",
    "totals",
    "gesamt",
    "summe",
    "итого",
    "합계",
    "合計",
)  # a last row of that name is refused


@settings(max_examples=60, deadline=None)
@given(
    rows=st.dictionaries(
        CELLS.filter(lambda cell: cell.rstrip(":").casefold() not in TOTALS),
        st.sampled_from(["pug", "a, b", 'say "x"', "c;d\te", "강아지"]),
        min_size=2,
        max_size=6,
    ),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    before=st.sampled_from(["", "# a comment", "sep={}", "{end}{end}"]),
    quote_all=st.booleans(),
)
def test_every_dialect_is_read_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: dict[str, str],
    separator: str,
    end: str,
    encoding: str,
    before: str,
    quote_all: bool,
) -> None:
    def line(cells: Sequence[str]) -> str:
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
        plain = [
            text if quote_all or any(sign in cell for sign in f'"{separator}') or cell[0] == "#" else cell
            for cell, text in zip(cells, quoted, strict=True)
        ]
        return separator.join(plain) + end

    preamble = before.format(separator, end=end) + (end if before else "")
    text = preamble + line(["id", "breed"]) + "".join(map(line, rows.items()))
    path = tmp_path_factory.mktemp("dialect") / "t.csv"
    assert _read(path, text.encode(encoding))[:2] == ([*rows], [*rows.values()])


def test_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        data = "id,label\nå,강아지\n".encode(encoding)
        assert _read(tmp_path / "t.csv", data) == (["å"], ["강아지"], None)
    assert _refused(tmp_path / "t.csv", "id,label\na,b\ncaf\xe9,x\n".encode("cp1252")) == (
        "t.csv is not UTF-8: byte 0xe9 in line 3; save it as CSV UTF-8"
    )
    assert _refused(tmp_path / "t.csv", "id,label\na,b\n".encode("utf-16")[:-1]) == (
        "t.csv is damaged: it begins as UTF-16, but is not; save it as CSV UTF-8"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"PK\x03\x04" + bytes(99), "t.csv is an Excel workbook or another ZIP archive, not CSV"),
        (b"\x1f\x8b\x08" + bytes(99), "t.csv is a file compressed with gzip, not CSV"),
        ('{"file_name": "1.jpg", "label": "a"}\n{"file_name": "2.jpg"}\n', "t.csv is JSON, not CSV"),
        ('[\n{"file_name": "1.jpg"}\n]', "t.csv is JSON, not CSV"),
        ("<!DOCTYPE html><html>", "t.csv is HTML or XML, not CSV"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:12\n",
            "t.csv is a pointer of Git LFS instead of its file, which git lfs pull fetches, not CSV",
        ),
    ],
)
def test_other_files_named_csv_are_called_what_they_are(tmp_path: Path, data: str | bytes, text: str) -> None:
    assert _refused(tmp_path / "t.csv", data) == f"{text}: save it as CSV UTF-8, or as Parquet"


def test_nul_bytes(tmp_path: Path) -> None:
    assert _refused(tmp_path / "t.csv", "id,label\n1,a\n\0\0\0") == (
        "t.csv ends with 3 NUL bytes, so rows may be missing: copy or save it again"
    )
    assert _refused(tmp_path / "t.csv", "id,label\n1,a\n".encode("utf-16-le")) == (
        "t.csv: line 1 contains NUL bytes: the file is damaged, or UTF-16 without its mark; save it as CSV UTF-8"
    )


def test_a_table_without_a_header(tmp_path: Path, images: ImageLookup) -> None:
    for text in ("1.jpg,a\n2.jpg,b\n", "1,a\n2,b\n"):
        labels = _labels(tmp_path / "t.csv", text, images)
        assert (labels.ids[1], labels.labels) == (text.split("\n")[1].split(",")[0], ["a", "b"])
        assert f"the first line, {text[: text.index(chr(10))]!r}, is a row: the table has no line of column names" in {
            guess.what for guess in labels.guesses
        }
    assert (labels.id_column, labels.label_column) == ("column 1", "column 2")


def test_labels_may_be_missing_and_may_be_decomposed(tmp_path: Path) -> None:
    text = 'id,label\na,\nb,cafe\u0301\n"c, with\nnewline","a ""quoted"" label"\n'
    assert _read(tmp_path / "t.csv", text) == (
        ["a", "b", "c, with\nnewline"],
        [None, "caf\u00e9", 'a "quoted" label'],
        None,
    )


def test_columns_may_be_named(tmp_path: Path) -> None:
    text = "key,a,b,part\n1,x,y,val\n2,x,,\n"
    seen = _read(tmp_path / "t.csv", text, id_column="key", label_column="b", split_column="part")
    assert seen == (["1", "2"], ["y", None], ["validation", None])
    text = "id,label,subset\n1,x,Training\n2,y,test\n"
    assert _read(tmp_path / "t.csv", text) == (["1", "2"], ["x", "y"], ["train", "test"])
    assert _read(tmp_path / "t.csv", text, label_column="subset") == (["1", "2"], ["Training", "test"], None)
    assert _read(tmp_path / "t.csv", text, split_column="none") == (["1", "2"], ["x", "y"], None)
    assert _read(tmp_path / "t.csv", text, label_column="id", id_column="label")[0] == ["x", "y"]
    labels = _labels(tmp_path / "t.csv", text)
    assert (labels.id_column, labels.label_column, labels.split_column) == ("id", "label", "subset")
    assert labels.guesses == ()


def test_columns_that_cannot_be_detected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert _refused(path, "key,a,b\n1,2,3\n") == (
        "t.csv: cannot tell which column has the ids of the images; columns: 'key', 'a', 'b'; name one with --id-column"
    )
    assert _refused(path, "id,a,b\n1,2,3\n") == (
        "t.csv: cannot tell which column has the labels; columns: 'id', 'a', 'b'; name one with --label-column"
    )
    for value in ("author {}", "{}.5"):
        rows = "\n".join(f"{number},{value.format(number)}" for number in range(10))
        assert "cannot tell which column has the labels; columns: 'name', 'x'" in _refused(path, f"name,x\n{rows}\n")
    many = ",".join(f"c{i}" for i in range(30))
    assert "'c18', 'c19' and 10 more; name one with --id-column" in _refused(path, f"{many}\n{many}\n")
    assert _refused(path, "id,label\n1,2\n", label_column="labl") == (
        "t.csv has no column 'labl' (--label-column); its columns are 'id', 'label'; did you mean 'label'?"
    )


def test_two_columns_that_may_be_the_labels_are_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path / "t.csv", "id,category,breed\n1,animal,pug\n2,animal,corgi\n") == (
        "t.csv: the labels may be in the column 'category' or 'breed' ('category' has 'animal'; "
        "'breed' has 'pug', 'corgi'): choose with --label-column"
    )


@pytest.mark.parametrize("header", ["label,label_name", "target,class_name", "class_id,species"])
def test_names_are_taken_from_a_pair_of_numbers_and_names(tmp_path: Path, header: str) -> None:
    labels = _labels(tmp_path / "t.csv", f"id,{header}\n1,0,cat\n2,1,dog\n3,0,cat\n")
    number, name = header.split(",")
    assert (labels.labels, labels.label_column) == (["cat", "dog", "cat"], name)
    assert [*map(str, labels.guesses)] == [
        f"the labels are in the column {name!r}, to which {number!r} corresponds one to one "
        "(guessed; --label-column NAME settles it)"
    ]


def test_the_column_that_names_images_has_the_ids(tmp_path: Path, images: ImageLookup) -> None:
    path = tmp_path / "t.csv"
    for text in ("id,image,class\n50,1.jpg,a\n60,2.jpg,b\n", "사진,image,class\n50,1.jpg,a\n60,2.jpg,b\n"):
        assert _labels(path, text, images).ids == ["1.jpg", "2.jpg"]
    text = "id,photo,class\n1,3.jpg,a\n20,4.jpg,b\n30,5.jpg,a\n"  # one of the ids is a file by chance
    assert _labels(path, text, images).ids == ["3.jpg", "4.jpg", "5.jpg"]
    assert _labels(path, "id,photo,class\n70,x.jpg,a\n80,y.jpg,b\n", images).ids == ["70", "80"]
    assert _labels(path, "Image,Id\n1.jpg,w_1\n2.jpg,w_2\n", images).labels == ["w_1", "w_2"]
    assert _labels(path, "id,image,class\n1,1.jpg,a\n2,2.jpg,b\n", images).labels == ["a", "b"]
    assert _refused(path, "id,image,class\n5,1.jpg,a\n6,2.jpg,b\n", images) == (
        "t.csv: the ids of the images may be in the columns 'image' and 'id', whose values name different images: "
        "choose with --id-column"
    )


@pytest.mark.parametrize("header", ["photo_no,diagnosis,remark", "번호,진단,비고", "nr,sorte,notiz"])
def test_columns_of_other_names_are_found_by_their_values(tmp_path: Path, images: ImageLookup, header: str) -> None:
    labels = _labels(tmp_path / "t.csv", f"{header}\n1,a,\n2,b,\n3,a,\n", images)
    photo, label, _ = header.split(",")
    assert (labels.ids, labels.labels) == (["1", "2", "3"], ["a", "b", "a"])
    assert [*map(str, labels.guesses)] == [
        f"the ids of the images are in the column {photo!r}, whose values are names of images "
        "(guessed; --id-column NAME settles it)",
        f"the labels are in the column {label!r} (guessed; --label-column NAME settles it)",
    ]
    assert "cannot tell which column has the labels" in _refused(
        tmp_path / "t.csv", f"{header}\n1,a,x\n2,b,x\n3,a,y\n", images
    )


def test_invalid_tables(tmp_path: Path, images: ImageLookup) -> None:
    path = tmp_path / "t.csv"
    assert _refused(path, "") == "t.csv must begin with a line of unique column names, got ''"
    assert _refused(path, "id,id,label\n1,2,3\n") == (
        "t.csv must begin with a line of unique column names, got 'id,id,label'"
    )
    assert _refused(path, "id,label\n") == "t.csv has no rows below its header"
    assert _refused(path, "id,label\n1,a\n\n2\n") == "t.csv: line 4 has 1 cells, but the header has 2"
    assert _refused(path, "# x\nid,label\n1,a, see note\n") == (
        "t.csv: line 3 has 3 cells, but the header has 2; put a cell that contains ',' in double quotes"
    )
    assert _refused(path, "id,label\n1,a\n,b\n") == "t.csv: row 2 below the header has no value in the column 'id'"
    assert _refused(path, 'id,label\n1,"a\n') == "t.csv is not a valid CSV table: unexpected end of data"
    assert _refused(path, 'id,label\n1,"a\n2,b\n3,c"\n') == (
        "t.csv: row 1 below the header has a line break in its label, 'a\\n2,b\\n3,c': "
        "close the double quote that is open there, or write the label in one line"
    )
    assert _refused(path, "id,label\n1,a\n2,b\nTotal,2\n", images) == (
        "t.csv: the last row, row 3 below the header, has the id 'Total': remove the row if it is a total, or write "
        "the name of the image with its extension"
    )
    assert _refused(path, "image,label\nftp://example.org/1.jpg,a\n", images) == (
        "t.csv: row 1 below the header has the address 'ftp://example.org/1.jpg' in the column 'image', but no "
        "image source reads it: download them, and write the names of the files into the table"
    )
    with pytest.raises(DataError) as missing:
        read_labels(tmp_path / "none.csv")
    assert str(missing.value) == f"{tmp_path}/none.csv: no such table of labels"
    with pytest.raises(DataError) as folder:
        read_labels(tmp_path)
    assert str(folder.value) == f"{tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("header", "cells", "splits"),
    [
        ("split", ("TRAIN", "test", ""), ["train", "test", None]),
        ("Usage", ("Training", "PublicTest", "PrivateTest"), ["train", "test", "test"]),
        ("is_train", ("1", "0", "1"), ["train", "test", "train"]),
        ("is_train", ("True", "False", ""), ["train", "test", None]),
        ("is_valid", ("False", "True", "False"), ["train", "validation", "train"]),
        ("구분", ("train", "test", "train"), ["train", "test", "train"]),
        ("vehicle", ("train", "bus", "train"), None),
        ("set", ("A", "B", "A"), None),
        ("fold", ("0", "1", "2"), None),
    ],
)
def test_columns_of_splits(tmp_path: Path, header: str, cells: tuple[str, ...], splits: list[str] | None) -> None:
    rows = "\n".join(f"{number},{label},{cell}" for number, label, cell in zip("123", "aba", cells, strict=True))
    labels = _labels(tmp_path / "t.csv", f"id,label,{header}\n{rows}\n")
    assert (labels.labels, labels.splits) == (["a", "b", "a"], splits)
    assert labels.split_column == (header if splits else None)
    assert bool(labels.guesses) == (header in ("Usage", "is_train", "is_valid", "구분"))
    assert labels.notes == (("the column 'fold' is not used",) if header == "fold" else ())


def test_splits_that_are_not_clear_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert _refused(path, "id,label,split\n1,a,0\n2,b,1\n") == (
        "t.csv: the column 'split' has numbers (0, 1), which may be folds of a cross-validation or codes of splits: "
        "write train, validation or test into it, or leave it aside with --split-column none"
    )
    for column in ("split", "usage"):
        assert _refused(path, f"id,label,{column}\n1,a,train\n2,b,holdout\n") == (
            f"t.csv: row 2 below the header has 'holdout' in the column {column!r}, which must be train, validation or "
            "test (or training, val, valid, testing); --split-column none leaves the column aside"
        )
        assert _read(path, f"id,label,{column}\n1,a,train\n2,b,holdout\n", split_column="none")[2] is None
    labels = _labels(path, "id,label,is_train\n1,a,1\n2,b,0\n")
    assert [*map(str, labels.guesses)] == [
        "the column 'is_train' has the splits: '1' is train, '0' is test "
        "(guessed; --split-column NAME, or --split-column none, settles it)"
    ]


def test_one_column_per_class(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    labels = _labels(path, "image_id,healthy,rust,scab\na,0,1,0\nb,1.0,0.0,0.0\nc,,,\n")
    assert (labels.labels, labels.label_column) == (["rust", "healthy", None], "healthy, rust, scab")
    assert [*map(str, labels.guesses)] == [
        "the columns 'healthy', 'rust', 'scab' are the classes, with 1 for the class of an image "
        "(guessed; --label-column NAME settles it)"
    ]
    for row, found in (("b,1,0,1", "several of them: 'healthy', 'scab'"), ("b,0,0,0", "none of them")):
        assert _refused(path, f"image_id,healthy,rust,scab\na,0,1,0\n{row}\n") == (
            f"t.csv: the columns 'healthy', 'rust', 'scab' have 0 and 1, but row 2 below the header has 1 in {found}; "
            "headstart supports one label per image: name a column with the main label (--label-column), or fit once "
            "per label with a column that says whether an image has it"
        )
    assert _read(path, "id,is_cat\n1,0\n2,1\n3,0\n")[1] == ["0", "1", "0"]
    assert _read(path, "id,label,x,y\n1,a,0,1\n2,b,0,1\n")[1] == ["a", "b"]


def test_labels_of_several_words_or_several_labels(tmp_path: Path) -> None:
    text = "image_name,tags\n1,haze primary\n2,clear primary water\n3,primary clear water\n4,haze primary\n"
    assert _refused(tmp_path / "t.csv", text) == (
        "t.csv: the column 'tags' has several labels in one cell, separated by spaces, for example "
        "'clear primary water', 'haze primary', 'primary clear water'; headstart supports one label per image: name a "
        "column with the main label (--label-column), or fit once per label with a column that says whether an image "
        "has it; if these are names of classes, write them with _ between the words"
    )
    assert _refused(tmp_path / "t.csv", "id,label\n1,\"['a', 'b']\"\n2,['a']\n").startswith(
        "t.csv: the column 'label' has lists, for example \"['a', 'b']\"; headstart supports one label per image: "
    )
    path = _parquet(tmp_path / "t.parquet", id=["1", "2"], label=[["a", "b"], ["c"]])
    with pytest.raises(DataError, match="the column 'label' has lists of several values, but headstart supports one"):
        read_labels(path)
    assert read_labels(_parquet(path, id=["1", "2"], label=[["a"], []])).labels == ["a", None]


def test_spellings_of_one_class_are_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path / "t.csv", "id,label\n1,Cat\n2,cat\n3,dog\n") == (
        "t.csv: in the column 'label', class names differ only in case, spaces, underscores or Unicode form: 'Cat' "
        "and 'cat'; if that is one class, write it in one way; if these are different classes, rename them"
    )
    assert "'True' and 'true'" in _refused(tmp_path / "t.csv", "id,label\n1,True\n2,true\n")
    labels = _labels(tmp_path / "t.csv", "id,label\n1,a\u00a0b\n2,a b\n3,\u200ba b\u00a0\n4,c\n5,\u200b\n")
    assert labels.labels == ["a b", "a b", "a b", "c", None]
    assert labels.notes == (
        "3 labels in 'label' are read without the no-break spaces and zero-width characters in them",
    )


def test_words_for_a_missing_value(tmp_path: Path) -> None:
    assert _refused(tmp_path / "t.csv", "id,label\n1,NA\n2,a\n3,NA\n4,b\n") == (
        "t.csv: the column 'label' has 'NA' in 2 rows, which may be a class or a missing label: leave the cells of "
        "images without a label empty, or give the class another name"
    )
    labels = _labels(tmp_path / "t.csv", "id,label\n1,nan\n2,None\n3,null\n")
    assert labels.labels == ["nan", "None", "null"]
    assert [guess.what for guess in labels.guesses] == [
        "the words 'None', 'nan', 'null' in the column 'label' are names of classes"
    ]
    assert _read(tmp_path / "t.csv", "id,label\n1,none\n2,scratch\n")[1] == ["none", "scratch"]


def test_numbers_as_labels(tmp_path: Path) -> None:
    for cells in (["0", "1", "2"], ["0.0", "1.0", "2.0"], ["0.0", "1", "2."]):
        text = "id,label\n" + "".join(f"{number},{cell}\n" for number, cell in enumerate(cells))
        assert _read(tmp_path / "t.csv", text)[1] == ["0", "1", "2"]
    assert _read(tmp_path / "t.csv", "id,label\n1,1.0\n2,1.1\n")[1] == ["1.0", "1.1"]
    path = tmp_path / "t.parquet"
    for label, expected in (
        ([0.0, float("nan"), None], ["0", None, None]),
        ([0.5, float("nan"), 1.0], ["0.5", None, "1"]),
        ([True, False, None], ["true", "false", None]),
        ([7, 8, None], ["7", "8", None]),
        (pa.array([7, 8, 7]).dictionary_encode(), ["7", "8", "7"]),
        ([b"a", b"b", None], ["a", "b", None]),
    ):
        labels = read_labels(_parquet(path, id=[1.0, 2.0, 3.0], label=label))
        assert (labels.ids, labels.labels) == (["1", "2", "3"], expected)


@settings(max_examples=100, deadline=None)
@given(
    text=st.sampled_from(["id,label\n1,a\n2,b\n3,é\n", "sep=;\nid;label;split\n1;a;train\n", "x,a,b\n1,0,1\n2,1,0\n"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
    changes=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(b",;\t|\n\r\"' #=.019aN\x00\xff\xc3")), max_size=4),
)
def test_a_damaged_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    images: ImageLookup,
    text: str,
    encoding: str,
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(text.encode(encoding))
    for place, byte in changes:
        data[place % len(data) : place % len(data) + 1] = bytes([byte, byte])
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        labels = read_labels(path, lookup=images)
        assert len(labels.ids) == len(labels.labels) == len(images.match_all(labels.ids).files)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = {"image": [{"bytes": b"\xff"}], "id": [7], "label": pa.array(["a"]).dictionary_encode(), "split": ["val"]}
    labels = read_labels(_parquet(path, **table))
    assert (labels.ids, labels.labels, labels.splits) == (["7"], ["a"], ["validation"])
    with pytest.raises(DataError, match=r"columns: 'label'; not text: 'image' \(struct<bytes: binary>\); name one"):
        read_labels(_parquet(path, image=table["image"], label=["a"]))
    taken = pa.array([1, 2], pa.timestamp("ns"))  # as pandas stores times
    labels = read_labels(_parquet(path, id=["1", "2"], label=["a", "b"], taken=taken))
    assert (labels.ids, labels.labels) == (["1", "2"], ["a", "b"])
    latin = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    with pytest.raises(DataError, match=r"columns: 'id'; not text: 'label' \(string\)"):
        read_labels(_parquet(path, id=["1"], label=latin))
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"t\.parquet is damaged, or not a Parquet file: "):
        read_labels(path)
    path.write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(DataError, match=r"t\.parquet is an Excel workbook or another ZIP archive, not a Parquet file"):
        read_labels(path)


def test_a_damaged_parquet_file_is_read_or_refused(tmp_path: Path) -> None:
    ids = [f"{number}" for number in range(30)]
    table = {"id": ids, "label": ["나비", "dog", None] * 10, "number": [1.0, 2.0, None] * 10, "many": [["a"], []] * 15}
    path, rng, refused = _parquet(tmp_path / "t.parquet", **table), np.random.default_rng(0), 0
    data = path.read_bytes()
    for number in range(500):
        changed = bytearray(data)
        for position in rng.integers(0, 8 * len(data), 1 + number % 3).tolist():
            changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            read_labels(path)
        except DataError:
            refused += 1
    assert refused > 60


def test_json_lines_are_a_table(photo: Callable[..., Path], tmp_path: Path) -> None:
    """The layout of Hugging Face's imagefolder: metadata.jsonl in the folder of each split."""
    for split in ("train", "test"):
        for number in range(2):
            photo(f"{split}/{number}.jpg", number)
        rows = [{"file_name": f"{n}.jpg", "label": f"c{n}", "boxes": [[1, 2]], "weight": 1.0} for n in range(2)]
        text = "\n".join(json.dumps(row) for row in rows)
        (tmp_path / split / "metadata.jsonl").write_text(f"{text}\n\n")
    manifest = read_images(tmp_path)
    assert (manifest.labels, manifest.splits) == (["c0", "c1"] * 2, ["test"] * 2 + ["train"] * 2)
    assert read_columns(tmp_path / "train" / "metadata.jsonl")["weight"] == ["1", "1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [('{"a": 1}\n{"a": ', "line 2 is not JSON"), ('["a"]', "line 1 must be an object with a value per column")],
)
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "labels.jsonl").write_text(text)
    with pytest.raises(DataError, match=problem):
        read_columns(tmp_path / "labels.jsonl")


def test_rows_that_repeat_take_little_memory(tmp_path: Path) -> None:
    rows = 50_000
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f"images/a/{row % 100}.jpg,class {row % 7}\n" for row in range(rows)))
    tracemalloc.start()
    found = read_labels(table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.ids) == rows
    assert peak < 200 * rows  # bytes, of which the text takes 60; with a list per row it was three times as much
