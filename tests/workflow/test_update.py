from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.config import FitSettings
from headstart.data.sources.read import read_images
from headstart.errors import DataError, RunError, SettingsError
from headstart.workflow.fit import FitResult, fit
from headstart.workflow.runs import save_run
from headstart.workflow.update import extended, settings_of

Photos = Callable[..., Path]


@pytest.fixture
def old(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> tuple[Path, FitResult]:
    found = fitted(photos(red=10, green=10), train="head", l2=0.5)
    return save_run(found, tmp_path / "run"), found


def updated(run: Path, more: Path, told: Any, **given: str) -> FitResult:
    settings = settings_of(run, given)
    return fit(extended(run, read_images(more), settings), settings, events=told)


def test_new_class_costs_only_its_own_images(old: tuple[Path, FitResult], photos: Photos, told: Any) -> None:
    run, before = old
    recorder = told()
    found = updated(run, photos("more", blue=10), recorder)
    assert found.classifier.classes == ("blue", "green", "red")
    assert recorder.stages["computing features"] == 10
    part_of = dict(zip(found.manifest.uris, found.manifest.splits, strict=True))
    assert all(part_of[uri] == part for uri, part in zip(before.manifest.uris, before.manifest.splits, strict=True))
    assert found.manifest.usable.in_split("validation").classes == ("blue", "green", "red")
    assert found.settings.l2 == 0.5
    assert found.evaluation.top1.value > 0.8


def test_copy_of_an_old_image_gets_its_split(old: tuple[Path, FitResult], photos: Photos, tmp_path: Path) -> None:
    run, before = old
    more = photos("more", blue=4) / "red"
    more.mkdir()
    source = before.manifest.usable.in_split("validation").uris[0]
    (more / "copy.png").write_bytes(Path(source).read_bytes())
    manifest = extended(run, read_images(more.parent), settings_of(run, {}))
    part_of = dict(zip(manifest.uris, manifest.splits, strict=True))
    assert part_of[str(more / "copy.png")] == "validation"


def test_image_given_again_is_not_duplicated(old: tuple[Path, FitResult]) -> None:
    run, before = old
    photos = Path(before.manifest.uris[0]).parent.parent
    manifest = extended(run, read_images(photos), settings_of(run, {}))
    assert sorted(manifest.uris) == sorted(before.manifest.uris)


def test_settings_of_the_run_are_overridden_by_given_ones(old: tuple[Path, FitResult]) -> None:
    run, before = old
    assert settings_of(run, {}).values() == {**before.settings.values(), "train": "head"}
    assert settings_of(run, {"l2": "0.1", "train": "auto"}).values() == {
        **before.settings.values(),
        "l2": 0.1,
        "train": "auto",
    }


def test_l2_penalty_is_not_chosen_again(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> None:
    found = fitted(photos(red=10, green=10), train="head")
    run = save_run(found, tmp_path / "run")
    (chosen,) = [line.l2 for line in found.history if line.chosen]
    assert settings_of(run, {}).l2 == chosen
    assert settings_of(run, {"train": "auto"}).l2 is None
    assert settings_of(run, {"l2": "0.25"}).l2 == 0.25


def test_errors(old: tuple[Path, FitResult], photos: Photos, tmp_path: Path) -> None:
    run, _ = old
    with pytest.raises(SettingsError, match="--model resnet18: the run has test_resnet; another network needs a fit"):
        settings_of(run, {"model": "resnet18"})
    with pytest.raises(RunError, match=r"settings.json: missing"):
        settings_of(tmp_path / "nothing", {})
    images = read_images(photos("plain", blue=2) / "blue", labels=False)
    with pytest.raises(DataError, match="no new image has a label"):
        extended(run, images, FitSettings())
    (run / "manifest.parquet").unlink()
    with pytest.raises(RunError, match=r"manifest.parquet: missing"):
        extended(run, images, FitSettings())
