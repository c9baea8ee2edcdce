"""The rungs of the ladder: what is trained of a network on the images of a fit, and what validation says of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.checkup import refuse_if_too_many
from headstart.data.manifest import Manifest
from headstart.data.transforms import MIRROR
from headstart.errors import DataError
from headstart.evaluate import intervals
from headstart.evaluate.novelty import MOST
from headstart.features.extract import extract
from headstart.features.store import FeatureRows, Space
from headstart.models.backbone import Backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Engine, Normalised, choose_batch, choose_precision
from headstart.models.names import match
from headstart.models.quantized import Calibration, calibration
from headstart.models.trainable import glorot
from headstart.progress import Progress
from headstart.scale.memory import give_back
from headstart.settings import FitSettings
from headstart.train.balance import Balance, balance
from headstart.train.head import HeadFit, solve_again, solve_head, solve_head_by_folds
from headstart.train.ladder import losses, promises
from headstart.train.origins import Discriminant, Solution, matched_head
from headstart.train.outputs import Outputs, mean_outputs, outputs
from headstart.train.part import Kept, Mean, Part
from headstart.train.tail import Loop, changing, train_tail
from headstart.train.vectors import Vectors
from headstart.workflow.frozen import open_prefix, open_space

__all__ = ["KEEP_IN_MEMORY", "LOOKS", "LOOK_AT", "Place", "Rung", "Rungs"]

# What a deeper rung promises is told by a look: a few epochs, slow ones, since the first at the full rate make
# everything worse, also where the end is better.
LOOKS, LOOK_AT, _CAREFUL = 3, 2000, 0.1  # epochs, images, times the usual rate
KEEP_IN_MEMORY = 1 << 30  # bytes of features to train on; with more, batches are read from the store
_KEEP_FOR_ONE_PASS = 1 << 26  # bytes of features that are looked at once and in order, which the store is quick at


@dataclass
class Place:
    """Where the network is cut: what is trained after it, and where the store keeps what comes before."""

    train: str
    parts: Cut
    tail: nn.Module
    space: Space
    backbone: Backbone
    settings: FitSettings
    calibration: Calibration | None = None  # where the frozen part computes with 8-bit numbers

    @cached_property
    def run(self) -> Callable[[NDArray[np.uint8]], NDArray[Any]] | Engine:
        """What computes the features, opened when it is first needed."""
        if self.parts.at_image:
            return lambda images: images
        return open_prefix(self.backbone, self.parts, self.settings, calibration=self.calibration)

    def release(self) -> None:
        """Let go of what computes the features, some hundred megabytes; what needs it again opens it again."""
        self.__dict__.pop("run", None)
        give_back()


@dataclass
class Rung:
    """One answer to what should be trained."""

    name: str
    place: Place
    logits: NDArray[np.float32]  # (V, C) of the images it is judged by
    targets: NDArray[np.int64]  # (V,)
    seconds: float
    state: dict[str, Tensor]  # what is the network's own in this rung, by name
    history: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    outputs: Outputs | None = None  # of them, where what the head saw is little and at hand
    fit: HeadFit | None = None  # of a head that was solved, and not trained

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """Each image's log-loss, (V,), at the rung's own temperature."""
        return losses(self.logits, self.targets)

    def row(self, *, chosen: bool) -> dict[str, Any]:
        """As the report tells it."""
        accuracy = intervals.wilson(int((self.logits.argmax(1) == self.targets).sum()), len(self.targets))
        return {
            "rung": self.name,
            "accuracy": accuracy["value"],
            "low": accuracy["low"],
            "high": accuracy["high"],
            "log_loss": float(self.losses.mean()),
            "seconds": round(self.seconds, 2),
            "chosen": chosen,
            "note": self.note,
        }


@dataclass
class Rungs:
    """A network with a new head, and images with their parts. A rung leaves the network as it was, but for the head."""

    backbone: Backbone
    old_head: Any  # the pretrained network's
    classes: tuple[str, ...]
    data: Manifest  # inspected, with parts
    folds: bool  # whether there are too few images for a part to validate on
    settings: FitSettings
    device: str
    progress: Progress

    def __post_init__(self) -> None:
        """Give the network its new head."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self.network.reset_classifier(len(self.classes))  # type: ignore[operator]
            if self.settings.head_init == "glorot":
                glorot(self.network)

    @property
    def network(self) -> nn.Module:
        """The whole of it."""
        return self.backbone.module

    @property
    def head(self) -> Any:
        """Its last layer; of a distilled network two."""
        return self.network.get_classifier()  # type: ignore[operator]

    @property
    def judges(self) -> str:
        """The part whose images a rung is judged by; with folds each image is judged by heads that did not see it."""
        return "train" if self.folds else "validation"

    # -- what lies before a cut ---------------------------------------------------------------------------------------

    def open(self, train: str) -> Place:
        """Cut the network.

        :raises CutError: it cannot be cut there.
        """
        # A rung before this one may have been trained on a GPU, and left its layers there.
        network, spec = self.network.to("cpu"), self.backbone.spec
        parts = cut(network, train, input_shape=(3, spec.height, spec.width))
        tail = Normalised(network, spec) if parts.at_image else parts.tail
        ranges = self.calibration
        space = open_space(self.backbone, parts, self.settings, device=self.device, calibration=ranges)
        return Place(train, parts, tail, space, self.backbone, self.settings, ranges)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What sets the ranges of 8-bit numbers, the same images for all rungs; None for other precisions."""
        settings = self.settings
        if settings.precision != "int8":
            return None
        return calibration(self.data, self.backbone.spec, max_pixels=settings.max_pixels, workers=settings.workers)

    def extract(
        self, place: Place, splits: Sequence[str], *, views: Sequence[int] = (0,), most: int | None = None
    ) -> None:
        """Compute what the store does not have of the images in these parts, or of ``most`` drawn from them.

        :raises DataError: images vanished or changed meanwhile, too many or all of a class.
        """
        settings, data = self.settings, self.data
        wanted = zip(data.problems, data.splits, strict=True)
        rows = np.flatnonzero([problem is None and split in splits for problem, split in wanted])
        rows = rows[self.drawn(len(rows), most)]
        seen = extract(
            data.select(rows),
            place.space,
            self.backbone.spec,
            open_run=lambda: place.run,
            views=views,
            batch=choose_batch(settings.extract_batch, self.device),
            max_pixels=settings.max_pixels,
            workers=settings.workers,
            progress=self.progress,
        )
        if not len(seen.unusable):
            return
        problems = data.problems
        for row, problem in zip(rows, seen.problems, strict=True):
            problems[row] = problem
        self.data = data.with_column("problem", problems)
        refuse_if_too_many(self.data, most=settings.max_problems)
        left = set(self.data.usable.part("train").classes)
        lost = [name for name in self.classes if name not in left]
        if lost:
            raise DataError(
                f"while they were read, all images of {lost[0]} to train on vanished or changed; start again"
            )
        if not len(self.data.usable.part(self.judges)):
            raise DataError("while they were read, all images to validate on vanished or changed; start again")

    @property
    def seen(self) -> tuple[int, ...]:
        """The views of a picture that are looked at when it is predicted."""
        return (0, MIRROR) if self.settings.mirror == "on" else (0,)

    def targets(self, split: str) -> NDArray[np.int64]:
        """Of a part's usable images, (N,)."""
        return self.data.usable.part(split).targets(self.classes)

    def drawn(self, count: int, most: int | None) -> NDArray[np.int64]:
        """Numbers below ``count``, ascending: all, or ``most`` drawn by the seed."""
        drawn = np.random.default_rng(self.settings.seed).permutation(count)[:most]
        return np.sort(drawn)

    def inputs(
        self,
        place: Place,
        split: str,
        view: int = 0,
        *,
        rows: NDArray[np.int64] | None = None,
        hold: int | None = None,
    ) -> Kept | FeatureRows:
        """Features of a part's usable images, or of these of them, in memory up to ``hold`` bytes, a gigabyte."""
        images = self.data.usable.part(split).hashes
        hashes = [str(each) for each in (images if rows is None else np.asarray(images)[rows])]
        features = place.space.rows(hashes, view=view)
        most = KEEP_IN_MEMORY if hold is None else hold
        return Kept(features.take(np.arange(len(hashes)))) if features.nbytes <= most else features

    def outputs(
        self, place: Place, split: str, *, precision: str = "float32", rows: NDArray[np.int64] | None = None
    ) -> Outputs:
        """What the network says of a part's images as it is now, or of these of them.

        Of all of many, features are told of some 10,000.
        """
        each = [self.inputs(place, split, view, rows=rows, hold=_KEEP_FOR_ONE_PASS) for view in self.seen]
        step = 1 if rows is not None else -(-len(each[0]) // MOST) or 1
        options: dict[str, Any] = {"device": self.device, "precision": precision, "step": step}
        return mean_outputs([outputs(place.tail, self.head, inputs, **options) for inputs in each])

    # -- the rungs ----------------------------------------------------------------------------------------------------

    def heads(self, place: Place) -> list[Rung]:
        """The pretrained head's own rows where it knows all classes by name, and the head solved.

        Where the head is not one linear layer it is trained instead.
        """
        if not self._is_plain(place):
            return [self.trained(place)]
        start = time.monotonic()
        x, y = self._vectors(place, "train")
        checks = (x, y) if self.folds else self._vectors(place, self.judges)
        pretrained = self._pretrained(x, y)
        rungs = []
        if pretrained is not None and len(match(self.classes, self.backbone.classes or ())) == len(self.classes):
            note = "the pretrained head's own classes, no training"
            rungs.append(self._linear("pretrained", place, pretrained, pretrained.logits(checks[0]), checks[1], note))
            rungs[0].seconds, start = time.monotonic() - start, time.monotonic()
        options = self._solving(pretrained)
        with self.progress.stage("solving the head", total=1, unit="path") as advance:
            if self.folds:
                found, given = solve_head_by_folds((x, y), seed=self.settings.seed, **options)
            else:
                found = solve_head((x, y), checks, **options)
                given = found.solution.logits(checks[0])
            advance(1)
        solved = self._linear("head", place, found.solution, given, checks[1], _origin(found))
        self.network.load_state_dict(solved.state, strict=False)
        solved.seconds, solved.history, solved.fit = time.monotonic() - start, found.history, found
        return [*rungs, solved]

    def _pretrained(self, x: Vectors, y: Tensor) -> Solution | None:
        if self.settings.pretrained_head == "off":
            return None
        return matched_head(self.old_head, self.backbone.classes, self.classes, x, y)

    def _solving(self, pretrained: Solution | None) -> dict[str, Any]:
        """How a head is solved."""
        return {
            "classes": len(self.classes),
            "l2": self.settings.l2,
            "pretrained": pretrained,
            "balance": self._balance(),
            "precision": self.training_precision,
        }

    def _begin_at(self, head: Rung) -> Rung:
        """Give the network the head that more is trained from, and tell it.

        A discriminant analysis leans on what scatters little within classes, and so would the gradients of the layers
        before it: the head that is drawn elsewhere is the better start, though the worse end.
        """
        if head.fit is None or not isinstance(head.fit.origin, Discriminant):
            return head
        (x, y), checks = self._vectors(head.place, "train"), self._vectors(head.place, self.judges)
        found = solve_head((x, y), checks, discriminant=False, **self._solving(self._pretrained(x, y)))
        start = self._linear(head.name, head.place, found.solution, found.solution.logits(checks[0]), checks[1], "")
        self.network.load_state_dict(start.state, strict=False)
        return start

    def solve_again(self, rung: Rung) -> None:
        """Where the rung is a solved head: make it the head of the images it was chosen on too, by the same penalty.

        What it is judged by stays what the head before said of them.
        """
        if rung.fit is None or self.folds or self.settings.refit == "off":
            return
        images = [self._vectors(rung.place, split) for split in ("train", self.judges)]
        balance = self._balance(torch.cat([targets for _, targets in images]))
        rung.state = self._as_state(rung.place, solve_again(rung.fit, *images, balance=balance))

    def _linear(self, name: str, place: Place, solution: Solution, given: Tensor, targets: Tensor, note: str) -> Rung:
        state = self._as_state(place, solution)
        return Rung(name, place, given.cpu().numpy(), targets.cpu().numpy(), 0.0, state, note=note)

    def trained(self, place: Place, *, below: Rung | None = None, deadline: float | None = None) -> Rung:
        """What lies after the cut, trained from where the network is.

        :param below: the solved head that the network has now: where a look promises no gain over the head that is
            trained from, no more is trained.
        :param deadline: of ``time.monotonic()``: no epoch is begun that would end later.
        """
        start = time.monotonic()
        begun = None if below is None else self._begin_at(below)
        self.train_only(place)
        before = changing(self.network)
        self.extract(place, [self.judges], views=self.seen)
        if begun is not None:
            tried = self._looked_at(place, start)
            self.network.load_state_dict(before, strict=False)
            if not promises(begun.losses, tried.losses):
                return tried
        numbers = tuple(range(1, self.settings.views + 1))
        self.extract(place, ["train"], views=(0, *numbers))
        place.release()
        rung = self._rung(place, start, self._loop(place, numbers, deadline=deadline))
        if begun is not None:
            self.network.load_state_dict(before, strict=False)
        return rung

    def _looked_at(self, place: Place, start: float) -> Rung:
        """Some careful epochs on some of the pictures as they are: all views of all cost more than what came before."""
        self.extract(place, ["train"], most=LOOK_AT)
        place.release()  # most looks end here
        # So few epochs are not enough for new statistics of BatchNorm: with them all would look worse.
        loop = self.loop(epochs=LOOKS, mixup=0.0, batchnorm="frozen")
        history = self._train(place, replace(loop, lr=_CAREFUL * loop.highest_rate), most=LOOK_AT)
        note = f"no gain in {LOOKS} careful epochs on pictures as they are: no more was tried"
        return self._rung(place, start, history, note)

    def _rung(self, place: Place, start: float, history: list[dict[str, Any]], note: str = "") -> Rung:
        """What the network is now."""
        given, state, targets = self.outputs(place, self.judges), changing(self.network), self.targets(self.judges)
        small = given.features is not None and given.features.nbytes <= _KEEP_FOR_ONE_PASS
        known = given if small else None
        give_back()  # of training
        seconds = time.monotonic() - start
        return Rung(place.train, place, given.logits, targets, seconds, state, history, note, known)

    def use(self, rung: Rung) -> None:
        """Make the network the one of this rung."""
        self.network.load_state_dict(rung.state, strict=False)
        self.network.eval()

    def train_only(self, place: Place) -> None:
        """Let the rest of the network need no gradient."""
        trainable = set(place.parts.trainable)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in trainable)

    # -- how ----------------------------------------------------------------------------------------------------------

    @property
    def training_precision(self) -> str:
        """Of what is trained, which 8-bit numbers cannot."""
        asked = self.settings.precision
        return choose_precision("auto" if asked == "int8" else asked, self.device)

    def _is_plain(self, place: Place) -> bool:
        """Whether the head is one linear layer on vectors, which can be solved."""
        return isinstance(self.head, nn.Linear) and self.head.bias is not None and len(place.parts.feature_shape) == 1

    def _balance(self, targets: Tensor | None = None) -> Balance:
        """By the images that are trained on, or those given, (N,)."""
        of = torch.from_numpy(self.targets("train")) if targets is None else targets
        return balance(of, len(self.classes), self.settings.balance)

    def _vectors(self, place: Place, split: str) -> tuple[Vectors, Tensor]:
        """Features, the mean of a picture's views, and targets; too many features are read when they are wanted."""
        views = [self.inputs(place, split, view) for view in self.seen]
        vectors = views[0] if len(views) == 1 else Mean(tuple(views))
        targets = torch.from_numpy(self.targets(split)).to(self.device)
        if not all(isinstance(each, Kept) for each in views):
            return vectors, targets
        values = vectors.values if isinstance(vectors, Kept) else vectors.take(np.arange(len(vectors)))
        return torch.from_numpy(values).to(self.device), targets

    def _as_state(self, place: Place, solution: Solution) -> dict[str, Tensor]:
        """The head of a solution, by the names that its parameters have in the network."""
        values = {id(self.head.weight): solution.weight, id(self.head.bias): solution.bias}
        parameters = dict(self.network.named_parameters())
        return {name: values[id(parameters[name])].detach().cpu().clone() for name in place.parts.trainable}

    def loop(self, **changes: Any) -> Loop:
        """The loop's settings, which have the names of ours."""
        settings = {each.name: getattr(self.settings, each.name) for each in fields(Loop)}
        return Loop(**(settings | {"precision": self.training_precision} | changes))

    def _loop(self, place: Place, views: tuple[int, ...], *, deadline: float | None) -> list[dict[str, Any]]:
        loop = self.loop()
        with self.progress.stage(f"training {place.train}", total=loop.epochs, unit="epoch") as advance:

            def on_epoch(line: dict[str, Any]) -> None:
                advance(1)
                self.progress.say(
                    "epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1%}; validation {val_loss:.3f}, "
                    "{val_accuracy:.1%}".format(**line)
                )

            return self._train(place, loop, views=views, deadline=deadline, on_epoch=on_epoch)

    def _train(
        self, place: Place, loop: Loop, *, views: tuple[int, ...] = (), most: int | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """On the training part's pictures and their other views, or on ``most`` drawn from them."""
        targets = self.targets("train")
        rows = self.drawn(len(targets), most)
        return train_tail(
            place.tail,
            Part(
                self.inputs(place, "train", rows=rows),
                targets[rows],
                tuple(self.inputs(place, "train", view, rows=rows) for view in views),
            ),
            Part(self.inputs(place, self.judges), self.targets(self.judges)),
            loop,
            device=self.device,
            balance=self._balance(),
            **options,
        )


def _origin(found: HeadFit) -> str:
    return f"L2 strength {found.l2:.3g}, drawn toward {found.origin.told}"
