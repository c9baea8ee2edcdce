"""Out-of-distribution detection: distances against plain algebra, the inlier rate, and real images."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.metrics import roc_auc_score

from headstart.documents import decode, encode
from headstart.errors import DataError, RunError
from headstart.evaluate import OODDetector, auroc, fit_ood_detector, ood_fit_rows, ood_metrics
from headstart.evaluate.out_of_distribution import _shrinkage
from headstart.evaluate.schema import OutOfDistributionMetrics


def sample_features(images, classes=4, dimension=30, seed=0):
    """Features of well separated classes, with a few directions of large variance."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    spread = rng.normal(size=(images, 3)) @ np.random.default_rng(99).normal(size=(3, dimension))
    centers = 5 * np.random.default_rng(98).normal(size=(classes, dimension))
    return centers[targets] + spread + 0.5 * rng.normal(size=(images, dimension)), targets


def test_the_score_is_the_mahalanobis_distance():
    features, targets = sample_features(2000)
    found = fit_ood_detector(features, targets, features, directions=29)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([unit[targets == target].mean(axis=0) for target in range(4)])
    inverse = np.linalg.inv(np.cov(unit - means[targets], rowvar=False, ddof=4, bias=False))
    apart = unit[:, None] - means  # (N, K, D)
    expected = np.einsum("nkd,de,nke->nk", apart, inverse, apart).min(axis=1) / 30
    assert found.scores(features) == pytest.approx(expected, rel=0.1)  # because of the shrinkage


@pytest.mark.parametrize(("images", "dimension"), [(2, 5), (20, 50), (500, 30), (3, 1)])
def test_shrinkage_matches_scikit_learn(images, dimension):
    spread = (np.random.default_rng(0).normal(size=(images, dimension)) * np.arange(1, dimension + 1)).astype(
        np.float32
    )
    theirs = ledoit_wolf_shrinkage(spread.astype(np.float64), assume_centered=True)
    assert _shrinkage(spread, spread.T @ spread) == pytest.approx(theirs if dimension > 1 else 1, rel=1e-4)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_scores_are_finite_for_any_features(images, classes, dimension, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(images, dimension)) * (rng.random(dimension) < 0.7)
    found = fit_ood_detector(features, rng.integers(0, classes, images), features)
    scores = found.scores(rng.normal(size=(50, dimension)))
    assert np.isfinite(scores).all()
    assert (scores > -1e-3).all()
    assert np.isfinite(found.threshold)


def test_equal_images_and_one_image_per_class():
    same = fit_ood_detector(np.ones((6, 4)), [0, 0, 0, 1, 1, 1], np.ones((3, 4)))
    assert same.flag([[1, 1, 1, 1], [1, -1, 0, 0]]).tolist() == [False, True]
    single = fit_ood_detector(np.eye(3), [0, 1, 2], np.eye(3) + 0.1)
    assert single.flag([[1, 0, 0], [-1, -1, -1]]).tolist() == [False, True]


def test_scores_do_not_depend_on_the_length_of_features():
    features, targets = sample_features(200)
    found = fit_ood_detector(features, targets, features)
    assert found.scores(features * 7) == pytest.approx(found.scores(features), rel=1e-4)
    assert np.isfinite(found.scores(np.zeros((1, 30)))).all()


def test_rows_of_many_images_are_balanced():
    targets = np.repeat([0, 1, 2], [9000, 5, 9000])
    rows = ood_fit_rows(targets, seed=1)
    assert np.bincount(targets[rows]).tolist() == [3333, 5, 3333]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, ood_fit_rows(targets, seed=2))
    assert np.bincount(np.arange(40_000)[ood_fit_rows(np.arange(40_000) % 1000)] % 1000).tolist() == [20] * 1000


def test_the_inlier_rate_is_reached_on_average():
    """The mean over draws is between 0.9 and 0.9 + 1/(M + 1)."""
    shares = []
    for seed in range(200):
        features, targets = sample_features(200, seed=seed)
        found = fit_ood_detector(features[:60], targets[:60], features[60:100], inlier_rate=0.9)
        shares.append(1 - found.flag(features[100:]).mean())
    error = np.std(shares) / np.sqrt(len(shares))
    assert 0.9 - 4 * error < np.mean(shares) < 0.9 + 1 / 41 + 4 * error


def test_the_threshold_of_few_held_out_images_is_their_largest_score():
    features, targets = sample_features(100)
    found = fit_ood_detector(features[:95], targets[:95], features[95:])
    assert found.threshold == found.scores(features[95:]).max()


def test_arrays_round_trip(tmp_path):
    features, targets = sample_features(300)
    found = fit_ood_detector(features, targets, features)
    save_file(found.as_arrays(), tmp_path / "detector.safetensors")
    again = OODDetector.from_arrays(load_file(tmp_path / "detector.safetensors"))
    assert (again.scores(features) == found.scores(features)).all()
    assert (again.threshold, again.inlier_rate) == (found.threshold, found.inlier_rate)


