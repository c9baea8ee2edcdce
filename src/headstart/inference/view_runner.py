"""Views of images that arrive a few at a time: run alone, or in batches of one size, whichever takes less time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.config import EngineSettings
from headstart.execution import available_cores
from headstart.inference.engine import computes_on
from headstart.inference.pipeline import InferencePipeline
from headstart.inference.results import InferenceResult, concatenate_results

__all__ = ["ViewRunner"]

_MAX_ALONE = 3
"""On a CPU a batch is computed in full, however few images are in it: up to so many are faster one after the other."""


@dataclass(frozen=True)
class ViewRunner:
    """Runs a pipeline on 1 to ``batch_size`` views; engines are opened at the first call and kept.

    A view has the same result, but for rounding, in whatever company it runs.
    """

    pipeline: InferencePipeline
    settings: EngineSettings

    @cached_property
    def batch_size(self) -> int:
        """The most views that run at once: 4 per core of a CPU, from 8 to 32, or 32 on a GPU."""
        if self.settings.extract_batch_size is not None:
            return self.settings.extract_batch_size
        return min(max(8, 4 * available_cores()), 32) if self._on_cpu else 32

    @cached_property
    def _on_cpu(self) -> bool:
        return computes_on(self.pipeline.parts.prefix, self.settings.device) == "cpu"

    def __call__(self, views: NDArray[np.uint8]) -> InferenceResult:
        """Probabilities, prediction sets and out-of-distribution scores of the views, (B, H, W, 3), B at least 1.

        :raises SettingsError: a setting is invalid, or the device, engine or precision is not available.
        """
        if self._on_cpu and len(views) <= _MAX_ALONE:
            alone = replace(self.settings, extract_batch_size=1)
            results = [self.pipeline.infer_views(view[None], settings=alone) for view in views]
            return results[0] if len(results) == 1 else concatenate_results(results)
        together = replace(self.settings, extract_batch_size=self.batch_size)
        return self.pipeline.infer_views(views, settings=together)
