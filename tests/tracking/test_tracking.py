"""What is tracked is read back with TensorBoard's own reader; a tracker that fails loses no fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headstart.evaluate.schema import read_evaluation
from headstart.events import EpochEnded, Notice, TrialEnded
from headstart.tracking import Tracking, base, final_metrics, register_tracker, tracker_named

Headstart = Callable[..., tuple[int, str, str]]
EPOCH = EpochEnded("last:1", 3, 12, 0.5, 0.75, float("nan"), 0.7, 1.5)
TRIAL = TrialEnded("head", 0.9, 0.85, 0.94, 0.3, 2.5)


def read(folder: Path) -> Any:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_epochs_and_trials(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    warned: list[str] = []
    tracking = Tracking(tracker_named("tensorboard"), tmp_path, {"lr": 0.1, "a": "x|y"}, warn=warned.append)
    tracking(Notice("nothing to track"))
    assert list(tmp_path.iterdir()) == []
    tracking(EPOCH)
    tracking(TRIAL)
    tracking.close()
    assert warned == []
    (place,) = (tmp_path / "tensorboard").iterdir()
    assert tracking.where == str(place)
    found = read(place)
    assert [(each.step, each.value) for each in found.Scalars("last-1/loss")] == [(3, 0.5)]
    assert "last-1/val_loss" not in found.Tags()["scalars"]  # not a number
    assert found.Scalars("trials/head/low")[0].value == pytest.approx(0.85)
    (settings,) = found.Tensors("settings/text_summary")
    assert b"| lr | 0.1 |\n| a | x\\|y |" in settings.tensor_proto.string_val[0]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_fit(run: Headstart, photo: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for number in range(24):
        photo(f"photos/{'ab'[number % 2]}/{number}.jpg", 3 * number + 100 * (number % 2))
    options = ["--model", "test_resnet", "--weights", "random", "--train", "head", "--stages", "none"]
    code, out, err = run("fit", tmp_path / "photos", *options, "--out", tmp_path / "run", "--track", "tensorboard")
    assert code == 0, err
    place = Path(out.splitlines()[-1].removeprefix("tracked: "))
    assert place.parent == tmp_path / "run" / "tensorboard"
    found, evaluation = read(place), read_evaluation(tmp_path / "run" / "evaluation.json")
    for name, value in final_metrics(evaluation).items():
        assert found.Scalars(name)[0].value == pytest.approx(value), name
    assert f"{evaluation.split}/accuracy/low" in found.Tags()["scalars"]
    (card,) = found.Tensors("model card/text_summary")
    assert card.tensor_proto.string_val[0] == (tmp_path / "run" / "README.md").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow uses
def test_a_fit_in_mlflow(
    run: Headstart, photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install headstart[mlflow]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/tracked.db")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps artifacts
    for number in range(24):
        photo(f"photos/{'ab'[number % 2]}/{number}.jpg", 3 * number + 100 * (number % 2))
    options = ["--model", "test_resnet", "--weights", "random", "--train", "head", "--stages", "none"]
    code, out, err = run("fit", tmp_path / "photos", *options, "--out", tmp_path / "dogs", "--track", "mlflow")
    assert code == 0, err
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("headstart").experiment_id])
    assert out.splitlines()[-1] == f"tracked: headstart, run {found.info.run_id}, at sqlite:///{tmp_path}/tracked.db"
    assert (found.info.run_name, found.info.status) == ("dogs", "FINISHED")
    assert found.data.params["model"] == "test_resnet"
    evaluation = read_evaluation(tmp_path / "dogs" / "evaluation.json")
    for name, value in final_metrics(evaluation).items():
        assert found.data.metrics[name] == pytest.approx(value), name
    assert "trials/head/low" in found.data.metrics
    for name in ("README.md", "report.html"):
        kept = Path(client.download_artifacts(found.info.run_id, name, str(tmp_path)))
        assert kept.read_bytes() == (tmp_path / "dogs" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Trackio uses
def test_a_fit_in_trackio(
    run: Headstart, photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "trackio" not in sys.modules:  # it reads the variable when it is imported
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "tracked"))
    trackio = pytest.importorskip("trackio", reason="pip install headstart[trackio]")
    for number in range(24):
        photo(f"photos/{'ab'[number % 2]}/{number}.jpg", 3 * number + 100 * (number % 2))
    options = ["--model", "test_resnet", "--weights", "random", "--train", "head", "--stages", "none"]
    code, out, err = run("fit", tmp_path / "photos", *options, "--out", tmp_path / "dogs", "--track", "trackio")
    assert code == 0, err
    assert out.splitlines()[-1] == f"tracked: project headstart, run dogs, in {tmp_path / 'tracked'}"
    assert len(out.splitlines()) == 4  # none of Trackio's own
    storage = trackio.SQLiteStorage
    logged: dict[str, Any] = {}
    for row in storage.get_logs("headstart", "dogs"):
        logged |= row
    evaluation = read_evaluation(tmp_path / "dogs" / "evaluation.json")
    for name, value in final_metrics(evaluation).items():
        assert logged[name] == pytest.approx(value), name
    assert "trials/head/low" in logged
    assert "model card" in logged
    assert storage.get_run_config("headstart", "dogs")["model"] == "test_resnet"


class Broken:
    """A tracker whose disk is full after the first value."""

    name = "broken"
    where = "nowhere"
    logged = 0

    def check(self) -> None:
        pass

    def open(self, folder: Path, settings: Mapping[str, object]) -> Broken:  # noqa: ARG002
        return self

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:  # noqa: ARG002
        self.logged += 1
        if self.logged > 1:
            raise OSError(28, "No space left on device")

    def log_documents(self, run: Path) -> None:  # noqa: ARG002
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def test_a_tracker_that_fails_is_left(tmp_path: Path) -> None:
    warned: list[str] = []
    broken = Broken()
    tracking = Tracking(broken, tmp_path, {}, warn=warned.append)
    for _ in range(3):
        tracking(TRIAL)
    tracking.close()
    assert warned == ["--track broken: the disk is full; the fit goes on, and is tracked no further"]
    assert (broken.logged, tracking.where) == (2, None)


def test_a_tracker_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_TRACKERS", dict(base._TRACKERS))
    broken = Broken()
    register_tracker(broken)
    assert tracker_named("broken") is broken


def test_what_is_missing_is_said_before_any_work(
    run: Headstart, photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = photo("photos/a/1.jpg").parent.parent
    out = tmp_path / "run"
    code, _, told = run("fit", photos, "--out", out, "--track", "tensorbord")
    assert (code, told) == (
        2,
        "error: track must be one of mlflow, tensorboard, trackio, got 'tensorbord'; did you mean tensorboard?\n",
    )
    monkeypatch.setattr(sys, "path", [])  # no package can be found
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    code, _, told = run("fit", photos, "--out", out, "--track", "tensorboard")
    assert (code, told) == (
        2,
        'error: --track tensorboard needs tensorboard: run "pip install headstart[tensorboard]"\n',
    )
    assert not out.exists()
