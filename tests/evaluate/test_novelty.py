"""Novelty: the distance against plain algebra, the share that the threshold promises, and real pictures."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.metrics import roc_auc_score

from headstart.errors import DataError, RunError
from headstart.evaluate import Novelty, auroc, fit_novelty, novelty_rows, novelty_section
from headstart.evaluate.novelty import _shrinkage


def pictures(images, classes=4, dimension=30, seed=0):
    """Features of classes that lie apart, with a few directions in which all of them spread."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    spread = rng.normal(size=(images, 3)) @ np.random.default_rng(99).normal(size=(3, dimension))
    centres = 5 * np.random.default_rng(98).normal(size=(classes, dimension))
    return centres[targets] + spread + 0.5 * rng.normal(size=(images, dimension)), targets


def test_it_is_the_mahalanobis_distance():
    features, targets = pictures(2000)
    found = fit_novelty(features, targets, features, directions=29)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([unit[targets == target].mean(axis=0) for target in range(4)])
    inverse = np.linalg.inv(np.cov(unit - means[targets], rowvar=False, ddof=4, bias=False))
    apart = unit[:, None] - means  # (N, K, D)
    expected = np.einsum("nkd,de,nke->nk", apart, inverse, apart).min(axis=1) / 30
    assert found.scores(features) == pytest.approx(expected, rel=0.1)  # Ledoit and Wolf shrink a little


@pytest.mark.parametrize(("images", "dimension"), [(2, 5), (20, 50), (500, 30), (3, 1)])
def test_the_shrinkage_is_that_of_scikit_learn(images, dimension):
    spread = (np.random.default_rng(0).normal(size=(images, dimension)) * np.arange(1, dimension + 1)).astype(
        np.float32
    )
    theirs = ledoit_wolf_shrinkage(spread.astype(np.float64), assume_centered=True)
    assert _shrinkage(spread, spread.T @ spread) == pytest.approx(theirs if dimension > 1 else 1, rel=1e-4)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_scores_are_numbers_whatever_is_fitted(images, classes, dimension, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(images, dimension)) * (rng.random(dimension) < 0.7)
    found = fit_novelty(features, rng.integers(0, classes, images), features)
    scores = found.scores(rng.normal(size=(50, dimension)))
    assert np.isfinite(scores).all()
    assert (scores > -1e-3).all()
    assert np.isfinite(found.threshold)


def test_equal_images_and_an_image_a_class():
    same = fit_novelty(np.ones((6, 4)), [0, 0, 0, 1, 1, 1], np.ones((3, 4)))
    assert same.strange([[1, 1, 1, 1], [1, -1, 0, 0]]).tolist() == [False, True]
    single = fit_novelty(np.eye(3), [0, 1, 2], np.eye(3) + 0.1)
    assert single.strange([[1, 0, 0], [-1, -1, -1]]).tolist() == [False, True]


def test_the_length_of_features_does_not_count():
    features, targets = pictures(200)
    found = fit_novelty(features, targets, features)
    assert found.scores(features * 7) == pytest.approx(found.scores(features), rel=1e-4)
    assert np.isfinite(found.scores(np.zeros((1, 30)))).all()


def test_of_many_images_each_class_gives_as_many():
    targets = np.repeat([0, 1, 2], [9000, 5, 9000])
    rows = novelty_rows(targets, seed=1)
    assert np.bincount(targets[rows]).tolist() == [3333, 5, 3333]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, novelty_rows(targets, seed=2))
    assert np.bincount(np.arange(40_000)[novelty_rows(np.arange(40_000) % 1000)] % 1000).tolist() == [20] * 1000


def test_as_many_lie_below_the_threshold_as_was_asked_for():
    """On average over draws, between 0.9 and 0.9 + 1/(M + 1)."""
    shares = []
    for seed in range(200):
        features, targets = pictures(200, seed=seed)
        found = fit_novelty(features[:60], targets[:60], features[60:100], inside=0.9)
        shares.append(1 - found.strange(features[100:]).mean())
    error = np.std(shares) / np.sqrt(len(shares))
    assert 0.9 - 4 * error < np.mean(shares) < 0.9 + 1 / 41 + 4 * error


def test_few_held_out_images_give_their_largest_score():
    features, targets = pictures(100)
    found = fit_novelty(features[:95], targets[:95], features[95:])
    assert found.threshold == found.scores(features[95:]).max()


def test_it_is_kept_whole(tmp_path):
    features, targets = pictures(300)
    found = fit_novelty(features, targets, features)
    save_file(found.as_arrays(), tmp_path / "novelty.safetensors")
    again = Novelty.from_arrays(load_file(tmp_path / "novelty.safetensors"))
    assert (again.scores(features) == found.scores(features)).all()
    assert (again.threshold, again.inside) == (found.threshold, found.inside)


