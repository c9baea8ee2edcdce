"""``--model auto``: the most accurate of the recommended networks that this machine runs over the images in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from headstart.config import QUALITIES, FitSettings, parse_duration
from headstart.data.download import hub_is_reachable
from headstart.errors import HeadstartError
from headstart.events import Events
from headstart.inference.engine import choose_batch_size, choose_device, open_engine
from headstart.models import weights
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.recommended import FASTEST, Recommendation, recommendations

__all__ = ["AUTO", "choose_model", "recommended_lines"]

AUTO = "auto"
_SHARE = 0.5  # of the budget that the frozen pass over the images may take; training needs the rest
_TIMED_BATCHES = 3


def choose_model(settings: FitSettings, images: int, *, events: Events) -> FitSettings:
    """The settings with the name of a network in place of "auto".

    The most accurate recommended network is taken whose frozen pass is expected to take at most half of the budget.
    Weights that are not on this machine are downloaded; where that fails, the next network is taken.

    :param images: how many the fit is given.
    """
    if settings.model != AUTO:
        return settings
    device = choose_device(settings.device)
    found = recommendations(device)
    fastest_pass = seconds_per_image(device, settings.engine) * images * (2 if settings.tta_flip else 1)

    def seconds(each: Recommendation) -> float:
        return each.relative_time * fastest_pass

    limit = _SHARE * parse_duration(settings.budget)
    affordable = [each for each in found if seconds(each) <= limit] or found[:1]
    chosen = next(_available(affordable[::-1], events), found[0])
    text = f"model auto: {_described(chosen)}; about {seconds(chosen):,.0f} s for the frozen pass"
    slower = [each for each in found if each.accuracy > affordable[-1].accuracy]
    if slower:
        text += (
            f"; {slower[0].name} ({slower[0].accuracy:.1f} %) would take about {seconds(slower[0]):,.0f} s, more than "
            f"half of --budget {settings.budget}"
        )
    events.notice(text)
    return replace(settings, model=chosen.name)


def seconds_per_image(device: str, engine: str = "auto") -> float:
    """Seconds per image that the frozen part of the fastest recommended network takes on this machine, measured.

    Weights do not matter for that, so that they are random.
    """
    backbone = load_backbone(FASTEST, weights_file="random")
    size = choose_batch_size(None, device)
    prefix = cut(backbone.module, "head", input_shape=backbone.input_shape).prefix
    run = open_engine(prefix, backbone.spec, batch_size=size, device=device, engine=engine)
    batch = np.zeros((size, backbone.spec.height, backbone.spec.width, 3), np.uint8)
    run(batch)  # the first run is slower
    times = []
    for _ in range(_TIMED_BATCHES):
        start = time.perf_counter()
        run(batch)
        times.append((time.perf_counter() - start) / size)
    return min(times)


def _available(wanted: list[Recommendation], events: Events) -> Iterator[Recommendation]:
    """Those whose weights are on this machine, or come to it now."""
    offline = False
    for each in wanted:
        if each.location == "here":
            yield each
        elif each.location == "hub" and not offline:
            if not hub_is_reachable():
                offline = True
                events.warn(
                    "the Hugging Face Hub cannot be reached: --model auto chooses among the networks whose weights are "
                    f"on this machine; {each.name} ({each.accuracy:.1f} % on ImageNet) would be tried otherwise"
                )
                continue
            try:
                weights.load_weights(each.name, None)
            except HeadstartError as failure:
                events.warn(f"{each.name} is not taken, since its weights cannot be loaded: {failure}")
            else:
                yield each


def _described(each: Recommendation) -> str:
    return f"{each.name} ({each.accuracy:.1f} % on ImageNet, licence {each.licence})"


def recommended_lines(device: str) -> list[str]:
    """A table of the recommended networks on this machine, and what each ``--quality`` stands for."""
    device = choose_device(device)
    found, fastest = recommendations(device), seconds_per_image(device)
    width = max(len(each.name) for each in found)
    lines = [f"{'model':{width}}  top-1  ms here  weights  licence"]
    for each in found:
        speed = f"{1000 * each.relative_time * fastest:7.1f}"
        lines.append(f"{each.name:{width}}  {each.accuracy:5.1f}  {speed}  {each.location:7}  {each.licence}")
    lines.append(
        "top-1: published ImageNet accuracy in percent; ms here: per image of the network alone, the first one "
        "measured, the others by published ratios (sources: headstart/models/recommended.py)"
    )
    for name, values in QUALITIES.items():
        options = (_as_option(setting, value) for setting, value in values.items())
        lines.append(f"--quality {name}: {' '.join(options)}")
    return lines


def _as_option(setting: str, value: object) -> str:
    flag = f"--{setting.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"
