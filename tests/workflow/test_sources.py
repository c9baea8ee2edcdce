"""A fit has the same metrics wherever the same images lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.workflow.fit import FitResult

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]


@pytest.fixture
def places(photos: Photos, tmp_path: Path) -> dict[str, Path]:
    """The same images in a folder, a tar file and Parquet files."""
    folder = tmp_path / "photos"
    for split, seed in (("train", 0), ("val", 1)):
        photos(f"photos/{split}", seed=seed, red=8, green=8, blue=8)
        files = sorted((folder / split).rglob("*.png"))
        (tmp_path / "parquet").mkdir(exist_ok=True)
        table = pa.table(
            {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
        )
        pq.write_table(table, tmp_path / "parquet" / f"{split}-00000-of-00001.parquet", row_group_size=5)
    shards = Path(shutil.make_archive(str(tmp_path / "photos"), "tar", folder))
    return {"folder": folder, "parquet": tmp_path / "parquet", "tar": shards}


def test_a_fit_is_the_same_from_a_folder_a_tar_file_and_parquet(
    places: dict[str, Path], fitted: Fit, told: Any, tmp_path: Path
) -> None:
    found = {
        name: fitted(place, told(), train="head", cache_dir=str(tmp_path / f"store-{name}")).evaluation
        for name, place in places.items()
    }
    for name, evaluation in found.items():
        for figure in ("split", "top1", "log_loss", "ece"):
            assert getattr(evaluation, figure) == getattr(found["folder"], figure), (name, figure)
