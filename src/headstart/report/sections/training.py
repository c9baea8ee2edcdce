"""What was tried and trained: trials, other seeds, and curves of the chosen trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.evaluate.schema import EpochRecord, SeedSpread
from headstart.report.collect import ReportData
from headstart.report.formatting import percent
from headstart.report.history import STAGES, one_trial
from headstart.report.svg import FONT_SIZE, GOOD, INK, MUTED, new_axes, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "Training", "curves"]

AXES = {"head": ("l2", "L2 penalty"), "finetune": ("epoch", "epoch")}  # attribute and label of the x axis
MEASURES = {"loss": "Loss", "accuracy": "Accuracy"}
PRIORS = {
    "pretrained": "towards the pretrained head",
    "discriminant": "towards discriminant analysis",
    "joint discriminant": "towards joint discriminant analysis",
}
CURVE_HEIGHT = 232  # pixels

Points = list[tuple[float, float]]


class Training:
    """Three tables and figures; each is left out where the run has nothing for it."""

    name = "training"
    title = "Training"
    template = """\
{% if trials %}
<h3>Trials</h3>
<div class="scroll" tabindex="0" role="region" aria-label="Trials">
<table class="trials"><caption class="hidden">Trials</caption>
<thead><tr><th scope="col">Trained</th><th scope="col" class="wide">Validation accuracy, 95&#8239;% interval</th>
<th scope="col">Accuracy</th><th scope="col">Log loss</th><th scope="col">Seconds</th><th scope="col"></th></tr></thead>
<tbody>
{% for row in trials %}
<tr{% if row.chosen %} class="chosen"{% endif %}><th scope="row">{{ row.name|name }}</th>
<td class="wide"><span class="hidden">{{ row.accuracy.low|percent }} to {{ row.accuracy.high|percent }}</span>
{{ gauge(row.accuracy) }}</td>
<td>{{ row.accuracy.value|percent }}</td><td>{{ '%.4f' % row.log_loss }}</td><td>{{ '%.1f' % row.seconds }}</td>
<td class="note-of">{% if row.chosen %}<b>chosen</b>{{ '; ' if row.note }}{% endif %}{{ row.note }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
{% if seeds %}
<h3>Other seeds</h3>
<p>The same fit with several seeds: the variation due to chance.</p>
<table class="seeds"><caption class="hidden">Other seeds</caption>
<thead><tr><th scope="col">Seed</th><th scope="col">Accuracy</th><th scope="col">Log loss</th></tr></thead><tbody>
{% for seed, accuracy, loss in seeds.rows %}
<tr><th scope="row">{{ seed }}</th><td>{{ accuracy|percent }}</td><td>{{ '%.4f' % loss }}</td></tr>
{% endfor %}
<tr><th scope="row"><b>mean</b> ± standard deviation</th>
<td><b>{{ seeds.accuracy[0]|percent }}</b> ± {{ seeds.accuracy[1]|percent(2) }}</td>
<td><b>{{ '%.4f' % seeds.log_loss[0] }}</b> ± {{ '%.4f' % seeds.log_loss[1] }}</td></tr>
</tbody></table>
{% endif %}
{% if curves %}
{% if trials or seeds %}<h3>Curves</h3>
{% endif %}
<p>Training: on the images that the model is trained on. Validation: on images that it is not trained on.</p>
<div class="curves">
{% for curve in curves %}
<figure><figcaption><b>{{ curve.title }}</b> by {{ curve.axis }}
{%- if curve.stage == 'head' %}, head only{% elif curve.trial %}, {{ curve.trial }}{% endif %}</figcaption>
{{ curve.svg|safe }}</figure>
{% endfor %}
</div>
{% if chosen %}
<p class="quiet">The ring marks what was chosen:{% for text in chosen %} {{ text }}{{ ',' if not loop.last else '.' }}
{%- endfor %}</p>
{% endif %}
{% if not_shown %}
<p class="quiet">Not shown, but in history.jsonl: {{ not_shown|join(', ') }}.</p>
{% endif %}
{% else %}
<p class="quiet">This run has no training history.</p>
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Choose the trial to draw, and draw its curves."""
        trials, history = data.evaluation.trials, data.run.history
        drawn = one_trial(history, next((row.name for row in trials if row.chosen), None))
        return {
            "trials": trials,
            "seeds": _seed_table(data.evaluation.seeds),
            "curves": curves(drawn),
            "chosen": [_chosen(row) for row in drawn if row.chosen],
            "not_shown": _not_shown(history, drawn),
        }


@dataclass(frozen=True)
class Curve:
    """One figure of the training history."""

    stage: str
    title: str
    axis: str
    svg: str
    trial: str = ""


def curves(history: Sequence[EpochRecord]) -> list[Curve]:
    """Draw loss and accuracy of each stage of one trial; what has no finite values is left out."""
    history = one_trial(history)
    found = []
    for stage in STAGES:
        key, axis = AXES[stage]
        rows = _same_head([row for row in history if row.stage == stage])
        for measure, title in MEASURES.items():
            points = {name: _points(rows, key, name) for name in (measure, f"val_{measure}")}
            if any(points.values()):
                chosen = [x for row in rows if row.chosen and _finite(x := getattr(row, key))]
                svg = _curve(points, measure, stage=stage, chosen=chosen[-1] if chosen else None)
                found.append(Curve(stage, title, axis, svg, rows[0].trial))
    return found


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _points(rows: Sequence[EpochRecord], key: str, name: str) -> Points:
    """Return the finite points, sorted by x; a penalty of 0 does not fit on a logarithmic axis."""
    both = [(getattr(row, key), getattr(row, name)) for row in rows]
    return sorted((x, y) for x, y in both if _finite(x) and _finite(y) and (key != "l2" or x > 0))


def _same_head(rows: list[EpochRecord]) -> list[EpochRecord]:
    """The rows of the chosen prior and features, if one is chosen: the penalties of each are a curve of their own."""

    def kind(row: EpochRecord) -> tuple[str | None, ...]:
        return row.prior, row.stages, row.kernel

    chosen = next((kind(row) for row in rows if row.chosen), None)
    return [row for row in rows if chosen is None or kind(row) == chosen]


def _curve(points: dict[str, Points], measure: str, *, stage: str, chosen: float | None) -> str:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = new_figure(520, 280)
    axes = new_axes(figure, (52, 12, 380, CURVE_HEIGHT))
    for name, line in points.items():
        validation = name.startswith("val_")
        _line(axes, line, color=GOOD if validation else MUTED, chosen=chosen if validation else None)
    axes.margins(x=0.02, y=0.08)
    _x_axis(axes, stage, {x for line in points.values() for x, _ in line})
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    text = (lambda y, _: f"{100 * y:.3g} %") if measure == "accuracy" else (lambda y, _: f"{y:.3g}")
    axes.yaxis.set_major_formatter(FuncFormatter(text))
    _end_labels(axes, points)
    return to_svg(figure, key=f"{stage}-{measure}", title=f"{MEASURES[measure]} by {AXES[stage][1]}")


def _x_axis(axes: Axes, stage: str, values: set[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    if stage == "head":
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        # matplotlib would draw powers of ten in its own fonts.
        power = FuncFormatter(lambda x, _: f"{x:g}" if x >= 0.01 else f"{x:.0e}".replace("e-0", "e-"))
        axes.xaxis.set_major_formatter(power)
    elif len(values) > 8:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    else:
        axes.set_xticks(sorted(values), [f"{x:g}" for x in sorted(values)])


def _line(axes: Axes, line: Points, *, color: str, chosen: float | None) -> None:
    marker = "o" if len(line) < 25 else ""
    axes.plot([x for x, _ in line], [y for _, y in line], color=color, linewidth=2, marker=marker, markersize=4)
    for x, y in line:
        if x == chosen:
            axes.plot([x], [y], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.5)


def _end_labels(axes: Axes, points: dict[str, Points]) -> None:
    """Label each line at its right end; labels that would overlap are moved apart."""
    ends = sorted((line[-1][1], name) for name, line in points.items() if line)
    low, high = axes.get_ylim()
    height = CURVE_HEIGHT / (high - low)  # pixels per unit
    gap = (ends[1][0] - ends[0][0]) * height if len(ends) == 2 else math.inf
    push = max(0.0, (FONT_SIZE + 4 - gap) / 2)
    for (y, name), direction in zip(ends, (-1, 1), strict=False):
        validation = name.startswith("val_")
        axes.annotate(
            "validation" if validation else "training",
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, direction * push),
            textcoords="offset pixels",
            color=GOOD if validation else MUTED,
            fontsize=FONT_SIZE,
            va="center",
        )


def _chosen(row: EpochRecord) -> str:
    name = f"epoch {row.epoch}" if row.l2 is None else f"L2 penalty {row.l2:.3g}"
    prior = f" {PRIORS[row.prior]}" if row.prior in PRIORS else ""
    stages = f" with stages {row.stages}" if row.stages not in (None, "none") else ""
    kernel = f" and kernel {row.kernel}" if row.kernel else ""
    return f"{name}{prior}{stages}{kernel} (validation loss {row.val_loss:.4f}, accuracy {percent(row.val_accuracy)})"


def _not_shown(history: Sequence[EpochRecord], drawn: Sequence[EpochRecord]) -> list[str]:
    """Return the trials without a curve, in the order of the history."""
    shown = {(row.stage, row.trial) for row in drawn}
    return list(dict.fromkeys(row.trial or row.stage for row in history if (row.stage, row.trial) not in shown))


def _seed_table(seeds: SeedSpread | None) -> dict[str, object] | None:
    if seeds is None or not seeds.seeds:
        return None
    losses = seeds.log_loss
    spread = float(np.std(losses, ddof=1)) if len(losses) > 1 else 0.0
    return {
        "rows": list(zip(seeds.seeds, seeds.accuracy, losses, strict=True)),
        "accuracy": (seeds.mean, seeds.sd),
        "log_loss": (float(np.mean(losses)), spread),
    }
