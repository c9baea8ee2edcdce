from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart import paths
from headstart.config import FitSettings
from headstart.data.corrections import apply_corrections, write_changes
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.description import Correction
from headstart.errors import DataError, RunError, SettingsError
from headstart.evaluate.schema import read_history, read_run_info, write_run_info
from headstart.workflow.fit import FitResult, fit
from headstart.workflow.runs import save_run
from headstart.workflow.update import extended, settings_of

Photos = Callable[..., Path]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that several tests use, whose files they put back."""
    folder = tmp_path_factory.mktemp("kept")
    shades = np.random.default_rng(0).integers(0, 120, (12, 24, 24, 3), np.uint8)
    for row, pixels in enumerate(shades):
        path = folder / "photos" / ("dark", "light")[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + np.uint8(130 * (row % 2))).save(path)
    settings = FitSettings.of(
        model="test_resnet", weights="random", train="head", l2=0.5, engine="torch", cache_dir=str(folder / "store")
    )
    return save_run(fit(read_images(folder / "photos"), settings), folder / "run")


@pytest.fixture
def old(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> tuple[Path, FitResult]:
    found = fitted(photos(red=10, green=10), train="head", l2=0.5)
    return save_run(found, tmp_path / "run"), found


def updated(run: Path, more: Path, told: Any, **given: str) -> FitResult:
    settings = settings_of(run, given)
    return fit(extended(run, read_images(more), settings), settings, events=told)


def test_new_class_costs_only_its_own_images(
    old: tuple[Path, FitResult], photos: Photos, told: Any, tmp_path: Path
) -> None:
    run, before = old
    recorder = told()
    found = updated(run, photos("more", blue=10), recorder, cache_dir=str(tmp_path / "store"))
    assert found.classifier.classes == ("blue", "green", "red")
    assert recorder.stages["computing features"] == 10
    part_of = dict(zip(found.manifest.uris, found.manifest.splits, strict=True))
    assert all(part_of[uri] == part for uri, part in zip(before.manifest.uris, before.manifest.splits, strict=True))
    assert found.manifest.usable.in_split("validation").classes == ("blue", "green", "red")
    assert found.settings.l2 == 0.5
    assert found.evaluation.top1.value > 0.8


def test_corrections_of_a_run_are_kept_and_new_ones_apply_to_its_images(kept: Path, tmp_path: Path) -> None:
    photos = read_images(kept.parent / "photos")
    first, second, third = photos.uris[:3]
    earlier = (Correction(first, "light", "dark"), Correction(second, "light", "dark"))
    write_changes(kept / "corrections.csv", earlier)
    (tmp_path / "new.csv").write_text(f"uri,drop\n{second},yes\n{third},yes\n")
    new = apply_corrections(photos, tmp_path / "new.csv").select([5, 6])
    manifest = extended(kept, new, settings_of(kept, {}))
    (kept / "corrections.csv").unlink()
    assert not {second, third} & set(manifest.uris)
    assert [each.uri for each in manifest.corrections] == [first, second, third]
    assert manifest.corrections[1].label is None


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
    chosen = next(record.stages for record in before.history if record.chosen)
    kept = {**before.settings.values(), "cache_dir": None, "stages": chosen, "kernel": "none"}
    assert settings_of(run, {}).values() == {**kept, "train": "head"}
    assert settings_of(run, {"l2": "0.1", "train": "auto"}).values() == {
        **kept,
        "l2": 0.1,
        "train": "auto",
        "stages": "auto",
        "kernel": "auto",
    }


def test_a_run_does_not_choose_where_files_are_written(
    run: Callable[..., tuple[int, str, str]], old: tuple[Path, FitResult], photos: Photos, tmp_path: Path
) -> None:
    """Its settings.json may come from someone else."""
    folder, before = old
    info, foreign = read_run_info(folder / "settings.json"), tmp_path / "foreign"
    settings = {**info.settings, "cache_dir": str(foreign)}
    write_run_info(folder / "settings.json", replace(info, settings=settings))
    words = ("fit", photos("more", blue=4), "--update", folder, "--out", tmp_path / "new")
    assert before.settings.cache_dir is not None
    assert run(*words, "--cache-dir", before.settings.cache_dir)[0] == 0
    assert read_run_info(tmp_path / "new" / "settings.json").settings["cache_dir"] == before.settings.cache_dir
    assert run(*words)[0] == 0
    assert read_run_info(tmp_path / "new" / "settings.json").settings["cache_dir"] is None
    assert paths.features().is_dir()
    assert not foreign.exists()


def test_l2_penalty_is_not_chosen_again(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> None:
    found = fitted(photos(red=10, green=10), train="head")
    run = save_run(found, tmp_path / "run")
    (chosen,) = [line.l2 for line in found.history if line.chosen]
    assert settings_of(run, {}).l2 == chosen
    assert settings_of(run, {"train": "auto"}).l2 is None
    assert settings_of(run, {"l2": "0.25"}).l2 == 0.25


def test_stages_are_not_chosen_again(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> None:
    run = save_run(fitted(photos(red=10, green=10), train="head", stages="all:0.25"), tmp_path / "run")
    assert settings_of(run, {}).stages == "all:0.25"
    assert settings_of(run, {"stages": "none"}).stages == "none"
    run = save_run(fitted(photos(red=10, green=10), train="head"), tmp_path / "chosen")
    (chosen,) = [record for record in read_history(run / "history.jsonl") if record.chosen]
    assert settings_of(run, {}).stages == chosen.stages


def test_kernel_is_not_chosen_again(photos: Photos, fitted: Callable[..., FitResult], tmp_path: Path) -> None:
    some = photos(red=20, green=20)
    run = save_run(fitted(some, train="head", kernel="rbf:0.25", stages="all:1"), tmp_path / "run")
    assert settings_of(run, {}).kernel == "rbf:0.25"
    assert settings_of(run, {"kernel": "none"}).kernel == "none"
    assert settings_of(run, {"train": "auto", "kernel": "auto"}).kernel == "auto"
    run = save_run(fitted(some, train="head", stages="none"), tmp_path / "without")
    assert settings_of(run, {}).kernel == "none"


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
        settings_of(run, {})
    with pytest.raises(RunError, match=r"manifest.parquet: missing"):
        extended(run, images, FitSettings())


def test_images_that_were_moved(old: tuple[Path, FitResult], photos: Photos, tmp_path: Path) -> None:
    run, before = old
    more, settings = read_images(photos("more", blue=4)), settings_of(run, {})
    first = before.manifest.uris[0]
    Path(first).unlink()  # one of twenty may be missing
    assert len(extended(run, more, settings)) == 24
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError) as refusal:
        extended(run, more, settings)
    assert str(refusal.value) == (
        f"{first}: no such file, as 20 of the 20 images of {run}. If they were moved, move them back, or fit all "
        "images where they are now, without --update. If they were deleted, --max-problems SHARE allows for more of "
        "them"
    )


def test_images_in_memory_cannot_be_added_to(fitted: Callable[..., FitResult], photos: Photos, tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(0, 120, (12, 24, 24, 3), np.uint8) + 130 * (np.arange(12) % 2)[
        :, None, None, None
    ].astype(np.uint8)
    found = fitted(Manifest.from_arrays(list(shades), labels=["dark", "light"] * 6), train="head", l2=0.5)
    run = save_run(found, tmp_path / "run")
    with pytest.raises(RunError) as refusal:
        extended(run, read_images(photos("more", blue=4)), settings_of(run, {}))
    assert str(refusal.value) == (
        f"{run}: was fitted to images in memory, which a run does not keep: fit all images again"
    )


@pytest.mark.parametrize(
    "name", ["settings.json", "classifier/model.json", "history.jsonl", "manifest.parquet", "predictions.parquet"]
)
def test_a_damaged_run_is_refused_or_extended_as_before(
    kept: Path, load_module: Callable[[Path], ModuleType], name: str
) -> None:
    mutations = load_module(Path(__file__).parent.parent / "mutations.py")
    path, more = kept / name, read_images(kept.parent / "photos")
    settings, images = settings_of(kept, {}), extended(kept, more, settings_of(kept, {}))
    data = path.read_bytes()
    refused = 0
    try:
        for changed in list(mutations.bytes_of(path, 25)):
            path.write_bytes(changed)
            try:
                found = settings_of(kept, {})
                assert (found, extended(kept, more, found).table) == (settings, images.table)
            except RunError:
                refused += 1
    finally:
        path.write_bytes(data)
    assert refused >= 25


def test_damaged_settings_are_refused(old: tuple[Path, FitResult]) -> None:
    run, _ = old
    path = run / "settings.json"
    info = read_run_info(path)
    write_run_info(path, replace(info, settings={**info.settings, "seed": "0"}))
    with pytest.raises(RunError) as refusal:
        settings_of(run, {})
    assert str(refusal.value) == (
        f"{path}: damaged: seed must be a whole number of at least 0, got '0'; "
        "--update needs a folder that headstart fit has written"
    )
