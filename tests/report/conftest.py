"""A real run folder, small: pictures on disk, probabilities of a made-up model."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data.manifest import Manifest
from headstart.evaluate import evaluate

HISTORY = [
    {"stage": "head", "epoch": 1, "loss": 0.9, "val_loss": 1.0, "accuracy": 0.7, "val_accuracy": 0.6, "l2": 1e-4},
    {"stage": "head", "epoch": 2, "loss": 0.5, "val_loss": 0.7, "accuracy": 0.9, "val_accuracy": 0.8, "l2": 1e-3}
    | {"chosen": True},
    {"stage": "tail", "epoch": 1, "loss": 0.4, "val_loss": 0.6, "accuracy": 0.9, "val_accuracy": 0.8, "chosen": True},
]


@pytest.fixture
def make_run(tmp_path):
    """A function that writes a run folder of so many images a class and returns its path."""

    def make(names, *, each=6, problems=(), seed=0, history=HISTORY, gone=(), skill=2.0):
        rng = np.random.default_rng(seed)
        photos, run = tmp_path / "photos", tmp_path / "run"
        photos.mkdir()
        run.mkdir()
        targets = np.repeat(np.arange(len(names)), each)
        uris = [str(photos / f"{number:03d}.jpg") for number in range(len(targets))]
        for number, uri in enumerate(uris):
            if number not in gone:
                Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(uri)
        logits = rng.normal(size=(len(targets), len(names)))
        logits[np.arange(len(targets)), targets] += skill
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = [names[target] for target in targets]

        bad = [str(photos / name) for name, _ in problems]
        reasons = [None] * len(uris) + [reason for _, reason in problems]
        manifest = Manifest.from_rows(uris + bad, labels=labels + [None] * len(bad))
        manifest.with_column("problem", reasons).write(run / "manifest.parquet")
        settings = {"headstart": "0.1.0", "command": "headstart fit photos", "settings": {"seed": 0, "l2": None}}
        (run / "settings.json").write_text(json.dumps(settings))
        (run / "evaluation.json").write_text(json.dumps(evaluate(targets, shares, names)))
        (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
        column = pa.FixedSizeListArray.from_arrays(pa.array(shares.astype(np.float32).ravel()), len(names))
        table = pa.table({"uri": uris, "split": ["validation"] * len(uris), "label": labels, "probabilities": column})
        kept = table.replace_schema_metadata({b"classes": json.dumps(names).encode()})
        pq.write_table(kept, run / "predictions.parquet")
        return run

    return make


@pytest.fixture
def change():
    """A function that changes values of a JSON file."""

    def change(path, **values):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change
