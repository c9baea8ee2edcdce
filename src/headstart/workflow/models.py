"""Lists of pretrained networks and layer summaries, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.errors import ModelError
from headstart.models import catalog, weights
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.published import published_results
from headstart.models.summary import summarize

__all__ = ["list_models", "summarize_model"]


def list_models(pattern: str) -> Iterator[str]:
    """Yield a table of the models that match a shell pattern.

    Each line has the parameters, input size, classes, published accuracy, location of the weights and licence.

    :raises ModelError: no model matches.
    """
    found = list(catalog.list_models(pattern))
    if not found:
        raise ModelError(f'no model matches {pattern!r}; use a shell pattern, for example "mobilenet*"')
    width = max(len(info.name) for info in found)
    yield f"{'model':{width}}      params      input  classes  top-1  top-5     V2  weights  licence"
    for info in found:
        size, results = f"{info.spec.height}x{info.spec.width}", published_results(info)
        accuracies = "  ".join(_percent(each) for each in (results.top1, results.top5, results.v2_top1))
        parameters = "-" if results.parameters is None else f"{results.parameters:,.2f} M"
        line = f"{info.name:{width}}  {parameters:>10}  {size:>9}  {info.classes:>7}  {accuracies}"
        yield f"{line}  {weights.location(info):7}  {info.licence}"
    yield (
        "top-1, top-5: published ImageNet accuracy in percent; V2: top-1 on ImageNetV2; of exactly the weights that "
        "the name loads (sources: headstart/models/published.csv)"
    )


def summarize_model(model: str, *, weights_file: str | None, train: str, classes: int | None) -> list[str]:
    """Return a table of the layers of a model, with the cut for ``train``, and how its file was read.

    :param classes: size of a new head; None for the pretrained head.
    """
    backbone = load_backbone(model, weights_file=weights_file)
    network, spec = backbone.module, backbone.spec
    if classes is not None:
        network.reset_classifier(classes)  # type: ignore[operator]
    table = summarize(network, cut(network, train, input_shape=backbone.input_shape), spec).lines()
    return [*table, *backbone.reading()]


def _percent(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.1f'):>5}"
