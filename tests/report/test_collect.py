"""What is read from a run folder, and what is said of one that is damaged."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart.errors import RunError
from headstart.report import collect

AGAIN = "Run `headstart evaluate` on it again to write it anew."


def test_everything_is_there(make_run):
    run = make_run(["cat", "dog", "owl"], problems=[("broken.jpg", "empty file")])
    data = collect(run)
    assert data.name == "run"
    assert data.settings["versions"] == {}
    assert data.settings["settings"] == {"seed": 0, "l2": None}
    assert [line["stage"] for line in data.history] == ["head", "head", "tail"]
    assert len(data.images) == 19
    assert data.predictions.classes == ["cat", "dog", "owl"]
    assert data.predictions.probabilities.shape == (18, 3)
    right = (data.predictions.predicted == data.predictions.targets).mean()
    assert right == pytest.approx(data.evaluation["top1"]["value"])
    assert set(data.thumbnails) == set(data.choice.uris)
    assert all(thumbnail.data for thumbnail in data.thumbnails.values())


def test_the_same_seed_chooses_the_same_pictures(make_run):
    run = make_run(["cat", "dog"], each=40)
    assert collect(run).choice == collect(run).choice
    assert collect(run).choice != collect(run, seed=1).choice


def test_history_may_be_missing(make_run):
    run = make_run(["cat", "dog"])
    (run / "history.jsonl").unlink()
    assert collect(run).history == []


def test_no_such_run(tmp_path):
    with pytest.raises(RunError) as refusal:
        collect(tmp_path / "nowhere")
    expected = f"{tmp_path / 'nowhere'}: no such run folder. Give the folder that `headstart fit` wrote."
    assert str(refusal.value) == expected


@pytest.mark.parametrize("name", ["settings.json", "evaluation.json", "manifest.parquet", "predictions.parquet"])
def test_a_missing_file_is_named(make_run, name):
    run = make_run(["cat", "dog"])
    (run / name).unlink()
    with pytest.raises(RunError) as refusal:
        collect(run)
    expected = f"{run / name}: missing. A report needs it; give a folder that `headstart fit` finished."
    assert str(refusal.value) == expected


@pytest.mark.parametrize(
    "name", ["settings.json", "evaluation.json", "manifest.parquet", "predictions.parquet", "history.jsonl"]
)
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"[1, 2", b"[]"])
def test_a_damaged_file_is_named(make_run, name, damage):
    run = make_run(["cat", "dog"])
    (run / name).write_bytes(damage)
    if name == "history.jsonl" and not damage:
        assert collect(run).history == []  # a run that has no epochs yet
        return
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value).startswith(str(run / name))


@pytest.mark.parametrize("name", ["settings.json", "evaluation.json", "manifest.parquet", "predictions.parquet"])
def test_half_a_file_is_named(make_run, name):
    run = make_run(["cat", "dog"])
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value).startswith(str(run / name))


def test_a_history_line_is_named(make_run):
    run = make_run(["cat", "dog"])
    (run / "history.jsonl").write_text('{"stage": "tail", "epoch": 1}\n\n{"stage": "tail", "ep')
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value).startswith(f"{run / 'history.jsonl'}, line 3: damaged, not JSON: ")
    (run / "history.jsonl").write_text('{"stage": "tail"}')
    with pytest.raises(RunError) as refusal:
        collect(run)
    expected = f'{run / "history.jsonl"}, line 1: damaged: it must have "stage" (head or tail) and "epoch".'
    assert str(refusal.value) == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"part": 3}, "damaged: 'part' must be there, as str."),
        ({"summary": []}, "damaged: 'summary' must be there, as dict."),
        ({"top1": {"value": 1}}, "damaged: 'top1' must have high, low, value."),
        ({"ece": 0.5}, "damaged: 'ece' must have high, low, value."),
        ({"reliability": [{"low": 0}]}, "damaged: 'reliability' must have accuracy, confidence, high, images, low."),
        (
            {"calibration": {"temperature": 1}},
            "damaged: 'calibration' must have after, before, cross_fitted, temperature.",
        ),
        (
            {"calibration": {"temperature": 1, "cross_fitted": True, "before": {}, "after": {}}},
            "damaged: 'calibration.before.log_loss' must have high, low, value.",
        ),
        (
            {
                "novelty": {
                    "inside": 0.9,
                    "threshold": 1,
                    "cross_fitted": True,
                    "bars": [],
                    "strange": {"value": 0, "low": 0, "high": 0},
                }
            },
            "damaged: 'novelty.bars' must have high, images, low.",
        ),
        ({"ladder": {}}, "damaged: 'ladder' must have accuracy, chosen, rung."),
        ({"ladder": [{"rung": "head"}]}, "damaged: 'ladder' must have accuracy, chosen, rung."),
        ({"seeds": [1]}, "damaged: 'seeds' must have accuracy, log_loss, mean, sd, seeds."),
        ({"confusion": [[1]]}, "damaged: per_class and confusion must have 2 rows, one a class."),
    ],
)
def test_an_evaluation_that_lacks_something(make_run, change, values, text):
    run = make_run(["cat", "dog"])
    change(run / "evaluation.json", **values)
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value) == f"{run / 'evaluation.json'}: {text} {AGAIN}"


def test_settings_that_are_none(make_run, change):
    run = make_run(["cat", "dog"])
    change(run / "settings.json", settings=[])
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value) == f"{run / 'settings.json'}: damaged: 'settings' must be there, as dict."


def test_files_of_different_evaluations(make_run):
    run = make_run(["cat", "dog"])
    table = pq.ParquetFile(run / "predictions.parquet").read()
    pq.write_table(table.slice(0, 5), run / "predictions.parquet")
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value) == (
        f"{run / 'predictions.parquet'}: has 5 labelled images of 2 classes, but evaluation.json beside it tells of "
        f"12 of 2: not the same evaluation. {AGAIN}"
    )


def test_predictions_without_their_class_names(make_run):
    run = make_run(["cat", "dog"])
    pq.write_table(
        pq.ParquetFile(run / "predictions.parquet").read().replace_schema_metadata({}), run / "predictions.parquet"
    )
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value).startswith(f"{run / 'predictions.parquet'}: damaged: ")


def test_predictions_with_too_few_columns(make_run):
    run = make_run(["cat", "dog"])
    table = pq.ParquetFile(run / "predictions.parquet").read()
    names = {b"classes": json.dumps(["cat", "dog", "owl"]).encode()}
    pq.write_table(table.replace_schema_metadata(names), run / "predictions.parquet")
    with pytest.raises(RunError) as refusal:
        collect(run)
    expected = f"{run / 'predictions.parquet'}: damaged: 3 classes, but probabilities of shape (12, 2). {AGAIN}"
    assert str(refusal.value) == expected


@pytest.mark.parametrize("column", ["uri", "label", "probabilities"])
def test_predictions_without_a_column(make_run, column):
    run = make_run(["cat", "dog"])
    table = pq.ParquetFile(run / "predictions.parquet").read()
    pq.write_table(table.drop_columns([column]), run / "predictions.parquet")
    with pytest.raises(RunError) as refusal:
        collect(run)
    assert str(refusal.value).startswith(f"{run / 'predictions.parquet'}: damaged: ")
    assert column in str(refusal.value)


def test_rows_without_a_label_are_left_out(make_run):
    run = make_run(["cat", "dog"])
    table = pq.ParquetFile(run / "predictions.parquet").read()
    rows = table.to_pylist()
    extra = table.from_pylist([*rows, {**rows[0], "label": None}, {**rows[0], "label": "owl"}], schema=table.schema)
    pq.write_table(extra, run / "predictions.parquet")
    assert len(collect(run).predictions.uris) == 12
    assert np.isfinite(collect(run).predictions.probabilities).all()
