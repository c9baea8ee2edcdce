"""The features that a head is solved on: in memory, read from the store, or with the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from headstart.events import Events
from headstart.execution.cluster import parse_cluster
from headstart.models.stage_head import stage_head
from headstart.train.heads import LabeledVectors, head_solver
from headstart.train.heads.kernel import MAX_IMAGES
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.sharded import open_sharded
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import FeatureExtractor

__all__ = ["head_vectors"]


@contextmanager
def head_vectors(
    extractor: FeatureExtractor, dataset: Dataset, splits: Sequence[str], *, events: Events | None = None
) -> Iterator[list[LabeledVectors]]:
    """Features and targets of splits, for the length of the block.

    With ``--cluster``, features of a split that take more than 1 GiB
    (:data:`headstart.workflow.extraction.MAX_IN_MEMORY`) stay with its workers. Where they cannot, this process reads
    them from the store as without a cluster, and an event says why.

    :raises ClusterError: the cluster cannot be reached, or failed within the block.
    """
    settings, events = extractor.settings, events or Events()
    loaded = [_vectors(extractor, dataset, split) for split in splits]
    large = not all(isinstance(vectors, Tensor) for vectors, _ in loaded)
    if settings.kernel == "auto" and stage_head(extractor.backbone.module) is not None:
        _tell_of_kernels(len(loaded[0][1]), events, large=large)
    if not large or settings.cluster is None:
        yield loaded
    elif reason := _reason(extractor, dataset):
        events.warn(f"--cluster: the head is solved by this process, which reads the features from disk: {reason}")
        yield loaded
    else:
        events.notice(
            "the features take more than 1 GiB: the head is solved over shards, by the workers of the cluster"
        )
        with open_sharded(parse_cluster(settings.cluster), loaded) as sharded:
            yield sharded


def _tell_of_kernels(train: int, events: Events, *, large: bool) -> None:
    """Say why heads on a kernel are not tried, where they are not."""
    if large:
        events.notice("the features take more than 1 GiB: heads on a kernel, which need them in memory, are left out")
    elif train > MAX_IMAGES:
        events.notice(
            f"with more than {MAX_IMAGES:,} training images, heads on a kernel are left out, since they would take "
            "more than 1 GiB: --kernel rbf:0.2 solves one"
        )


def _reason(extractor: FeatureExtractor, dataset: Dataset) -> str | None:
    """Why workers cannot solve the head; None if they can."""
    solver = extractor.settings.head_solver
    if dataset.cross_validated:
        return "cross-validation selects images one by one; with --validation-share 0.2, workers solve it"
    if extractor.device != "cpu":
        return f"it has a GPU ({extractor.device}), and workers compute on one core each; --device cpu lets them"
    if not isinstance(head_solver(solver), LbfgsSolver):
        return f"--head-solver {solver} does not ask for sums over shards"
    return None


def _vectors(extractor: FeatureExtractor, dataset: Dataset, split: str) -> LabeledVectors:
    targets = torch.from_numpy(dataset.targets(split)).to(extractor.device)
    return extractor.vectors(dataset.split(split)), targets
