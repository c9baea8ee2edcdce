"""From labelled images to a classifier and what it is worth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart import __version__
from headstart.classifier import Classifier, Sets
from headstart.data.manifest import Manifest
from headstart.data.split import VALIDATION, assign_split, last_rows
from headstart.errors import CutError, DataError
from headstart.evaluate import (
    Novelty,
    conformal_threshold,
    evaluate,
    fit_novelty,
    fit_temperature,
    novelty_rows,
    novelty_section,
    scaled,
    scaled_out_of_fold,
    sets_section,
    temperature_section,
)
from headstart.models.backbone import Backbone, load_backbone
from headstart.models.cut import cut
from headstart.models.engine import choose_device, refuse_int8
from headstart.models.names import match
from headstart.progress import Progress
from headstart.scale.memory import held
from headstart.settings import EngineSettings, FitSettings, seconds
from headstart.train.figures import difference
from headstart.train.ladder import DEEPER, best, pays
from headstart.train.outputs import Outputs
from headstart.workflow.checking import inspected
from headstart.workflow.planning import forecast, lines
from headstart.workflow.quantization import cost, sample
from headstart.workflow.rungs import Place, Rung, Rungs

__all__ = ["Fitted", "fit", "plan"]

FEW = 30  # images a class; with fewer, a part to validate on would waste them
TEST = 0.1
TELLING = 1000  # images of a test part; with fewer, its figures say little and training misses them more
LEAST = 50  # images to validate on; with fewer, nothing tells whether training more than the head pays


@dataclass
class Fitted:
    """All that a run folder holds."""

    classifier: Classifier
    settings: FitSettings
    manifest: Manifest  # every image, with its part and its problem
    part: str  # which part was evaluated: "test" where there is one, else "validation", or "train" by folds
    probabilities: NDArray[np.float32]  # of that part's images, in the manifest's order
    evaluation: dict[str, Any]
    history: list[dict[str, Any]]


def fit(manifest: Manifest, settings: FitSettings, *, progress: Progress | None = None) -> Fitted:
    """Make a classifier.

    :param manifest: images with labels; those without a label are left out.
    :raises SettingsError: a setting is wrong; nothing has been done.
    :raises DataError: the images or labels cannot be used as they are.
    :raises ModelError: the network or its weights cannot be had, or cut as asked.
    """
    settings.check()
    progress = progress or Progress()
    with held():
        fitted = _fit(manifest, settings, progress)
        if settings.seeds > 1:
            seeds = range(settings.seed, settings.seed + settings.seeds)
            fitted.evaluation["seeds"] = _spread(fitted, manifest, settings, seeds, progress)
    return fitted


def plan(manifest: Manifest, settings: FitSettings, *, progress: Progress | None = None) -> list[str]:
    """Tell what a fit would take, rung by rung, after a look at some of the images. Raises as :func:`fit` does."""
    settings.check()
    return _prepared(manifest, settings, progress or Progress()).plan()


def _prepared(manifest: Manifest, settings: FitSettings, progress: Progress) -> _Fitting:
    work = _Fitting(settings, progress)
    with work.timed("loading"):
        work.load()
    with work.timed("reading"):
        data = work.split(manifest)
    with work.timed("cutting"):
        work.open(data)
    return work


def _fit(manifest: Manifest, settings: FitSettings, progress: Progress) -> Fitted:
    work = _prepared(manifest, settings, progress)
    work.climb()
    with work.timed("evaluating"):
        return work.finish()


def _spread(
    first: Fitted, manifest: Manifest, settings: FitSettings, seeds: range, progress: Progress
) -> dict[str, Any]:
    """The figures of all seeds: the split, the new head and the order of training differ, the features do not."""
    accuracy, log_loss = [], []
    for seed in seeds:
        found = first if seed == settings.seed else _fit(manifest, replace(settings, seed=seed, seeds=1), progress)
        accuracy.append(found.evaluation["top1"]["value"])
        log_loss.append(found.evaluation["log_loss"]["value"])
        progress.say(f"seed {seed}: accuracy {accuracy[-1]:.1%}, log-loss {log_loss[-1]:.3f}")
    return {
        "seeds": list(seeds),
        "accuracy": accuracy,
        "log_loss": log_loss,
        "mean": float(np.mean(accuracy)),
        "sd": float(np.std(accuracy, ddof=1)),
    }


@dataclass
class _Fitting:
    """A fit under way. Each step needs what the one before it set."""

    settings: FitSettings
    progress: Progress
    start: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    backbone: Backbone = field(init=False)
    old_head: Any = field(init=False)  # the pretrained network's
    classes: tuple[str, ...] = field(init=False)
    device: str = field(init=False)
    folds: bool = field(init=False)  # whether there are too few images for a part to validate on
    rungs: Rungs = field(init=False)
    place: Place = field(init=False)  # of the first rung
    tried: list[Rung] = field(default_factory=list)
    told: str = ""  # why no more was tried

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.monotonic()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0) + time.monotonic() - start, 2)

    def load(self) -> None:
        """Load the network: first, since a wrong name, device or cut shall not be told after minutes of reading."""
        settings = self.settings
        self.device = choose_device(settings.device)
        if settings.precision == "int8":
            refuse_int8(settings.device, settings.engine)
        backbone = load_backbone(
            settings.model, weights_file=settings.weights, seed=settings.seed, progress=self.progress
        )
        backbone = replace(backbone, spec=backbone.spec.changed(**settings.input_changes()))
        if settings.train not in ("auto", "head"):  # which all networks have
            cut(backbone.module, settings.train, input_shape=(3, backbone.spec.height, backbone.spec.width))
        self.backbone, self.old_head = backbone, backbone.module.get_classifier()  # type: ignore[operator]

    def split(self, manifest: Manifest) -> Manifest:
        """Inspect, and say who trains and who examines."""
        unlabelled = sum(label is None for label in manifest.labels)
        if unlabelled == len(manifest):
            raise DataError("no image has a label: give a folder a class, or a table of labels (--labels TABLE)")
        if unlabelled:
            self.progress.say(f"{unlabelled:,} images have no label and are left out")
            manifest = manifest.select(np.array([label is not None for label in manifest.labels]))
        seen = inspected(manifest, self.settings, progress=self.progress)
        data = self._assigned(seen)
        self.classes = data.usable.part("train").classes
        if self.settings.class_order == "appearance":
            known = set(self.classes)
            self.classes = tuple(label for label in dict.fromkeys(data.labels) if label in known)
        _refuse_what_cannot_be_learned(data.usable, self.classes, judges="train" if self.folds else "validation")
        return data

    def _assigned(self, seen: Manifest) -> Manifest:
        """The manifest with its parts, by the shares asked for or those that its size suggests."""
        settings, usable = self.settings, seen.usable
        test = settings.test
        if test is None:
            test = TEST if TEST * len(usable) >= TELLING else 0.0
        solvable = isinstance(self.old_head, nn.Linear)  # else a head is trained, and needs images to stop by
        by_head = settings.train in ("auto", "head") and settings.split == "drawn" and solvable
        learnable = sum(split != "test" for split in usable.splits)
        few = learnable < FEW * max(len(usable.classes), 1) and by_head
        self.folds = settings.validation is None and few and "validation" not in usable.splits
        if self.folds:
            test = settings.test or 0.0
            data = assign_split(seen, validation=0.0, test=test, seed=settings.seed) if test else seen
            usable_rows = zip(data.splits, data.problems, strict=True)
            return data.with_column("split", [split or (None if bad else "train") for split, bad in usable_rows])
        validation = VALIDATION if settings.validation is None else settings.validation
        if settings.split == "drawn":
            return assign_split(seen, validation=validation, test=test, seed=settings.seed)
        return last_rows(seen, validation=validation, test=test)

    def open(self, data: Manifest) -> None:
        """Give the network a new head and cut it where the first rung starts to train."""
        settings = self.settings
        self.rungs = Rungs(
            self.backbone, self.old_head, self.classes, data, self.folds, settings, self.device, self.progress
        )
        self.place = self.rungs.open("head" if settings.train == "auto" else settings.train)

    # -- the ladder ---------------------------------------------------------------------------------------------------

    def climb(self) -> None:
        """Train what is asked for; by itself more and more, while validation says that it pays."""
        settings, rungs, place = self.settings, self.rungs, self.place
        with self.timed("features"):
            rungs.extract(place, ["train", "validation", "test"], views=rungs.seen)
            place.release()
        with self.timed("training"):
            if place.train == "head":
                for rung in rungs.heads(place):
                    self._add(rung)
            else:
                self._add(rungs.trained(place))
            if settings.train == "auto":
                self._climb_on()

    def plan(self) -> list[str]:
        """What each rung would take; nothing is computed but what it takes to tell."""
        found = [forecast(self.rungs, self.place)]
        for train in DEEPER if self.settings.train == "auto" and not self.folds else ():
            place = self._open(train)
            if place is None:
                break
            found.append(forecast(self.rungs, place, looks=True))
        note = (
            "what stands below head is tried only while validation says that it pays; "
            "a look comes first, and where it promises nothing it ends there"
        )
        notes = [note] if len(found) > 1 else []
        return lines(self.rungs, found, [*notes, *filter(None, [self.told])])

    def _add(self, rung: Rung) -> None:
        self.tried.append(rung)
        row = rung.row(chosen=False)
        accuracy = "accuracy {accuracy:.1%} ({low:.1%} to {high:.1%})".format(**row)
        self.progress.say(f"{rung.name}: {accuracy}, log-loss {row['log_loss']:.3f}, {rung.seconds:.1f} s")

    def _climb_on(self) -> None:
        deadline, head = self.start + seconds(self.settings.budget), self.tried[-1]
        for train in DEEPER:
            self.told = self._why_not(train, deadline)
            if self.told:
                break
            place = self._open(train)
            if place is None:
                break
            found = forecast(self.rungs, place, looks=True)
            needed = found.seconds
            if time.monotonic() + needed > deadline:
                self.told = (
                    f"{train} would take about {needed:.0f} s, more than is left of --budget {self.settings.budget}: "
                    "it is not tried"
                )
                break
            self.progress.say(f"{train}: about {needed:.0f} s, or {found.look:.0f} s where a look promises nothing")
            self._add(self.rungs.trained(place, below=head, deadline=deadline))
        if self.told:
            self.progress.say(self.told)

    def _open(self, train: str) -> Place | None:
        """The network cut for a deeper rung; None, with the reason told, where it cannot be."""
        try:
            return self.rungs.open(train)
        except CutError as failure:
            self.told = f"no more can be trained of this network: {failure}"
            return None

    @property
    def _best(self) -> Rung:
        first = sum(rung.place is self.place for rung in self.tried)
        return self.tried[best([rung.losses for rung in self.tried], solved=first)]

    def _why_not(self, train: str, deadline: float) -> str:
        """Why the next rung is not climbed; nothing where it is."""
        if self.folds:
            return f"fewer than {FEW} images a class: no more than the head is trained"
        if len(self.tried[-1].losses) < LEAST:
            return (
                f"fewer than {LEAST} images to validate on: they cannot tell whether {train} pays; no more is trained"
            )
        if len(self.tried) > 1 and not pays(self.tried[-2].losses, self.tried[-1].losses):
            mean, error = difference(self.tried[-2].losses, self.tried[-1].losses)
            return (
                f"{self.tried[-1].name} brought {mean:+.3f} ± {error:.3f} of log-loss over {self.tried[-2].name}: "
                f"{train} is not tried"
            )
        if time.monotonic() > deadline:
            return f"the time is used up (--budget {self.settings.budget}): {train} is not tried"
        return ""

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> Fitted:
        """Examine the classifier on the part that is farthest from the choices."""
        rungs, settings = self.rungs, self.settings
        chosen = self._best
        rungs.solve_again(chosen)
        rungs.use(chosen)
        part = "test" if len(rungs.data.usable.part("test")) else rungs.judges
        own = part == rungs.judges  # whether it is evaluated on the images that temperature and sets are made with
        if not own:
            rungs.extract(chosen.place, [part], views=rungs.seen)
        temperature = fit_temperature(chosen.logits, chosen.targets)
        threshold = conformal_threshold(scaled(chosen.logits, temperature), chosen.targets, coverage=settings.coverage)
        examined = chosen.outputs if own else None
        if examined is None:
            examined = rungs.outputs(chosen.place, part)
        logits = chosen.logits if own else examined.logits
        targets = rungs.targets(part)
        shares = scaled_out_of_fold(logits, targets) if own else scaled(logits, temperature)
        evaluation = evaluate(targets, shares, self.classes, part=_PARTS.get(part, part))
        evaluation["calibration"] = temperature_section(logits, targets, temperature=temperature, cross_fitted=own)
        evaluation["sets"] = sets_section(
            shares, targets, self.classes, threshold=threshold, cross_fitted=own, coverage=settings.coverage
        )
        novelty = self._novelty(chosen, part, examined)
        if novelty is not None and examined.features is not None:
            scores = novelty.scores(examined.features)
            evaluation["novelty"] = novelty_section(scores, threshold=novelty.threshold, cross_fitted=own)
        evaluation["ladder"] = self._ladder(chosen)
        evaluation |= {"note": _NOTES[part], "notes": self._warnings(), "summary": self._summary(chosen)}
        self.backbone.module.to("cpu")
        classifier = Classifier(
            self.backbone.module,
            self.classes,
            self.backbone.spec,
            self.backbone.name,
            chosen.place.train,
            temperature,
            facts={
                "source": self.backbone.source,
                "licence": self.backbone.licence,
                "store_as": settings.store_as,
                # Its 8-bit numbers fit the images it was fitted on; it predicts in what they stand for.
                "precision": "float32" if settings.precision == "int8" else settings.precision,
                "cut": chosen.place.parts.name,
            },
            mirror=settings.mirror == "on",
            sets=Sets(threshold, settings.coverage),
            novelty=novelty,
        )
        if settings.precision == "int8" and not chosen.place.parts.at_image:
            evaluation["notes"].append(self._cost_of_8_bits(classifier, part, examined.logits))
        history = [{**line, "rung": rung.name} for rung in self.tried for line in rung.history]
        return Fitted(classifier, settings, rungs.data, part, shares.astype(np.float32), evaluation, history)

    def _novelty(self, chosen: Rung, part: str, examined: Outputs) -> Novelty | None:
        """What pictures of the classes look like; None where the head is given no vectors, or the network is whole.

        :param examined: what the network says of the part that is evaluated.
        """
        if chosen.place.parts.at_image or examined.features is None:
            return None
        rungs, seed = self.rungs, self.settings.seed
        if others := {"train", rungs.judges} - {part}:
            # A deeper rung has trained on other views of the images than those that are looked at here.
            rungs.extract(chosen.place, sorted(others), views=rungs.seen)

        def features(of: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32] | None:
            # In the precision of training: it is the mean of many images that is learned here.
            return rungs.outputs(chosen.place, of, precision=rungs.training_precision, rows=rows).features

        seen: NDArray[np.float32] | None = examined.features
        true = rungs.targets("train")
        if part == "train":
            true = true[:: examined.step]
        else:
            rows = novelty_rows(true, seed=seed)
            seen, true = features("train", rows), true[rows]
        judged = seen if self.folds else examined.features if part == rungs.judges else features(rungs.judges)
        if seen is None or judged is None:
            return None
        if self.folds:
            held_out = np.random.default_rng(seed).permutation(len(seen)) % 5 == 0
            seen, true, judged = seen[~held_out], true[~held_out], seen[held_out]
        return fit_novelty(seen, true, judged, seed=seed)

    def _cost_of_8_bits(self, classifier: Classifier, part: str, coarse: NDArray[np.float32]) -> str:
        """What the part's images become in float32, as which the classifier predicts from now on.

        :param coarse: their logits by the same network with 8-bit numbers, (N, C).
        """
        rows = sample(len(coarse), self.settings.seed)
        images = self.rungs.data.usable.part(part).select(rows)
        settings = EngineSettings(precision="float32", max_pixels=self.settings.max_pixels)
        exact, problems = classifier.probabilities(images, settings=settings)
        read = np.delete(rows, [row for row, _ in problems])
        # Of images that it was trained on no accuracy is told.
        told = cost(coarse[read], exact, None if part == "train" else self.rungs.targets(part)[read])
        self.progress.say(told)
        return told

    def _ladder(self, chosen: Rung) -> list[dict[str, Any]]:
        rows = [rung.row(chosen=rung is chosen) for rung in self.tried]
        for rung, row in zip(self.tried, rows, strict=True):
            if rung.losses.mean() < chosen.losses.mean():
                uncertain = f"lower than {chosen.name} by less than a standard error: {chosen.name} is kept"
                row["note"] = "; ".join(filter(None, [rung.note, uncertain]))
        if self.told:
            rows[-1]["note"] = "; ".join(filter(None, [rows[-1]["note"], self.told]))
        return rows

    def _warnings(self) -> list[str]:
        """What makes every figure of this network on these images doubtful."""
        shared = len(match(self.classes, self.backbone.classes or ()))
        if not shared:
            return []
        return [
            f"{shared} of the {len(self.classes)} classes have the name of a class that the network was pretrained on. "
            "If the pictures come from there too (as Stanford's and Kaggle's dogs do from ImageNet), it has seen them, "
            "and every figure flatters it."
        ]

    def _summary(self, chosen: Rung) -> dict[str, Any]:
        network, data, parts = self.backbone.module, self.rungs.data, chosen.place.parts
        sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
        return {
            "headstart": __version__,
            "model": self.backbone.name,
            "weights": self.backbone.source,
            "train": chosen.place.train,
            "parameters": sum(sizes.values()),
            "trainable": sum(sizes[name] for name in parts.trainable),
            "bytes_per_image": parts.bytes_per_image,
            "images": {part: len(data.usable.part(part)) for part in ("train", "validation", "test")},
            "problems": len(data.unusable),
            "seconds": self.seconds,
        }


_PARTS = {"train": "cross-validation"}
_NOTES = {
    "validation": "These images were not trained on, but the strength of the L2 penalty, the best epoch and what to "
    "train were chosen on them, so that the figures are a little too good. A head that was solved is then solved once "
    "more with these images, unless --refit off: the figures are of the head before.",
    "test": "These images were neither trained on nor used for any choice.",
    "train": "There are few images: each was judged by a head that was made without it, of five in turn. The strength "
    "of the L2 penalty was chosen on the same images, so that the figures are a little too good.",
}


def _refuse_what_cannot_be_learned(usable: Manifest, classes: tuple[str, ...], *, judges: str) -> None:
    if len(classes) < 2:
        raise DataError(f"a classifier needs images of at least 2 classes to train on, got {_listed(classes)}")
    if not len(usable.part(judges)):
        raise DataError(
            "no image is left to validate on: give at least two images of a class, or a larger --validation"
        )
    for part in ("validation", "test"):
        strange = sorted(set(usable.part(part).classes) - set(classes))
        if strange:
            raise DataError(
                f"{part} has classes that train has not: {', '.join(strange[:3])}; train needs images of each"
            )


def _listed(classes: tuple[str, ...]) -> str:
    return f"1 class, {classes[0]!r}" if classes else "none"
