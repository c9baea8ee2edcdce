"""Run folders: written and read back, and the error messages about damaged ones."""

import json
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

import headstart
from headstart.artifacts.run_folder import read_predictions, read_run, run_info, write_predictions
from headstart.data.manifest import Manifest
from headstart.errors import RunError

REMEDY = "Run `headstart evaluate` or `headstart fit` again to write it anew."
JSON_FILES = ["settings.json", "evaluation.json"]
FILES = [*JSON_FILES, "manifest.parquet", "predictions.parquet"]


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


def test_probabilities_are_stored_unchanged(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 5).astype(np.float32)
    images = Manifest.from_rows([f"/photos/{number}.jpg" for number in range(5)], labels=["é", "b", "c", "c", "b"])
    write_predictions(tmp_path / "a=1" / "predictions.parquet", images, probabilities, ["b", "c", "é"])
    found = read_predictions(tmp_path / "a=1" / "predictions.parquet")
    assert found.uris == tuple(images.uris)
    assert found.targets.tolist() == [2, 0, 1, 1, 0]
    assert found.classes == ("b", "c", "é")
    assert (found.probabilities == probabilities).all()


def test_the_history_may_be_missing_or_empty(make_run):
    folder = make_run(["cat", "dog"])
    (folder / "history.jsonl").write_bytes(b"")
    assert read_run(folder).history == ()
    (folder / "history.jsonl").unlink()
    assert read_run(folder).history == ()


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
        ({"summary": []}, "summary: Input should be a dictionary or an instance of Summary."),
        ({"top1": {"value": 1}}, "top1.low: Field required."),
        ({"ece": 0.5}, "ece: Input should be a dictionary or an instance of Interval."),
        ({"reliability": [{"low": 0}]}, "reliability.0.high: Field required."),
        ({"calibration": {"temperature": 1}}, "calibration.cross_fitted: Field required."),
        (
            {"calibration": {"temperature": 1, "cross_fitted": True, "images": 1, "before": {}, "after": SCORES}},
            "calibration.before.log_loss: Field required.",
        ),
        ({"trials": {}}, "trials: Input should be a valid tuple."),
        ({"trials": [{"name": "head"}]}, "trials.0.accuracy: Field required."),
        ({"seeds": [1]}, "seeds: Input should be a dictionary or an instance of SeedSpread."),
        ({"confusion_matrix": [[1]]}, "per_class and confusion_matrix must have 2 rows, one per class."),
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
    assert str(refusal.value) == f"{path}: damaged: settings: Input should be a valid dictionary. {REMEDY}"


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
    table = pq.ParquetFile(folder / "predictions.parquet").read()
    pq.write_table(table.slice(0, 5), folder / "predictions.parquet")
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
    pq.write_table(pq.ParquetFile(path).read().drop_columns([column]), path)
    with pytest.raises(RunError) as refusal:
        read_predictions(path)
    assert str(refusal.value).startswith(f"{path}: damaged: ")
    assert column in str(refusal.value)


def test_predictions_without_a_known_label_are_left_out(make_run):
    path = make_run(["cat", "dog"]) / "predictions.parquet"
    table = pq.ParquetFile(path).read()
    rows = table.to_pylist()
    extra = table.from_pylist([*rows, {**rows[0], "label": None}, {**rows[0], "label": "owl"}], schema=table.schema)
    pq.write_table(extra, path)
    assert len(read_predictions(path).uris) == 12
    assert np.isfinite(read_predictions(path).probabilities).all()
