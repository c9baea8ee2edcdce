"""The page of accuracy/: accuracy, log-loss and calibration, against peers and against held-out images."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Figures
from benchmarks.pages.markdown import Section, figure, heading, image, percent, table
from benchmarks.pages.plots import draw_accuracy
from benchmarks.pages.studio import draw_labels_needed, labels_needed

PRIORS = ("zero prior", "zero and discriminant priors")


def metrics(each: Figures) -> list[str]:
    """Accuracy, log-loss and ECE."""
    return [percent(each["top1"]), figure(each["log_loss"]), figure(each["ece"])]


def by_size(result: Figures) -> dict[tuple[str, str], list[Figures]]:
    """The lines of a comparison with peers, by data set and images per class."""
    groups: dict[tuple[str, str], list[Figures]] = {}
    for line in result["summary"]:
        groups.setdefault((line["data"], line["images_per_class"]), []).append(line)
    return groups


def size_of(images_per_class: str) -> str:
    """How many images, in words."""
    return "all images" if images_per_class == "all" else f"{images_per_class} images per class"


def plot_name(result: Figures, data: str, size: str) -> str:
    """The file of the plot of one data set and size."""
    return f"accuracy-{data}-{size}-{result['machine'].get('gpu', 'cpu').replace(' ', '-')}.png"


def peer_comparison(result: Figures) -> list[str]:
    """Against peers, on a CPU or on a GPU."""
    gpu = "gpu" in result["machine"]
    lines = heading("Accuracy against peers, on a GPU" if gpu else "Accuracy against peers", result)
    lines += ["Figures are of the test split, which takes part in no choice: median over the seeds, minimum, maximum."]
    if not gpu:
        lines += ["With so few images an epoch of fine-tuning has few steps: whole data sets favor it more."]
    lines += [""]
    for (data, size), found in by_size(result).items():
        limit = [] if size == "all" else ["--images-per-class", size]
        peers = ["--peers", *(line["peer"] for line in found)]
        words = ["--data", data, *limit, "--seeds", str(max(line["seeds"] for line in found)), *peers]
        rows = [
            [
                line["peer"],
                str(line["seeds"]),
                *metrics(line),
                figure(line["seconds"], " s"),
                figure(line["peak_gb"], " GB"),
            ]
            for line in found
        ]
        lines += [
            f"**{data}**, {size_of(size)}",
            "",
            f"`python -m benchmarks.accuracy.peer_comparison {' '.join(words)}`",
            "",
            *table(["", "seeds", "accuracy", "log-loss", "ECE", "seconds", "peak memory"], rows),
            *(image("Accuracy over seconds", plot_name(result, data, size)) if len(found) > 1 else []),
        ]
    return lines


def draw_peer_comparison(result: Figures, folder: Path) -> None:
    """Accuracy over seconds, a plot for each data set and size."""
    for (data, size), found in by_size(result).items():
        if len(found) == 1:
            continue
        draw_accuracy(folder / plot_name(result, data, size), found, f"{data}, {size_of(size)}")


def search(result: Figures) -> list[str]:
    """What each trial costs and gains."""
    lines = heading("The search over what to train, trial by trial", result)
    for name, found in result.items():
        if not isinstance(found, dict) or "trials" not in found:
            continue
        final = found["result"]
        where = f", on {found['machine']['processor']}" if "machine" in found else ""
        rows = [
            [trial, str(each["seeds"]), percent(each["accuracy"]), figure(each["log_loss"]), figure(each["seconds"])]
            for trial, each in found["trials"].items()
        ]
        lines += [
            f"**{name}**: accuracy on {found['split']} {percent(final['top1'])}, mean {final['top1']['mean']:.2%}; "
            f"log-loss {figure(final['log_loss'])}; ECE {figure(final['ece'])}; prediction sets cover "
            f"{final['covered']['mean']:.1%}; {figure(found['first_from_nothing_s'])} s with an empty store{where}.",
            "",
            *table(["trial, on validation", "seeds", "accuracy", "log-loss", "seconds"], rows),
        ]
    return lines


def held_out(result: Figures) -> list[str]:
    """Whether held-out images confirm what a fit reports."""
    rows = [
        [
            name + (f", on {found['machine']['processor']}" if "machine" in found else ""),
            found["within"],
            found["consistent"],
            f"{100 * found['optimism']['mean']:+.1f} ± {100 * found['optimism']['standard_error']:.1f} points",
            percent(found["held_out_top1"]),
            f"{found['covered_mean']:.1%}; {percent(found['covered'])}",
            figure(found["set_size"]),
            figure(found["ece"]),
        ]
        for name, found in result.items()
        if isinstance(found, dict) and "within" in found
    ]
    head = [
        "",
        "held-out accuracy within the reported interval",
        "consistent, given both samples",
        "reported minus held-out accuracy, mean ± standard error",
        "held-out accuracy",
        "coverage of 90 % sets: mean; median",
        "classes per set",
        "ECE",
    ]
    return [*heading("Reported and held-out accuracy", result), *table(head, rows)]


def priors(result: Figures) -> list[str]:
    """What the discriminant prior gains."""
    rows = [
        [f"{name}, {found['images']:,} images", prior, *metrics(found[prior]), figure(found[prior]["seconds"])]
        for name, found in result.items()
        if isinstance(found, dict) and PRIORS[0] in found
        for prior in PRIORS
    ]
    return [
        *heading("Priors of the head", result),
        *table(["test split", "priors", "accuracy", "log-loss", "ECE", "seconds"], rows),
    ]


def stages(result: Figures) -> list[str]:
    """What the pooled stages gain."""
    rows = [
        [
            f"{name}, {found['images']:,} images",
            choice if "auto" not in choice else f"{choice}: {', '.join(each['chosen'])}",
            *metrics(each),
            figure(each["seconds"]),
        ]
        for name, found in result.items()
        if isinstance(found, dict) and "auto" in found
        for choice, each in found.items()
        if choice != "images"
    ]
    return [
        *heading("Pooled stages as features of the head, and a kernel", result),
        *table(["test split", "stages", "accuracy", "log-loss", "ECE", "seconds"], rows),
    ]


def folds(result: Figures) -> list[str]:
    """A validation split or folds."""
    rows = [
        [data, images, way, *metrics(each), figure(each["width"]), each["within"], figure(each["seconds"])]
        for data, sizes in result.items()
        if isinstance(sizes, dict) and data in ("trash6", "dogs120")
        for images, ways in sizes.items()
        for way, each in ways.items()
    ]
    columns = ["accuracy", "log-loss", "ECE", "width of the interval", "within it", "seconds"]
    return [
        *heading("A head that is chosen on a validation split, or by folds", result),
        *table(["images set aside", "per class", "chosen on", *columns], rows),
    ]


def variants(result: Figures) -> list[str]:
    """Ideas that are not in headstart, beside what is."""
    rows = [
        [data, name, str(each["seeds"]), *metrics(each), figure(each["seconds"]) if "seconds" in each else "not timed"]
        for data, found in result.items()
        if isinstance(found, dict)
        for name, each in found.items()
        if isinstance(each, dict) and "top1" in each
    ]
    return [
        *heading("What else could be done with the features and the trials of a fit", result),
        *table(["test split", "", "seeds", "accuracy", "log-loss", "ECE", "seconds"], rows),
    ]


def few_images(result: Figures) -> list[str]:
    """Few images per class."""
    rows = [
        [name, peer, *metrics(each)]
        for name, peers in result.items()
        if "images per class" in name
        for peer, each in peers.items()
    ]
    return [
        *heading("Few images per class", result),
        *table(["", "", "accuracy", "log-loss", "ECE"], rows),
    ]


def update(result: Figures) -> list[str]:
    """One more class."""
    rows = [
        ["the first fit, store empty", figure(result["first_fit_s"], " s")],
        ["the update with the new class, store warm", figure(result["update_s"], " s")],
        ["mean recall of the old classes before", f"{result['old_classes_before'][0]:.1%}"],
        ["mean recall of the old classes after", f"{result['updates'][-1]['old'][0]:.1%}"],
    ]
    return [*heading("A 121st class for a run of 120", result), *table(["", ""], rows)]


def exported_page(result: Figures) -> list[str]:
    """A page in Chromium."""
    rows = [
        ["images", str(result["images"])],
        ["same most probable class", f"{result['equal_top1']:.1%}"],
        ["largest difference of its probability", f"{result['largest_difference']:.1e}"],
        ["size of the page, MB", str(result["megabytes"])],
        ["seconds until it is ready", str(result["opening_s"])],
        ["images per second", str(result["per_s"])],
    ]
    return [*heading("An exported page in the browser", result), *table(["", result["browser"]], rows)]


def wrong_labels(result: Figures) -> list[str]:
    """Labels that were changed on purpose."""
    rows = [
        [
            peer,
            kind,
            str(found["seeds"]),
            *(percent(each) for each in found[kind].values()),
            figure(found["seconds"], " s"),
        ]
        for peer, found in result.items()
        if isinstance(found, dict) and "seeds" in found
        for kind in found
        if kind.startswith(("drawn at random", "most similar breed"))
    ]
    columns = ["precision at recall 60 %", "80 %", "90 %", "seconds"]
    return [
        *heading("Wrong labels: 100 of each kind in dogs120", result),
        "0 %: so many are not listed. With judged: labels of the set itself that are wrong by eye count as found.",
        "",
        *table(["", "wrong labels", "seeds", *columns], rows),
    ]


def odd_images(result: Figures) -> list[str]:
    """Odd files that were made on purpose."""
    peers = [peer for peer in ("headstart", "cleanvision", "fastdup") if peer in result]
    kinds = [kind for kind, found in result["headstart"].items() if isinstance(found, dict) and "made" in found]

    def figures(peer: str, kind: str) -> list[str]:
        found = result[peer].get(kind)
        if found is None:
            return ["—", "—", "—"]
        precision = "—" if found["precision"] is None else f"{found['precision']:.0%}"
        return [str(found["listed"]), f"{found['recall']:.0%}", precision]

    rows = [
        [kind, str(result["headstart"][kind]["made"]), *(text for peer in peers for text in figures(peer, kind))]
        for kind in kinds
    ]
    columns = [f"{peer}: {name}" for peer in peers for name in ("listed", "recall", "precision")]
    return [
        *heading("Odd files: 60 made ones among 10,222 dogs", result),
        f"Files that the set has by itself count as errors. Of 5 spellings of class names headstart tells "
        f"{result['headstart']['told']['class names']}, of 4 classes with a watermark "
        f"{result['headstart']['told']['watermarks']}.",
        "",
        *table(["kind", "made", *columns], rows),
    ]


def near_duplicates(result: Figures) -> list[str]:
    """Copies that were added on purpose, and the near-duplicates of the set itself."""
    kinds = ("exact", "re-encoded", "resized", "cropped", "mirrored", "recolored", "burst")
    peers = {name: found for name, found in result.items() if isinstance(found, dict) and "seeds" in found}
    share = "{:.1%}".format
    rows = [
        [kind, *(f"{share(found[kind]['recall'])}, {share(found[kind]['precision'])}" for found in peers.values())]
        for kind in kinds
    ]
    own = [f"{share(found['own']['recall'])}, {share(found['own']['precision'])}" for found in peers.values()]
    facts = [
        ["seeds", *(str(found["seeds"]) for found in peers.values())],
        ["CPU seconds", *(figure(found["cpu_seconds"], " s") for found in peers.values())],
    ]
    return [
        *heading("Near-duplicates: 220 copies among dogs120", result),
        "Recall, precision. The last kind are the near-duplicates of the set itself, as judged by eye. The seconds of "
        "headstart are without the features, which a fit computes anyway; those of the peers are all that they take.",
        "",
        *table(["", *peers], [*rows, ["of the set itself", *own], *facts]),
    ]


def video_frames(result: Figures) -> list[str]:
    """Frames of videos, divided in three ways."""
    ways = {
        "random": "at random (`--near-duplicates ignore`)",
        "near_duplicates": "near-duplicates together (the default)",
        "groups": "videos together (`--group-pattern`)",
    }
    rows = [[text, percent(result[way]["told"]), percent(result[way]["others"])] for way, text in ways.items()]
    head = ["the validation split divides frames", "accuracy that the fit tells", "on photographs that are in no video"]
    return [*heading("Frames of videos", result), *table(head, rows)]


SECTIONS = {
    "peer_comparison": Section(peer_comparison, draw_peer_comparison),
    "peer_comparison-gpu": Section(peer_comparison, draw_peer_comparison),
    "search": Section(search),
    "held_out": Section(held_out),
    "stages": Section(stages),
    "variants": Section(variants),
    "folds": Section(folds),
    "priors": Section(priors),
    "few_images": Section(few_images),
    "update": Section(update),
    "exported_page": Section(exported_page),
    "wrong_labels": Section(wrong_labels),
    "odd_images": Section(odd_images),
    "near_duplicates": Section(near_duplicates),
    "labels_needed": Section(labels_needed, draw_labels_needed),
    "video_frames": Section(video_frames),
}
