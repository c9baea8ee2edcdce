from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.sources.tables import read_labels
from headstart.errors import DataError


def _read(path: Path, data: str | bytes, **columns: str) -> tuple[list[str], list[str | None], list[str | None] | None]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    labels = read_labels(path, **columns)
    return labels.ids, labels.labels, labels.splits


def _refused(path: Path, data: str | bytes, **columns: str) -> str:
    with pytest.raises(DataError) as caught:
        _read(path, data, **columns)
    return str(caught.value)


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
    ],
)
def test_columns_are_detected_and_ids_stay_strings(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path / "t.csv", text) == (["007", "1e5"], ["pug", "beagle"], None)


def test_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        data = "id,label\nå,강아지\n".encode(encoding)
        assert _read(tmp_path / "t.csv", data) == (["å"], ["강아지"], None)
    assert _refused(tmp_path / "t.csv", "id,label\na,b\ncaf\xe9,x\n".encode("latin-1")) == (
        f"{tmp_path}/t.csv is not UTF-8: byte 0xe9 in line 3; save it as CSV UTF-8"
    )


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
    assert _read(tmp_path / "t.csv", text, label_column="id", id_column="label")[0] == ["x", "y"]


def test_columns_that_cannot_be_detected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert _refused(path, "key,a,b\n1,2,3\n") == (
        f"{path}: cannot tell which column has the ids of the images; "
        "columns: 'key', 'a', 'b'; name one with --id-column"
    )
    assert _refused(path, "id,a,b\n1,2,3\n") == (
        f"{path}: cannot tell which column has the labels; columns: 'id', 'a', 'b'; name one with --label-column"
    )
    many = ",".join(f"c{i}" for i in range(30))
    assert "'c18', 'c19' and 10 more; name one with --id-column" in _refused(path, f"{many}\n{many}\n")
    assert _refused(path, "id,label\n1,2\n", label_column="labl") == (
        f"{path} has no column 'labl' (--label-column); its columns are 'id', 'label'; did you mean 'label'?"
    )


def test_invalid_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert _refused(path, "") == f"{path} must begin with a line of unique column names, got ''"
    assert _refused(path, "id,id,label\n1,2,3\n") == (
        f"{path} must begin with a line of unique column names, got 'id,id,label'"
    )
    assert _refused(path, "id,label\n") == f"{path} has no rows below its header"
    assert _refused(path, "id,label\n1,a\n\n2\n") == f"{path}: line 4 has 1 cells, but the header has 2"
    assert _refused(path, "id,label\n1,a\n,b\n") == f"{path}: row 2 below the header has no value in the column 'id'"
    assert _refused(path, 'id,label\n1,"a\n') == f"{path} is not a valid CSV table: unexpected end of data"
    assert _refused(path, "id,label,split\n1,a,holdout\n") == (
        f"{path}: row 1 below the header has 'holdout' in the column 'split', "
        "which must be train, validation or test (or training, val, valid, testing)"
    )
    with pytest.raises(DataError) as missing:
        read_labels(tmp_path / "none.csv")
    assert str(missing.value) == f"{tmp_path}/none.csv: no such table of labels"
    with pytest.raises(DataError) as folder:
        read_labels(tmp_path)
    assert str(folder.value) == f"{tmp_path} cannot be read: Is a directory"


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = {"image": [{"bytes": b"\xff"}], "id": [7], "label": pa.array(["a"]).dictionary_encode(), "split": ["val"]}
    pq.write_table(pa.table(table), path)
    labels = read_labels(path)
    assert (labels.ids, labels.labels, labels.splits) == (["7"], ["a"], ["validation"])
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"t\.parquet is damaged, or not a Parquet file: "):
        read_labels(path)
