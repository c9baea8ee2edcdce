"""Run folders: written and read back, and the error messages about damaged ones."""

import json
import os
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

import headstart
from headstart.artifacts.run_folder import read_predictions, read_run, run_info, write_predictions
from headstart.data.manifest import Manifest
from headstart.data.parquet import read_parquet, write_parquet
from headstart.errors import RunError
from headstart.evaluate.schema import read_evaluation, read_run_info, write_evaluation, write_run_info

REMEDY = "Run `headstart evaluate` or `headstart fit` again to write it anew."
JSON_FILES = ["settings.json", "evaluation.json"]
FILES = [*JSON_FILES, "manifest.parquet", "predictions.parquet", "saliency.parquet"]


def test_a_run_round_trips(make_run, made_run):
    folder = make_run(["cat", "dog", "owl"], problems=[("broken.jpg", "empty file")])
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, "history.jsonl", "problems.csv", "classes.csv"]
    )
    run = read_run(folder)
    assert run.name == "run"
    assert run.info.settings == {"seed": 0, "l2": None}
    assert run.info.arguments == ("headstart", "fit", "photos", "--model", "a model")
    assert (run.info.seeds, run.info.seconds) == ((0,), 12.25)
    assert run.history == made_run.HISTORY
    assert len(run.manifest) == 19
    assert run.predictions.classes == run.evaluation.classes == ("cat", "dog", "owl")
    assert run.predictions.probabilities.shape == (18, 3)
    accuracy = (run.predictions.predicted == run.predictions.targets).mean()
    assert accuracy == pytest.approx(run.evaluation.top1.value)
    assert (folder / "problems.csv").read_text().split() == ["path,reason", f"{run.manifest.uris[18]},empty", "file"]
    assert (folder / "classes.csv").read_text().startswith("class,images,correct,recall,")


def test_run_info_states_time_and_versions():
    info = run_info("evaluate", {"seed": 1})
    assert info.command == "evaluate"
    assert info.headstart == headstart.__version__
    assert info.versions["numpy"] == np.__version__
    assert {"python", "torch", "timm"} <= info.versions.keys()
    age = datetime.now().astimezone() - datetime.fromisoformat(info.created)
    assert 0 <= age.total_seconds() < 60


def test_paths_that_are_not_utf8_are_escaped(tmp_path):
    path = os.fsdecode(b"caf\xe9")
    write_run_info(tmp_path / "settings.json", run_info("fit", {"cache_dir": path, "seed": 0}, arguments=["fit", path]))
    info = read_run_info(tmp_path / "settings.json")
    assert (info.arguments, info.settings) == (("fit", r"caf\udce9"), {"cache_dir": r"caf\udce9", "seed": 0})


def test_probabilities_are_stored_unchanged(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 5).astype(np.float32)
    images = Manifest.from_rows([f"/photos/{number}.jpg" for number in range(5)], labels=["é", "b", "c", "c", "b"])
    write_predictions(tmp_path / "a=1" / "predictions.parquet", images, probabilities, ["b", "c", "é"])
    found = read_predictions(tmp_path / "a=1" / "predictions.parquet")
    assert found.uris == tuple(images.uris)
    assert found.targets.tolist() == [2, 0, 1, 1, 0]
    assert found.classes == ("b", "c", "é")
    assert (found.probabilities == probabilities).all()


def test_the_history_may_be_empty_but_not_lost(make_run):
    assert read_run(make_run(["cat", "dog"], history=())).history == ()


def test_a_lost_history_is_named(make_run):
    folder = make_run(["cat", "dog"])
    (folder / "history.jsonl").write_bytes(b"")
    with pytest.raises(RunError, match=r"history\.jsonl: was changed after the settings.json beside it was written"):
        read_run(folder)
    (folder / "history.jsonl").unlink()
    with pytest.raises(RunError, match=r"history\.jsonl: missing"):
        read_run(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError) as refusal:
        read_run(tmp_path / "nowhere")
    expected = f"{tmp_path / 'nowhere'}: no such run folder. Pass the folder that `headstart fit` wrote."
    assert str(refusal.value) == expected


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(make_run, name):
    folder = make_run(["cat", "dog"])
    (folder / name).unlink()
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value) == f"{folder / name}: missing. {REMEDY}"


@pytest.mark.parametrize("name", [*FILES, "history.jsonl"])
@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"[1, 2", b"[]"])
def test_a_damaged_file_is_named(make_run, name, damage):
    folder = make_run(["cat", "dog"])
    (folder / name).write_bytes(damage)
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value).startswith(str(folder / name))


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_is_named(make_run, name):
    folder = make_run(["cat", "dog"])
    (folder / name).write_bytes(b"")
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value).startswith(str(folder / name))


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(make_run, name):
    folder = make_run(["cat", "dog"])
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value).startswith(str(folder / name))


