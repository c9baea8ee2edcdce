"""The settings of reading, input, runtime and fitting.

A reason beside an option explains its default; the figures are in ``benchmarks/``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.config.fine_tuning import FineTuningSettings
from headstart.config.options import Settings, option, options_of
from headstart.config.recipes import QUALITIES, RECIPES
from headstart.config.values import (
    mistake_in_cluster,
    mistake_in_feature_store,
    mistake_in_kernel,
    mistake_in_mean,
    mistake_in_stages,
    mistake_in_std,
    mistake_in_value_range,
)
from headstart.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ClusterSettings",
    "EngineSettings",
    "FitSettings",
    "ImageNetV2Settings",
    "InputSettings",
]


@dataclass(kw_only=True)
class ImageNetV2Settings(Settings):
    """Which of the three test sets of ImageNetV2."""

    variant: str = option(
        "top-images",
        "Test set: top-images (the images that annotators selected most often), matched-frequency (selected as often "
        "as ImageNet's own), or threshold-0.7 (selected by at least 70 %).",
        choices=("top-images", "matched-frequency", "threshold-0.7"),
        group="Data",
    )


@dataclass(kw_only=True)
class EngineSettings(Settings):
    """How images are decoded and where the network runs."""

    device: str = option(
        "auto",
        "Device to compute on. auto: a GPU if there is one.",
        choices=("auto", "cpu", "cuda", "mps"),
        common=True,
    )
    precision: str = option(
        "auto",
        "Precision of the frozen part. auto: for fitting, bfloat16 where the hardware supports it (at least twice as "
        "fast); for prediction, the precision of the fit; for a pretrained network as published, float32, in which its "
        "published accuracy was measured. int8: quantized with calibration on your own images; faster than float32 "
        "where there is no bfloat16; the change in accuracy is reported.",
        choices=("auto", "float32", "bfloat16", "int8"),
    )
    engine: str = option(
        "auto",
        "Inference engine of the frozen part. auto: OpenVINO on a CPU, torch on a GPU.",
        choices=("auto", "torch", "openvino"),
    )
    extract_batch_size: int | None = option(
        None, "Images per batch in the frozen part. Default: 32, or 256 on a GPU.", low=1, high=4096
    )
    workers: int | None = option(None, "Workers that decode images. Default: one per core.", low=1, high=1024)
    max_pixels: int = option(
        178_956_970,
        "Largest image in pixels; larger ones are skipped as decompression bombs.",
        metavar="PIXELS",
        low=1,
        group="Data",
    )
    value_range: str | None = option(
        None,
        "Values that are black and white in images of more than 8 bits per channel, for example 0,4095; those outside "
        "are clipped. Default: that of the classifier; for a fit, chosen from the tags of the files and the values of "
        "the whole set, and kept in the classifier.",
        metavar="LOW,HIGH",
        check=mistake_in_value_range,
        group="Data",
    )
    max_problems: float = option(
        0.1,
        "Largest share of unreadable images; above it the command stops before any other work.",
        metavar="SHARE",
        low=0,
        high=1,
        group="Data",
    )


@dataclass(kw_only=True)
class ClusterSettings(Settings):
    """Where features and predictions are computed, if not by this process alone."""

    cluster: str | None = option(
        None,
        "Ray cluster whose workers compute features and predictions, and train: auto (that of this machine, or of "
        "RAY_ADDRESS), ray://HOST:PORT, HOST:PORT, or local:N for N one-core workers on this machine. Images and "
        "features must have the same paths or addresses on all machines.",
        metavar="WHERE",
        check=mistake_in_cluster,
    )


@dataclass(kw_only=True)
class InputSettings(Settings):
    """How images are presented to the network, where that differs from its own configuration."""

    framing: str | None = option(
        None,
        "Part of the image that the network sees: whole (resized, aspect ratio not kept), or model (the network's own "
        "resize and center crop).",
        choices=("whole", "model"),
        group="Backbone",
    )
    size: int | None = option(
        None, "Input height and width in pixels.", metavar="PIXELS", low=16, high=4096, group="Backbone"
    )
    crop: float | None = option(
        None,
        "Share of the shorter side that the center crop keeps.",
        metavar="SHARE",
        low=0.05,
        high=1,
        group="Backbone",
    )
    interpolation: str | None = option(
        None,
        "Interpolation used to resize images.",
        choices=("nearest", "bilinear", "bicubic", "lanczos"),
        group="Backbone",
    )
    channels: str | None = option(None, "Channel order; OpenCV reads BGR.", choices=("RGB", "BGR"), group="Backbone")
    range: str | None = option(
        None,
        "Pixel range: 0 to 1, -1 to 1, 0 to 255, or normalized with the mean and standard deviation of ImageNet.",
        choices=("0:1", "-1:1", "0:255", "imagenet"),
        group="Backbone",
    )
    mean: str | None = option(
        None,
        "Mean of red, green and blue in [0, 1], subtracted from the pixels.",
        metavar="R,G,B",
        check=mistake_in_mean,
        group="Backbone",
    )
    std: str | None = option(
        None,
        "Standard deviation of red, green and blue in [0, 1], by which the pixels are divided.",
        metavar="R,G,B",
        check=mistake_in_std,
        group="Backbone",
    )

    class_names: str | None = option(
        None,
        "Names of the classes that a pretrained network has: imagenet, none (class 0, class 1, …), or a text file with "
        "one name per line. Default: those that the file or its publisher states; for 1,000 outputs without names, "
        "imagenet, which is reported as a guess.",
        metavar="NAMES",
        group="Backbone",
    )

    def input_changes(self) -> dict[str, Any]:
        """The options that are set, by the names that :meth:`headstart.InputSpec.changed` takes."""
        mine = {each.name for each in options_of(InputSettings)} - {"class_names"}
        return {name: value for name, value in self.values().items() if name in mine and value is not None}

    def _conflicts(self, invalid: Collection[str]) -> list[str]:
        messages = super()._conflicts(invalid)
        if self.range is not None and (self.mean is not None or self.std is not None):
            messages.append("range sets both mean and std: give either range, or mean and std")
        return messages


@dataclass(kw_only=True)
class FitSettings(FineTuningSettings, InputSettings, ClusterSettings, EngineSettings):
    """How a classifier is fitted to labeled images."""

    model: str = option(
        "tf_efficientnet_lite0",
        "Pretrained network: a timm name, keras:MobileNetV2, a TF Hub handle, a file (ONNX, Keras, SavedModel), or "
        "auto: the most accurate of the recommended ones that this machine runs over the images in half of the budget.",
        metavar="MODEL",
        kw_only=False,
        group="Backbone",
        common=True,
    )
    weights: str | None = option(
        None,
        "Weights file (.safetensors, .pth), or random. Default: the published weights of the network.",
        metavar="FILE",
        group="Backbone",
    )
    framing: str | None = option(
        "whole",
        "Part of the image that the network sees: whole (resized, aspect ratio not kept), or model (the network's own "
        "resize and center crop). whole was about a point more accurate on two data sets.",
        choices=("whole", "model"),
        group="Backbone",
    )
    tta_flip: bool = option(
        False,
        "Test-time augmentation: the average over each image and its horizontal flip, in the training of the head and "
        "in every prediction. More accurate in most cases, at twice the time.",
        group="Backbone",
        common=True,
    )
    validation_share: float | None = option(
        None,
        "Share of the images used for validation, on which settings are chosen. Default: 20 %; with fewer than 30 "
        "images per class, 5-fold cross-validation of the head.",
        metavar="SHARE",
        low=0,
        high=0.9,
        group="Split",
        common=True,
    )
    test_share: float | None = option(
        None,
        "Share of the images held out for testing, on which nothing is chosen. Default: 10 % where that is at least "
        "1,000 images, else none.",
        metavar="SHARE",
        low=0,
        high=0.9,
        group="Split",
        common=True,
    )
    split: str = option(
        "random",
        "Choice of the validation images: random (stratified by class, identical images kept on one side), or last "
        "(the last rows of the table, which is right only for a shuffled table).",
        choices=("random", "last"),
        group="Split",
    )
    near_duplicates: str = option(
        "group",
        "Near-duplicates (copies that were resized, cropped, mirrored or saved again, frames of a burst): group (kept "
        "on one side of a random split and in one fold), or ignore. Found by the features of a network whose head is "
        "trained first, in sets of 20 to 100,000 images.",
        choices=("group", "ignore"),
        group="Split",
    )
    strict: bool = option(
        False,
        "Train nothing where an image cannot be used, or the images, labels or splits give cause for a warning: "
        "missing or conflicting labels, images or near-duplicates in two splits, divided groups.",
        group="Data",
    )
    class_order: str = option(
        "sorted",
        "Order of the classes: sorted by name, or by first appearance in the table.",
        choices=("sorted", "appearance"),
        group="Data",
    )
    seed: int = option(0, "Seed of the split, the shuffling and a new head.", low=0, group="Split", common=True)
    head_solver: str = option("lbfgs", "Solver of the head; see docs/extending.md.", metavar="NAME", group="Head")
    pretrained_head: bool = option(
        True,
        "Prior of the head: the weights of the pretrained head, for the classes whose names match.",
        group="Head",
    )
    stages: str = option(
        "auto",
        "Pooled outputs of the network's stages that a solved head is given beside the last features: auto (chosen on "
        "validation), none, late:WEIGHT (the later half of the stages) or all:WEIGHT.",
        metavar="STAGES",
        check=mistake_in_stages,
        group="Head",
    )
    kernel: str = option(
        "auto",
        "Radial kernel of these features that a solved head is given instead of them: auto (chosen on validation where "
        "stages are), none, or rbf:GAMMA, where gamma is that for features with a mean squared norm of 1.",
        metavar="KERNEL",
        check=mistake_in_kernel,
        group="Head",
    )
    l2: float | None = option(
        None,
        "L2 penalty of the head. Default: chosen on validation along a path.",
        metavar="PENALTY",
        low=0,
        group="Head",
    )
    class_balance: str = option(
        "none",
        "Correction for imbalanced classes: weights (the loss of a class is weighted by its inverse frequency), or "
        "logit-adjust (the log of the class frequency is added to the logits in training; Menon et al. 2021).",
        choices=("none", "weights", "logit-adjust"),
        group="Head",
    )
    refit: bool = option(
        True,
        "Final fit of the head on training and validation images together, as the searches of scikit-learn do. The "
        "reported validation figures are those of the head before it.",
        group="Head",
    )
    coverage: float = option(
        0.9,
        "Target coverage of the prediction sets: the share of them that contain the true class.",
        metavar="SHARE",
        low=0.5,
        high=0.999,
        group="Evaluation",
    )
    seeds: int = option(
        1,
        "Number of fits with consecutive seeds, to report the spread; the first one is kept.",
        low=1,
        high=100,
        group="Evaluation",
    )
    cache_dir: str | None = option(
        None,
        "Folder of the feature store, and of what else is kept. Default: HEADSTART_CACHE, else the cache folder of the "
        "platform.",
        metavar="FOLDER",
        group="Runtime",
    )
    feature_store: str | None = option(
        None,
        "Where features are kept, if not in the cache folder: a folder, or an address such as s3://bucket/features.",
        metavar="WHERE",
        check=mistake_in_feature_store,
        group="Runtime",
    )
    feature_dtype: str = option(
        "float16", "Data type of the stored features.", choices=("float16", "float32"), group="Runtime"
    )

    @classmethod
    def by_recipe(cls, recipe: str, **values: Any) -> Self:
        """The settings of a recipe, or of a quality (fast, balanced or best), overridden by ``values``.

        :raises SettingsError: as :meth:`of`, or there is no such recipe.

        >>> settings = FitSettings.by_recipe("classic", epochs=3)
        >>> settings.optimizer, settings.epochs
        ('sgd', 3)
        """
        known = {**RECIPES, **QUALITIES}
        if recipe not in known:
            hint = did_you_mean(recipe, known)
            raise SettingsError(f"recipe must be one of {', '.join(known)}, got {recipe!r}{hint}")
        return cls.of(**{**known[recipe], **values})

    def _conflicts(self, invalid: Collection[str]) -> list[str]:
        messages = super()._conflicts(invalid)
        if self.model == "auto" and self.weights is not None:
            messages.append("weights are those of one network: name it with model instead of auto")
        if {"validation_share", "test_share"}.isdisjoint(invalid):
            validation, test = self.validation_share, self.test_share or 0
            if (validation or 0) + test >= 1 or (validation == 0 and not test):
                messages.append(
                    "validation_share and test_share must add up to more than 0 and less than 1 (0.2 is 20 %), "
                    f"got validation_share={validation} and test_share={test}"
                )
        return messages
