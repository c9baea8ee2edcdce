"""The model card of a run: ``README.md``, as the Hugging Face Hub shows it, with its block of metadata. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from jinja2 import Environment, PackageLoader, StrictUndefined

from headstart.artifacts.model_document import ModelDocument, read_model_document
from headstart.artifacts.run_folder import CARD_MARKER, Run
from headstart.evaluate.schema import PRETRAINED_ON, Interval
from headstart.report.formatting import percent
from headstart.report.sections.metrics import METRICS, PERCENTAGES
from headstart.report.usage import name_for_user, usage_snippets

__all__ = ["markdown", "model_card"]

_SHOWN = 30  # names of classes
_FEW = 20  # images; with fewer, the interval of a recall is wider than 40 points
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~!&$:@]")
# Of the licenses of pretrained weights, those that the hub knows; others have a name of their own there.
_KNOWN_LICENSES = (
    *("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "openrail", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-sa-4.0", "cc0-1.0"),
)
_HUB_METRICS = {"top1": "accuracy", "macro_f1": "f1", "brier": "brier_score"}


def model_card(run: Run, *, name: str | None = None) -> str | None:
    """The text of the model card; None for a run without a classifier, as an evaluation is.

    :param name: by which the classifier is opened, for example ``hf:OWNER/NAME``; by default that of the folder.
    :raises RunError: the document of the classifier is damaged.
    """
    path = run.folder / "classifier" / "model.json"
    if run.info.command != "fit" or not path.is_file():
        return None
    document, evaluation = read_model_document(path), run.evaluation
    sets, summary = evaluation.prediction_sets, evaluation.summary
    snippets = usage_snippets(name or name_for_user(run.folder), coverage=None if sets is None else sets.coverage)
    small = [each.name for each in evaluation.per_class if each.images < _FEW]
    about_pretraining = [note for note in evaluation.notes if PRETRAINED_ON in note]
    return (
        _environment()
        .get_template("model_card.md.jinja")
        .render(
            metadata=_metadata(run, document),
            marker=CARD_MARKER,
            name=run.name,
            classes=evaluation.classes,
            shown=_SHOWN,
            trained=_trained(document),
            headstart=document.headstart,
            created=run.info.created[:10],
            evaluation=evaluation,
            snippets=snippets,
            data=_data_name(run),
            splits=[(split, images) for split, images in (summary.images if summary else {}).items() if images],
            problems=summary.problems if summary else 0,
            metrics=list(_figures(run)),
            notes=[note for note in evaluation.notes if note not in about_pretraining],
            calibration=evaluation.calibration,
            sets=sets,
            ood=evaluation.out_of_distribution,
            small=small[:_SHOWN],
            more_small=len(small[_SHOWN:]),
            few=_FEW,
            contamination=" ".join(about_pretraining) or _NOT_KNOWN,
            model=document.model,
            source=_source(document),
            licence=document.metadata.licence,
        )
    )


_NOT_KNOWN = (
    "No class has the name of a class that the network was pretrained on. Whether images of this data set were among "
    "those of the pretraining was not tested; if they were, the figures are optimistic."
)


def markdown(text: str) -> str:
    r"""A text as Markdown that shows it as it is: no markup, HTML, link, mention or second line.

    >>> markdown("a|b <i>*c*</i>\n# d")
    'a\\|b \\<i\\>\\*c\\*\\</i\\> \\# d'
    """
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def _environment() -> Environment:
    # Without the escapes of HTML: the text is Markdown, for which the filter md escapes.
    loader = PackageLoader("headstart.report", "")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        md=markdown, count="{:,}".format, percent=lambda *given: percent(*given).replace("\u202f", " ")
    )
    return environment


def _trained(document: ModelDocument) -> str:
    what = "its head was" if document.train == "head" else f"its head and deeper layers ({document.train}) were"
    return f"The network is {markdown(document.model)}; {markdown(what)} trained on these classes."


def _data_name(run: Run) -> str:
    """The name of the data set, without the folders of this machine."""
    description = run.info.data
    if description is None:
        return "arrays in memory"
    return f"{os.path.basename(description.root.rstrip('/')) or 'images'} ({description.source})"  # noqa: PTH119 - a URI


def _source(document: ModelDocument) -> str:
    """Where the weights came from; of a file of this machine, only the name."""
    source = document.metadata.source
    return f"the file {os.path.basename(source)}" if os.path.isabs(source) else source  # noqa: PTH117, PTH119


def _figures(run: Run) -> Iterator[dict[str, str]]:
    names = {"top1": "Accuracy", **{key: name for key, (name, _) in METRICS.items()}}
    for key, name in names.items():
        interval: Interval | None = getattr(run.evaluation, key)
        if interval is not None:
            values = {each: getattr(interval, each) for each in ("value", "low", "high")}
            share = key in ("top1", *PERCENTAGES)
            yield {
                "name": name,
                **{each: f"{100 * value:.1f} %" if share else f"{value:.3f}" for each, value in values.items()},
            }


def _metadata(run: Run, document: ModelDocument) -> str:
    """The block of metadata that the hub reads, as YAML."""
    from huggingface_hub.repocard_data import EvalResult, ModelCardData

    licence = document.metadata.licence
    known = licence in _KNOWN_LICENSES
    source, slug = document.metadata.source, re.sub(r"[^a-z0-9.-]+", "-", licence.lower()).strip("-")
    name = run.name.encode(errors="backslashreplace").decode()
    data = _data_name(run).encode(errors="backslashreplace").decode()
    results = []
    for key, metric in _HUB_METRICS.items():
        found: Interval = getattr(run.evaluation, key)
        results.append(
            EvalResult(
                task_type="image-classification",
                dataset_type="imagefolder",
                dataset_name=data,
                dataset_split=run.evaluation.split,
                metric_type=metric,
                metric_name=f"{metric}, 95 % interval {found.low:.4f} to {found.high:.4f}",
                metric_value=round(found.value, 4),
            )
        )
    return ModelCardData(
        license=licence if known else "other",
        license_name=None if known else slug or "unknown",
        base_model=source.removeprefix("hub ") if source.startswith("hub ") else None,
        library_name="headstart",
        pipeline_tag="image-classification",
        tags=["image-classification", "headstart", "timm", "transfer-learning"],
        metrics=list(_HUB_METRICS.values()),
        model_name=name,
        eval_results=results,
    ).to_yaml()