def test_a_damaged_line_of_the_history_is_named(make_run):
    folder = make_run(["cat", "dog"])
    first = (folder / "history.jsonl").read_text().splitlines()[0]
    (folder / "history.jsonl").write_text(f'{first}\n\n{{"stage": "finetune", "ep')
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value).startswith(f"{folder / 'history.jsonl'}, line 3: damaged, not JSON: ")
    (folder / "history.jsonl").write_text(first.replace('"head"', '"tail"', 1))
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    expected = f"{folder / 'history.jsonl'}, line 1: damaged: stage: Input should be 'head' or 'finetune'. {REMEDY}"
    assert str(refusal.value) == expected


SCORES = {"log_loss": {"value": 1, "low": 0, "high": 2}, "ece": {"value": 1, "low": 0, "high": 2}}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"split": 3}, "split: Input should be a valid string."),
        ({"summary": []}, "summary: Input should be an object."),
        ({"top1": {"value": 1}}, "top1.low: Field required."),
        ({"ece": 0.5}, "ece: Input should be an object."),
        ({"reliability": [{"low": 0}]}, "reliability.0.high: Field required."),
        ({"calibration": {"temperature": 1}}, "calibration.cross_fitted: Field required."),
        (
            {"calibration": {"temperature": 1, "cross_fitted": True, "images": 1, "before": {}, "after": SCORES}},
            "calibration.before.log_loss: Field required.",
        ),
        ({"trials": {}}, "trials: Input should be a valid array."),
        ({"trials": [{"name": "head"}]}, "trials.0.accuracy: Field required."),
        ({"seeds": [1]}, "seeds: Input should be an object."),
        (
            {"confusion_matrix": [[1]]},
            "confusion_matrix: does not match checksums.confusion_matrix, so the document was changed after it was "
            "written.",
        ),
    ],
)
def test_a_wrong_field_of_the_evaluation_is_named(make_run, values, text):
    folder = make_run(["cat", "dog"])
    path = folder / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value) == f"{path}: damaged: {text} {REMEDY}"


def test_a_wrong_field_of_the_settings_is_named(make_run):
    folder = make_run(["cat", "dog"])
    path = folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": []}))
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value) == f"{path}: damaged: settings: Input should be an object. {REMEDY}"


def test_an_evaluation_with_too_few_rows_is_refused(make_run):
    path = make_run(["cat", "dog"]) / "evaluation.json"
    write_evaluation(path, replace(read_evaluation(path), confusion_matrix=((1,),)))
    with pytest.raises(RunError) as refusal:
        read_run(path.parent)
    text = "per_class and confusion_matrix must have 2 rows, one per class."
    assert str(refusal.value) == f"{path}: damaged: {text} {REMEDY}"


@pytest.mark.parametrize("name", JSON_FILES)
def test_another_format_version_is_refused(make_run, name):
    folder = make_run(["cat", "dog"])
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    expected = f"{path}: format 99, but this version of headstart reads format 1. {REMEDY}"
    assert str(refusal.value) == expected


def test_files_of_different_evaluations_are_refused(make_run):
    folder = make_run(["cat", "dog"])
    table = read_parquet(folder / "predictions.parquet")
    write_parquet(folder / "predictions.parquet", table.slice(0, 5))
    with pytest.raises(RunError) as refusal:
        read_run(folder)
    assert str(refusal.value) == (
        f"{folder / 'predictions.parquet'}: has 5 labeled images of 2 classes, but evaluation.json has 12 images of "
        f"2 classes: they are not from the same evaluation. {REMEDY}"
    )


def test_predictions_without_class_names_are_refused(make_run):
    path = make_run(["cat", "dog"]) / "predictions.parquet"
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata({}), path)
    with pytest.raises(RunError) as refusal:
        read_predictions(path)
    assert str(refusal.value).startswith(f"{path}: damaged: ")


def test_predictions_with_too_few_columns_are_refused(make_run):
    path = make_run(["cat", "dog"]) / "predictions.parquet"
    names = {b"classes": json.dumps(["cat", "dog", "owl"]).encode()}
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(names), path)
    with pytest.raises(RunError) as refusal:
        read_predictions(path)
    assert str(refusal.value) == f"{path}: damaged: 3 classes, but probabilities of shape (12, 2). {REMEDY}"


@pytest.mark.parametrize("column", ["uri", "label", "probabilities"])
def test_a_missing_column_of_the_predictions_is_named(make_run, column):
    path = make_run(["cat", "dog"]) / "predictions.parquet"
    write_parquet(path, read_parquet(path).drop_columns([column]))
    with pytest.raises(RunError) as refusal:
        read_predictions(path)
    assert str(refusal.value).startswith(f"{path}: damaged: ")
    assert column in str(refusal.value)


def test_predictions_without_a_known_label_are_left_out(make_run):
    path = make_run(["cat", "dog"]) / "predictions.parquet"
    table = read_parquet(path)
    rows = table.to_pylist()
    extra = table.from_pylist([*rows, {**rows[0], "label": None}, {**rows[0], "label": "owl"}], schema=table.schema)
    write_parquet(path, extra)
    assert len(read_predictions(path).uris) == 12
    assert np.isfinite(read_predictions(path).probabilities).all()
