"""Whether a GPU computes the same features each time, bit for bit, while all that could disturb it happens.

A section of gpu_extraction.py. The reference is computed with the whole device synchronized around every step, and
without a recorded network. Then engines are opened one after the other; while each computes, a thread looks at all
stacks, garbage is collected, and freed memory of the GPU is filled with values that are no numbers. A row that differs
used memory before it was written, or after it was freed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import torch
from benchmarks.harness import Figures
from benchmarks.speed.sampled import shares_of_threads

from headstart.config import FitSettings
from headstart.data.device_decoder import DeviceDecoder
from headstart.data.readers import view_reader
from headstart.inference import cuda_graph
from headstart.inference.engine import Engine, open_engine
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut

if TYPE_CHECKING:
    from benchmarks.speed.gpu_extraction import Work

IMAGES = 6000
PILLOW_IMAGES = 1500
MOST_SECONDS = 70
RECORDED = "headstart.inference.engine._MIN_RECORDED"
KIND = "headstart.data.device_views.default_kind"
NEVER = 1 << 30

_EACH = 40
_SIZES = (1 << 6, 1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22)  # floats


def stress(work: Work) -> Figures:
    """Rows that differ from the reference, from the first repetition, and that are not finite; by configuration."""
    start, table = time.monotonic(), list[str]()
    found: Figures = {"rows": table}
    shape = (3, work.spec.height, work.spec.width)
    backbone = load_backbone(work.backbone.name).with_new_head(
        24, seed=0, initialization=FitSettings.head_init, stages=True
    )
    for decoder, count in ((work.decoder, IMAGES), ("pillow", PILLOW_IMAGES)):
        rows = range(min(count, len(work.manifest)))
        for name in ("head", "last:1"):
            prefix = cut(backbone.module, name, input_shape=shape).prefix
            with patch(RECORDED, NEVER):
                reference = _reference(work, decoder, rows, _engine(work, prefix))
            for graph in (True, False):
                with patch(RECORDED, 64 if graph else NEVER):
                    run = _engine(work, prefix)  # the one before it is garbage now
                first = None
                for kind in ("threads", "threads", "processes")[: 1 if decoder == "pillow" else 3 if graph else 2]:
                    if time.monotonic() - start > MOST_SECONDS:
                        return found | {"ended": f"after {MOST_SECONDS} s"}
                    began = time.monotonic()
                    features = _disturbed(work, decoder, rows, run, kind)
                    first = features if first is None else first
                    table.append(
                        f"{decoder:12} {name:7} {'graph' if graph else 'eager'} {kind:10}"
                        f" rows unlike reference {_differing(features, reference):5}"
                        f" unlike first {_differing(features, first):5}"
                        f" not finite {int((~np.isfinite(features)).any(1).sum()):5}"
                        f" of {len(rows)}, {time.monotonic() - began:.1f} s"
                    )
                    print(table[-1], flush=True)
                del run
    return found


def cause(work: Work) -> Figures:
    """What happens where nothing but the graph refers to the weights, as it once was: most rows should be wrong."""
    shape, rows = (3, work.spec.height, work.spec.width), range(min(IMAGES, len(work.manifest)))
    prefix = cut(load_backbone(work.backbone.name).module, "head", input_shape=shape).prefix
    with patch(RECORDED, NEVER):
        reference = _reference(work, work.decoder, rows, _engine(work, prefix))
    kept = cuda_graph._Recording
    with patch.object(cuda_graph, "_Recording", lambda _, *rest: kept(None, *rest)):  # type: ignore[arg-type]
        run = _engine(work, prefix)
    gc.collect()
    features = _disturbed(work, work.decoder, rows, run, "threads")
    return {
        "rows": len(rows),
        "unlike reference": _differing(features, reference),
        "not finite": int((~np.isfinite(features)).any(1).sum()),
    }


def _engine(work: Work, prefix: torch.nn.Module) -> Engine:
    return open_engine(prefix, work.spec, batch_size=work.batch, device=work.device, engine="torch")


def _reference(work: Work, decoder: str, rows: Sequence[int], run: Engine) -> np.ndarray:
    """Each step after the one before it, in the whole device."""
    synchronize = torch.cuda.synchronize if work.device == "cuda" else _nothing
    with ExitStack() as stack:
        stack.enter_context(patch("headstart.data.device_decoder._wait", lambda _: synchronize()))
        stack.enter_context(patch.object(DeviceDecoder, "finish", lambda _: synchronize()))
        stack.enter_context(patch("headstart.data.device_views._AHEAD", 1))
        parts = []
        with closing(_batches(work, decoder, rows)) as batches:
            for batch in batches:
                images = np.array(torch.as_tensor(batch.stacked()).cpu())
                synchronize()
                parts.append(run(images).reshape(len(images), -1))
                synchronize()
    return np.concatenate(parts)


def _disturbed(work: Work, decoder: str, rows: Sequence[int], run: Engine, kind: str) -> np.ndarray:
    parts: list[np.ndarray] = []

    def compute() -> None:
        with closing(_batches(work, decoder, rows)) as batches:
            for number, batch in enumerate(batches):
                if number % 8 == 0:
                    gc.collect()
                if work.device == "cuda":  # to be freed at once, and used next
                    _ = [torch.full((size,), torch.nan, device="cuda") for size in _SIZES for _ in range(_EACH)]
                    del _
                parts.append(run(batch.stacked()).reshape(len(batch.rows), -1))

    with patch(KIND, lambda *_: kind):
        shares_of_threads(compute)
    return np.concatenate(parts)


def _batches(work: Work, decoder: str, rows: Sequence[int]):  # type: ignore[no-untyped-def]  # a generator of views
    return view_reader(decoder)(
        work.manifest, rows, work.spec, batch_size=work.batch, max_pixels=FitSettings.max_pixels
    )


def _differing(features: np.ndarray, other: np.ndarray) -> int:
    return len(features) if features.shape != other.shape else int((features != other).any(1).sum())


def _nothing() -> None:
    """A processor has done what was asked of it."""