def test_it_stays_small_and_is_repeatable():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(11_000, 100)).astype(np.float32), rng.integers(0, 7, 11_000)
    one, other = (fit_novelty(features, targets, features[:50]) for _ in range(2))
    assert one.means.shape == (7, 100)
    assert one.directions.shape == (64, 100)
    assert (one.scores(features[:20]) == other.scores(features[:20])).all()


def test_damaged_arrays():
    features, targets = pictures(50)
    arrays = fit_novelty(features, targets, features).as_arrays()
    with pytest.raises(RunError, match=r"^novelty: damaged: gains must be there. Fit the classifier again.$"):
        Novelty.from_arrays({name: array for name, array in arrays.items() if name != "gains"})
    with pytest.raises(RunError, match=r"^novelty: damaged: the arrays do not fit each other: means \(4, 30\), dir"):
        Novelty.from_arrays(arrays | {"directions": arrays["directions"][:, :3]})


def test_what_it_refuses():
    features, targets = pictures(50)
    found = fit_novelty(features, targets, features)
    with pytest.raises(DataError, match=r"^features must have the shape \(images, 30\), not \(50, 4\).$"):
        found.scores(features[:, :4])
    with pytest.raises(DataError, match=r"^features must be finite; some are not."):
        found.scores(features * np.nan)
    with pytest.raises(DataError, match=r"^targets must have the shape \(50,\), one an image, at least one, not \(4,"):
        fit_novelty(features, targets[:4], features)
    with pytest.raises(DataError, match=r"^held_out must have one image or more"):
        fit_novelty(features, targets, features[:0])


def test_the_section_counts():
    scores = np.random.default_rng(0).normal(size=400) + 5
    section = novelty_section(scores, threshold=6.6, cross_fitted=True)
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert section["strange"]["value"] == pytest.approx(0.05, abs=0.02)
    assert sum(bar["images"] for bar in section["bars"]) == 400
    plain = novelty_section(scores, threshold=6.6, cross_fitted=False)
    assert plain["strange"]["value"] == (scores > 6.6).mean()
    assert novelty_section(np.ones(1), threshold=1.0, cross_fitted=True)["strange"]["value"] == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_auroc_as_scikit_learn_has_it(inside, outside):
    found = auroc(inside, outside)
    expected = roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside)
    assert found["value"] == pytest.approx(expected)
    assert 0 <= found["low"] <= found["value"] + 1e-12
    assert found["value"] <= found["high"] + 1e-12 <= 1 + 1e-9


def test_the_interval_of_auroc_holds_the_truth_in_95_percent():
    from scipy.stats import norm

    truth, rng = norm.cdf(1 / np.sqrt(2)), np.random.default_rng(0)
    found = [auroc(rng.normal(size=60), rng.normal(size=40) + 1) for _ in range(400)]
    held = np.mean([each["low"] <= truth <= each["high"] for each in found])
    assert 0.92 < held < 0.98


def test_auroc_of_what_does_not_overlap_is_not_certain():
    found = auroc(np.arange(40), np.arange(40) + 100)
    assert found["value"] == found["high"] == 1
    assert 0.9 < found["low"] < 0.95
    with pytest.raises(DataError, match=r"^auroc needs finite scores"):
        auroc([], [1.0])


@pytest.mark.shared
def test_dogs_are_no_trash(shared, one_thread):
    """Real pictures through the embedded network: on 1,500 images it is 1.000, on 150 as well."""
    from headstart.data.manifest import Manifest
    from headstart.data.views import read_views
    from headstart.models.backbone import load_backbone
    from headstart.models.engine import open_engine

    backbone = load_backbone("tf_efficientnet_lite0")
    backbone.module.reset_classifier(0)
    run = open_engine(backbone.module, backbone.spec)
    trash = sorted((shared / "trash6").glob("*/*.jpg"))[::8]
    dogs = sorted((shared / "dogs120" / "train").glob("*.jpg"))[::100]
    manifest = Manifest.from_rows([str(path) for path in (*trash, *dogs)])
    views = read_views(manifest, range(len(manifest)), backbone.spec, batch=32, max_pixels=10**8)
    features = np.concatenate([run(np.stack(each.images)) for each in views if each.images])
    assert len(features) == len(trash) + len(dogs)
    inside, outside = features[: len(trash)], features[len(trash) :]
    names = np.array([path.parent.name for path in trash])
    found = fit_novelty(inside[::2], names[::2], inside[1::4])
    assert auroc(found.scores(inside[3::4]), found.scores(outside))["low"] > 0.93
    assert found.strange(outside).mean() > 0.98
    assert found.strange(inside[3::4]).mean() < 0.2
