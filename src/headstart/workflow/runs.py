"""The run folder: what a fit leaves, each file written whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import __version__
from headstart.data.manifest import Manifest
from headstart.evaluate import class_table
from headstart.files import replacing, write_json, write_text
from headstart.workflow.fitting import Fitted

__all__ = ["evaluation_folder", "save_run", "write_predictions"]


def save_run(fitted: Fitted, folder: Path) -> Path:
    """Write all of a run but the report."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted.classifier.save(folder / "classifier")
    write_json(
        folder / "settings.json", {"headstart": __version__, "command": "fit", "settings": fitted.settings.values()}
    )
    write_text(folder / "history.jsonl", "".join(json.dumps(line) + "\n" for line in fitted.history))
    fitted.manifest.write(folder / "manifest.parquet")
    fitted.manifest.write_problems(folder / "problems.csv")
    part = fitted.manifest.usable.part(fitted.part)
    write_predictions(folder / "predictions.parquet", part, fitted.probabilities, fitted.classifier.classes)
    write_json(folder / "evaluation.json", fitted.evaluation)
    write_text(folder / "classes.csv", class_table(fitted.evaluation))
    return folder


def evaluation_folder(classifier: str, photos: str) -> Path:
    """Where an evaluation goes by itself: into the run, or for what is no run (a network by name) into ``runs/``."""
    place = Path(classifier)
    is_run = (place / "classifier").exists() or (place / "model.json").exists()
    return (place if is_run else Path("runs") / place.name) / "evaluations" / Path(photos).resolve().name


def write_predictions(
    path: Path, manifest: Manifest, probabilities: NDArray[np.float32], classes: Sequence[str]
) -> None:
    """Keep probabilities (N, C) beside what they are of; the class names are in the schema's metadata."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), len(classes))
    columns: dict[str, Any] = {name: manifest.table[name] for name in ("uri", "split", "label")}
    table = pa.table({**columns, "probabilities": values})
    table = table.replace_schema_metadata({"classes": json.dumps(list(classes), ensure_ascii=False)})
    with replacing(path) as beside:
        pq.write_table(table, beside)
