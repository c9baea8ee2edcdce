"""Parquet and Arrow files with images in a column: what is read from them, and that it is what the files are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.decode import inspect
from headstart.data.inspection import inspect_all
from headstart.data.sources import ImageReference, image_columns, source_of
from headstart.data.sources.read import read_images
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.description import DataDescription
from headstart.errors import AmbiguousFolders, DataError

_NAMES = ("cat", "dog")


def encoded(number: int) -> bytes:
    """A PNG file of noise."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (12, 14, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def hub_table(numbers: Sequence[int], *, labels: str = "label") -> pa.Table:
    """A table as Hugging Face's ``datasets`` writes it."""
    features = {"image": {"_type": "Image"}, labels: {"names": list(_NAMES), "_type": "ClassLabel"}}
    images = pa.array(
        [{"bytes": encoded(number), "path": f"{number}.png"} for number in numbers],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    table = pa.table({"image": images, labels: pa.array([number % 2 for number in numbers], pa.int64())})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def described(place: Path) -> DataDescription:
    description = read_images(place).description
    assert description is not None
    return description


def test_the_hubs_layout_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    pq.write_table(hub_table(range(10)), tmp_path / "a.parquet", row_group_size=4)
    manifest = inspect_all(read_images(tmp_path / "a.parquet"))
    assert manifest.uris[7] == f"parquet:{tmp_path}/a.parquet!7"
    assert manifest.labels == [_NAMES[number % 2] for number in range(10)]
    assert manifest.hashes == [inspect(encoded(number)).hash for number in range(10)]
    assert described(tmp_path / "a.parquet").lines()[1:] == [
        "  read as: images in the column 'image' of 1 Parquet file, label column 'label'",
        "  classes: 2: cat, dog",
    ]


def test_files_of_splits_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, start in (("train-00000-of-00002", 0), ("train-00001-of-00002", 4), ("test-00000-of-00001", 8)):
        pq.write_table(hub_table(range(start, start + 4)), tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("a data set")
    manifest = read_images(tmp_path)
    assert manifest.splits == ["test"] * 4 + ["train"] * 8
    assert described(tmp_path).lines()[2] == "  splits: train 8, test 4"


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_are_mapped(tmp_path: Path, stream: bool) -> None:
    table = hub_table(range(6))
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "data-00000-of-00001.arrow"
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    manifest = inspect_all(read_images(tmp_path))
    assert manifest.uris[5] == f"arrow:{path}!5"
    assert (manifest.labels, manifest.problems) == (["cat", "dog"] * 3, [None] * 6)
    assert manifest.hashes[5] == inspect(encoded(5)).hash


def test_a_column_of_bytes_and_one_of_labels_are_enough(tmp_path: Path) -> None:
    table = pa.table({"jpg": [encoded(n) for n in range(4)], "species": ["a", "b"] * 2, "set": ["train", "test"] * 2})
    pq.write_table(table, tmp_path / "a.parquet")
    manifest = read_images(tmp_path / "a.parquet")
    assert (manifest.labels, manifest.splits) == (["a", "b"] * 2, ["train", "test"] * 2)
    assert described(tmp_path / "a.parquet").columns == (("label", "species"), ("split", "set"))
    assert read_images(tmp_path / "a.parquet", labels=False).labels == [None] * 4


def test_rows_are_read_by_threads_and_processes_alike(tmp_path: Path) -> None:
    pq.write_table(hub_table(range(40)), tmp_path / "a.parquet", row_group_size=7)
    manifest = inspect_all(read_images(tmp_path / "a.parquet"), workers=2)
    assert manifest.problems == [None] * 40
    spec, options = InputSpec(height=8, width=8), {"batch_size": 16, "max_pixels": 1000, "workers": 2}
    threads, processes = (
        np.concatenate([each.images for each in read_views(manifest, range(40), spec, kind=kind, **options)])  # type: ignore[arg-type]
        for kind in ("threads", "processes")
    )
    assert np.array_equal(threads, processes)


def test_few_row_groups_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(hub_table(range(40)), tmp_path / "a.parquet", row_group_size=5)
    groups = image_columns._RowGroups()
    monkeypatch.setattr(image_columns, "_GROUPS", groups)
    monkeypatch.setattr(image_columns, "_KEPT", 2 * 5 * len(encoded(0)) + 1000)
    manifest = read_images(tmp_path / "a.parquet")
    assert [manifest.source(row).read() for row in range(40)] == [encoded(number) for number in range(40)]
    assert 1 <= len(groups._kept) <= 2


def test_two_columns_of_images_need_a_choice(tmp_path: Path) -> None:
    table = pa.table({"left": [encoded(1)] * 4, "right": [encoded(2)] * 4, "label": ["a", "b"] * 2})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'left' and 'right' have images: choose with --id-column"):
        read_images(tmp_path / "a.parquet")
    manifest = read_images(tmp_path / "a.parquet", id_column="right")
    assert manifest.uris[0] == f"parquet:{tmp_path}/a.parquet!0:right"
    assert manifest.source(0).read() == encoded(2)
    with pytest.raises(DataError, match=r"has no column 'middle' \(--id-column\); it has left, right, label"):
        read_images(tmp_path / "a.parquet", id_column="middle")


def test_two_columns_of_labels_need_a_choice(tmp_path: Path) -> None:
    table = hub_table(range(4))
    features = json.loads(table.schema.metadata[b"huggingface"])
    features["info"]["features"]["fine"] = {"_type": "ClassLabel", "names": ["x", "y"]}
    table = table.append_column("fine", pa.array([1, 1, 0, -1])).replace_schema_metadata(
        {"huggingface": json.dumps(features)}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'fine' and 'label' are labels: choose with --label-column"):
        read_images(tmp_path / "a.parquet")
    assert read_images(tmp_path / "a.parquet", label_column="fine").labels == ["y", "y", "x", None]


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    table = hub_table(range(4))
    wrong = table.set_column(1, table.schema.field("label"), pa.array([0, 1, 2, 1], pa.int64()))
    pq.write_table(wrong, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has the label 2, but 2 names of classes"):
        read_images(tmp_path / "a.parquet")


def test_a_row_without_bytes_is_a_problem_of_its_image(tmp_path: Path) -> None:
    cells = pa.array(
        [{"bytes": encoded(1)}, {"bytes": None}, None, {"bytes": b"GIF8"}], pa.struct({"bytes": pa.binary()})
    )
    pq.write_table(pa.table({"image": cells, "label": ["a", "b", "a", "b"]}), tmp_path / "a.parquet")
    first, *others, last = inspect_all(read_images(tmp_path / "a.parquet")).problems
    assert first is None
    assert others == ["no bytes of an image in its row"] * 2
    assert last is not None
    assert inspect(f"parquet:{tmp_path}/a.parquet!4").problem == "no such row"


def test_a_table_of_labels_in_parquet_is_still_one(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded(1))
    pq.write_table(pa.table({"file": ["1.png"], "label": ["cat"]}), tmp_path / "labels.parquet")
    for place in (tmp_path, tmp_path / "labels.parquet"):
        assert read_images(place).labels == ["cat"]
        assert described(place).source == "table"


def test_files_of_splits_beside_others_are_refused(tmp_path: Path) -> None:
    for name in ("train", "other"):
        pq.write_table(hub_table(range(2)), tmp_path / f"{name}.parquet")
    with pytest.raises(AmbiguousFolders, match=r"named like splits \(train\) next to others \(other\)"):
        read_images(tmp_path)


def test_the_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(hub_table(range(4)), path)
    uri = f"parquet:{path}!1"
    image = ImageReference(uri, source_of(uri))
    before = image.stamp()
    pq.write_table(hub_table(range(2, 6)), path)
    assert before is not None
    assert image.stamp() not in (None, before)
    assert image.read() == encoded(3)
    assert ImageReference(f"parquet:{path}!9", source_of(uri)).stamp() is None
