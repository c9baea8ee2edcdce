"""Training of a fit: on the workers of a cluster, from a checkpoint, and by the recipe of Goyal et al. 2017."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.config import RECIPES, FitSettings
from headstart.errors import ImageProblem, SettingsError
from headstart.events import EpochEnded, Event, Events
from headstart.execution.cluster import Cluster
from headstart.features.store import FeatureStore
from headstart.models.backbone import load_backbone
from headstart.train.distributed import ClusterTrainer
from headstart.workflow.fit import FitResult

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]

SMALL = {"model": "test_resnet", "size": 32, "batch_size": 8, "epochs": 2, "warmup_epochs": 1}
RECIPE = {**RECIPES["imagenet-1h"], **SMALL}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two one-core workers on this machine."""
    pytest.importorskip("ray", reason="Ray has no wheels for this Python")
    with Cluster("local", 2).connected():
        yield "local:2"


def losses(result: FitResult) -> list[float]:
    return [value for record in result.history for value in (record.loss, record.val_loss)]


def stored_rows(folder: Path) -> int:
    return sum(len(table) for table in FeatureStore(folder / "features").tables())


@pytest.mark.parametrize(
    "settings",
    [
        {"train": "last:1", "epochs": 2, "batch_size": 8, "augmentations": 1, "batchnorm": "frozen"},
        {**RECIPE, "batchnorm": "frozen"},
    ],
    ids=["stored features", "live images"],
)
def test_workers_train_as_one_process_does(
    photos: Photos,
    fitted: Fit,
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    """With the statistics of BatchNorm frozen: in training mode they are those of each worker's images."""
    on_workers, epoch = list[int](), ClusterTrainer.epoch
    monkeypatch.setattr(ClusterTrainer, "epoch", lambda self, number: on_workers.append(number) or epoch(self, number))
    folder = photos(red=12, green=12, blue=12)
    here, there = (
        fitted(folder, **settings, cluster=where, cache_dir=str(tmp_path / str(where))) for where in (None, cluster)
    )
    assert on_workers == [1, 2]
    # Float32 in another order, see tests/train/test_distributed.py; the network is deeper.
    assert losses(there) == pytest.approx(losses(here), abs=1e-4)
    assert len({record.loss for record in here.history}) > 1
    assert np.allclose(there.probabilities, here.probabilities, atol=1e-4)


def test_an_interrupted_fit_goes_on_from_its_checkpoint(
    photos: Photos, fitted: Fit, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.train.finetune._SECONDS_PER_CHECKPOINT", 0)
    folder, settings = photos(red=12, green=12, blue=12), {"train": "last:1", "epochs": 4, "augmentations": 1}

    def interrupt(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise KeyboardInterrupt

    whole = fitted(folder, **settings, cache_dir=str(tmp_path / "other"))
    with pytest.raises(KeyboardInterrupt):
        fitted(folder, Events(interrupt), **settings)
    other, same = told(), told()
    fitted(folder, other, **settings, lr=0.02)  # another training begins at its beginning
    assert not any("checkpoint" in line for line in other.lines)
    resumed = fitted(folder, same, **settings)
    assert sum("training last:1 goes on from its checkpoint" in line for line in same.lines) == 1
    assert [event.epoch for event in same.received if isinstance(event, EpochEnded)] == [1, 2, 3, 4]
    assert losses(resumed) == losses(whole)
    assert np.array_equal(resumed.probabilities, whole.probabilities)
    assert list((tmp_path / "store" / "checkpoints").iterdir()) == []


def test_the_recipe_trains_from_random_weights_and_stores_no_training_image(
    photos: Photos, fitted: Fit, tmp_path: Path
) -> None:
    result = fitted(photos(red=12, green=12, blue=12), **RECIPE, validation_share=0.25)
    assert [record.lr for record in result.history] == pytest.approx([0.1 * 8 / 256, 0.01 * 8 / 256])
    assert result.history[-1].chosen  # the last epoch, not the best
    assert stored_rows(tmp_path / "store") == 9  # the validation images


def test_live_augmentation_shows_new_views_in_each_epoch(photos: Photos, fitted: Fit) -> None:
    """With a learning rate of 0 the loss changes by the views alone, and in the same way each time."""
    folder, still = photos(red=12, green=12), {**RECIPE, "lr": 0.0, "batchnorm": "frozen", "epochs": 3}
    first, again = ([record.loss for record in fitted(folder, **still).history] for _ in range(2))
    assert len(set(first)) == 3
    assert first == again


def test_an_image_that_vanishes_while_it_is_trained_on_is_named(photos: Photos, fitted: Fit) -> None:
    folder = photos(red=12, green=12)

    def remove(event: Event) -> None:
        if isinstance(event, EpochEnded):
            for path in folder.rglob("*.png"):
                path.unlink()

    with pytest.raises(ImageProblem, match=r"\.png: .*run the same command again, which leaves it out"):
        fitted(folder, Events(remove), **RECIPE)


def test_residual_blocks_begin_as_the_identity() -> None:
    """Goyal et al. 2017, section 5.1: the scale of the last BatchNorm in each block of ResNet-50 is 0 at the start."""
    state = load_backbone("resnet50", weights_file="random").module.state_dict()
    last = [value for name, value in state.items() if name.endswith("bn3.weight")]
    assert len(last) == 16
    assert all(torch.equal(value, torch.zeros_like(value)) for value in last)
    assert torch.equal(state["layer1.0.bn2.weight"], torch.ones(64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_epochs": 12}, "warmup_epochs must be fewer than epochs, got warmup_epochs=12 and epochs=12"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov is a form of momentum: set momentum above 0"),
        ({"live_augmentation": True}, "live_augmentation is for training the whole network: set train to all"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FitSettings.of(**changes)
