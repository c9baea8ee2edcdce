"""``saliency.parquet``: what is written is read, and what is not an image of a run is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headstart.artifacts.saliency_file import ExampleSaliency, read_saliency, write_saliency
from headstart.data.parquet import write_parquet
from headstart.errors import RunError

EXAMPLE = ExampleSaliency("/photos/개.jpg", "<dog>", "class activation map", "data:image/jpeg;base64,AAAA")


@pytest.mark.parametrize("examples", [(), (EXAMPLE,), (EXAMPLE, replace(EXAMPLE, label="cat"))])
def test_what_is_written_is_read(tmp_path: Path, examples: tuple[ExampleSaliency, ...]) -> None:
    write_saliency(tmp_path / "saliency.parquet", examples)
    assert read_saliency(tmp_path / "saliency.parquet") == examples


@pytest.mark.parametrize("image", ["https://example.org/a.jpg", "javascript:alert(1)", None])
def test_only_images_inside_the_file_are_shown(tmp_path: Path, image: str) -> None:
    path = tmp_path / "saliency.parquet"
    write_saliency(path, [EXAMPLE, replace(EXAMPLE, image=image)])
    with pytest.raises(RunError, match="damaged: row 1 must have four texts, the last one a JPEG as a data URI"):
        read_saliency(path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "saliency.parquet"
    write_parquet(path, pa.table({"uri": ["a"]}))
    with pytest.raises(RunError, match=r"saliency\.parquet: damaged: .*'label'"):
        read_saliency(path)
