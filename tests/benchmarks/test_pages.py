"""The pages of the benchmarks match the results, and the tools that compare runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent.parent


def run_module(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_pages_match_the_results() -> None:
    checked = run_module("benchmarks.pages", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_main_page_is_short() -> None:
    assert len((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_every_benchmark_is_on_its_page() -> None:
    helpers = {"tails", "machine_limits", "gpu_images", "gpu_stress", "gpu_variants", "sampled"}
    for folder in ("speed", "accuracy", "scale"):
        page = (ROOT / "benchmarks" / folder / "README.md").read_text(encoding="utf-8")
        names = {path.stem for path in (ROOT / "benchmarks" / folder).glob("*.py")} - helpers
        assert [name for name in sorted(names) if f"[{name}]({name}.py)" not in page] == []


def write_run(folder: Path, evaluation: dict[str, Any], probabilities: list[list[float]], uris: list[str]) -> Path:
    folder.mkdir()
    metrics = ("top1", "balanced_accuracy", "log_loss", "brier", "ece")
    figures = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in metrics}
    (folder / "evaluation.json").write_text(json.dumps({**figures, **evaluation}))
    values = pa.array(probabilities, pa.list_(pa.float32(), 2))
    columns = {"uri": uris, "split": ["test"] * len(uris), "label": ["cat"] * len(uris), "probabilities": values}
    table = pa.table(columns).replace_schema_metadata({"classes": json.dumps(["cat", "dog"])})
    pq.write_table(table, folder / "predictions.parquet")
    return folder


def test_runs_of_both_layouts_are_compared_image_by_image(tmp_path: Path) -> None:
    """The order of the rows does not matter; a difference beyond the tolerance does."""
    first_layout = {"ladder": [{"rung": "head", "chosen": True}, {"rung": "last:1", "chosen": False}]}
    layout = {"trials": [{"name": "head", "chosen": True}, {"name": "last:1", "chosen": False}]}
    one = write_run(tmp_path / "one", first_layout, [[0.25, 0.75], [0.5, 0.5]], ["a.jpg", "b.jpg"])
    same = write_run(tmp_path / "same", layout, [[0.5, 0.5], [0.25, 0.75]], ["b.jpg", "a.jpg"])
    compared = run_module("benchmarks.accuracy.same_predictions", one, same)
    assert compared.returncode == 0, compared.stdout
    assert "chosen trial: head and head\n" in compared.stdout
    assert "largest probability difference: 0 " in compared.stdout

    other = {"trials": [{"name": "head", "chosen": False}, {"name": "last:1", "chosen": True}]}
    changed = write_run(tmp_path / "changed", other, [[0.5, 0.5], [0.125, 0.875]], ["b.jpg", "a.jpg"])
    compared = run_module("benchmarks.accuracy.same_predictions", one, changed)
    assert compared.returncode == 1
    assert "different: chosen trial: head and last:1\n" in compared.stdout
    assert "different: probabilities: differ by up to 0.125, for a.jpg and the class cat\n" in compared.stdout