def test_the_size_is_bounded_and_the_fit_is_deterministic():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(11_000, 100)).astype(np.float32), rng.integers(0, 7, 11_000)
    one, other = (fit_ood_detector(features, targets, features[:50]) for _ in range(2))
    assert one.means.shape == (7, 100)
    assert one.directions.shape == (64, 100)
    assert (one.scores(features[:20]) == other.scores(features[:20])).all()


def test_damaged_arrays_are_refused():
    features, targets = sample_features(50)
    arrays = fit_ood_detector(features, targets, features).as_arrays()
    with pytest.raises(RunError, match=r"^OOD detector: damaged: gains missing. Fit the classifier again.$"):
        OODDetector.from_arrays({name: array for name, array in arrays.items() if name != "gains"})
    with pytest.raises(RunError, match=r"^OOD detector: damaged: inconsistent shapes: means \(4, 30\), dir"):
        OODDetector.from_arrays(arrays | {"directions": arrays["directions"][:, :3]})


def test_invalid_input_is_refused():
    features, targets = sample_features(50)
    found = fit_ood_detector(features, targets, features)
    with pytest.raises(DataError, match=r"^features must have the shape \(images, 30\), got \(50, 4\).$"):
        found.scores(features[:, :4])
    with pytest.raises(DataError, match=r"^features must be finite. "):
        found.scores(features * np.nan)
    with pytest.raises(
        DataError, match=r"^targets must have the shape \(50,\), one per image and at least one, got \(4,"
    ):
        fit_ood_detector(features, targets[:4], features)
    with pytest.raises(DataError, match=r"^held_out must have at least one image"):
        fit_ood_detector(features, targets, features[:0])


def test_metrics_count_all_images():
    scores = np.random.default_rng(0).normal(size=400) + 5
    section = ood_metrics(scores, threshold=6.6, cross_fitted=True)
    read = decode(OutOfDistributionMetrics, json.loads(json.dumps(encode(section), allow_nan=False)), "json")
    assert read == section
    assert section.flagged.value == pytest.approx(0.05, abs=0.02)
    assert sum(bar.images for bar in section.histogram) == 400
    plain = ood_metrics(scores, threshold=6.6, cross_fitted=False)
    assert plain.flagged.value == (scores > 6.6).mean()
    assert ood_metrics(np.ones(1), threshold=1.0, cross_fitted=True).flagged.value == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_auroc_matches_scikit_learn(inside, outside):
    found = auroc(inside, outside)
    expected = roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside)
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 1e-9


def test_the_interval_of_auroc_has_95_percent_coverage():
    from scipy.stats import norm

    truth, rng = norm.cdf(1 / np.sqrt(2)), np.random.default_rng(0)
    found = [auroc(rng.normal(size=60), rng.normal(size=40) + 1) for _ in range(400)]
    held = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.92 < held < 0.98


def test_auroc_of_separated_scores_has_an_interval():
    found = auroc(np.arange(40), np.arange(40) + 100)
    assert found.value == found.high == 1
    assert 0.9 < found.low < 0.95
    with pytest.raises(DataError, match=r"^auroc needs at least one score"):
        auroc([], [1.0])


@pytest.mark.shared
def test_dogs_are_out_of_distribution_for_trash(shared, one_thread):
    """Real images through the embedded network: the AUROC is 1.000 on 1,500 images and on 150."""
    from headstart.data.manifest import Manifest
    from headstart.data.views import read_views
    from headstart.inference.engine import open_engine
    from headstart.models.backbone import load_backbone

    backbone = load_backbone("tf_efficientnet_lite0")
    backbone.module.reset_classifier(0)
    run = open_engine(backbone.module, backbone.spec)
    trash = sorted((shared / "trash6").glob("*/*.jpg"))[::8]
    dogs = sorted((shared / "dogs120" / "train").glob("*.jpg"))[::100]
    manifest = Manifest.from_rows([str(path) for path in (*trash, *dogs)])
    views = read_views(manifest, range(len(manifest)), backbone.spec, batch_size=32, max_pixels=10**8)
    features = np.concatenate([run(np.stack(each.images)) for each in views if each.images])
    assert len(features) == len(trash) + len(dogs)
    inside, outside = features[: len(trash)], features[len(trash) :]
    names = np.array([path.parent.name for path in trash])
    found = fit_ood_detector(inside[::2], names[::2], inside[1::4])
    assert auroc(found.scores(inside[3::4]), found.scores(outside)).low > 0.93
    assert found.flag(outside).mean() > 0.98
    assert found.flag(inside[3::4]).mean() < 0.2
