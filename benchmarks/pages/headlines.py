"""The generated part of README.md: the main figures of each folder."""

from __future__ import annotations

from benchmarks.harness import Figures
from benchmarks.pages.accuracy import by_size, size_of
from benchmarks.pages.markdown import figure, machine_of, percent, table
from benchmarks.pages.scale import FIT_HEAD, fit_rows
from benchmarks.pages.speed import SECOND_FITS, against_keras, keras_rows

PEERS = ("headstart", "headstart-no-pretrained-head", "sklearn", "finetune-tail", "keras-correct-input", "fastai")


def lines(results: dict[str, Figures]) -> list[str]:
    """All tables whose results are there."""
    parts = {
        "speed/keras_recipe": keras,
        "speed/predict": predict,
        "accuracy/peer_comparison": peers,
        "accuracy/search": search,
        "accuracy/held_out": held_out,
        "scale/growth": growth,
    }
    return [line for name, part in parts.items() if name in results for line in part(results[name])]


def introduce(title: str, result: Figures) -> list[str]:
    """A heading, the command, and the machine."""
    words = result["command"].split()
    return [f"### {title}", "", f"`{' '.join(words[:3])}`, {result['date']}, {machine_of(result)}.", ""]


def keras(result: Figures) -> list[str]:
    """The tutorial in Keras and in headstart."""
    last, second = result["to_last_epoch"], result["second_fit"]
    again = [
        against_keras(f"a second fit with other settings, {SECOND_FITS[name]}", last, second[name])
        for name in ("classic", "defaults", "head")
        if name in second
    ]
    return [
        *introduce("10,222 dogs: the 2020 tutorial in Keras and in headstart", result),
        *table(["MobileNetV2", "Keras", "headstart", ""], [*keras_rows(result), *again]),
    ]


def predict(result: Figures) -> list[str]:
    """Images per second."""
    rows = [
        [name, figure(each["per_s"]), figure(each["latency_ms"]), figure(each["peak_gb"], " GB")]
        for name, each in result["peers"].items()
    ]
    head = ["1,300 images from files", "images per second", "one image when warm, ms", "peak memory"]
    return [*introduce("Prediction from files", result), *table(head, rows)]


def peers(result: Figures) -> list[str]:
    """Accuracy and seconds on each data set."""
    groups = by_size(result)
    found = {group: {line["peer"]: line for line in lines} for group, lines in groups.items()}
    rows = [
        [peer, *(cell(by_peer.get(peer)) for by_peer in found.values())]
        for peer in PEERS
        if any(peer in by_peer for by_peer in found.values())
    ]
    head = ["accuracy on test, seconds", *(f"{data}, {size_of(size)}" for data, size in found)]
    return [*introduce("Accuracy against peers", result), *table(head, rows)]


def cell(line: Figures | None) -> str:
    """Accuracy with its range, and seconds."""
    return "" if line is None else f"{percent(line['top1'])}, {figure(line['seconds']['median'], ' s')}"


def search(result: Figures) -> list[str]:
    """What a search reaches on images unlike ImageNet's."""
    found = result["trash6, two minutes"]
    final = found["result"]
    rows = [
        [
            "`headstart fit --budget 2min`, trash6",
            percent(final["top1"]),
            figure(final["log_loss"]),
            f"{figure(found['first_from_nothing_s'])} s",
        ]
    ]
    head = ["2,527 images of waste, five seeds", f"accuracy on {found['split']}", "log-loss", "store empty"]
    return [*introduce("The search over what to train", result), *table(head, rows)]


def held_out(result: Figures) -> list[str]:
    """Whether the reported accuracy is confirmed."""
    rows = [
        [name, found["within"], found["consistent"], f"{found['covered_mean']:.1%}", figure(found["ece"])]
        for name, found in result.items()
        if isinstance(found, dict) and "within" in found
    ]
    head = [
        "",
        "held-out accuracy within the reported interval",
        "consistent, given both samples",
        "coverage of 90 % sets",
        "ECE",
    ]
    return [*introduce("Reported and held-out accuracy", result), *table(head, rows)]


def growth(result: Figures) -> list[str]:
    """Fits by number of images."""
    return [*introduce("Growth", result), *table(FIT_HEAD, fit_rows(result))]
