"""The page of scale/: how time and memory grow."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Figures
from benchmarks.pages.markdown import Section, figure, heading, image, number, percent, table
from benchmarks.pages.plots import draw_growth

STORE = {
    "append_rows_per_s": "appended per second",
    "look_up_all_s": "look up all, s",
    "take_all_s": "read all, s",
    "take_1000_s": "read 1,000, s",
    "prune_s": "prune, s",
    "peak_gb": "peak memory, GB",
}
FIT = ("from_nothing_s", "store_warm_s", "peak_gb", "anonymous_gb")


def fit_rows(result: Figures) -> list[list[str]]:
    """Seconds and memory of a fit, by number of images."""
    return [[f"{each['images']:,}", *(number(each[name]) for name in FIT if name in each)] for each in result["fit"]]


FIT_HEAD = ["images", "fit, store empty, s", "store warm, s", "peak memory, GB", "of it allocated, GB"]


def growth(result: Figures) -> list[str]:
    """The store, and fits."""
    rows = [[f"{each['rows']:,}", *(number(each[name]) for name in STORE)] for each in result["store"]]
    return [
        *heading("Growth", result),
        *table(["rows of 64 features", *STORE.values()], rows),
        "With a million rows, the memory is that of their keys and, once all are read, of their 128 MB of features.",
        "",
        *table(FIT_HEAD, fit_rows(result)),
        "What is not allocated are pages of mapped files: libraries and the store.",
        "",
        *image("Time and memory over size", "growth.png"),
    ]


def draw(result: Figures, folder: Path) -> None:
    """Time and memory over size."""
    draw_growth(folder / "growth.png", result)


def hostile(result: Figures) -> list[str]:
    """What hostile requests got, and what became of the good ones beside them."""
    slope, (first, _, last) = result["memory_slope"], result["memory_mb"]
    rows = [
        ["hostile requests", f"{result['requests']:,}"],
        ["answers with a status of 500 or above but 503", number(result["server_errors"])],
        [
            "good requests meanwhile, and how many were answered",
            f"{result['good_requests']}, {result['good_answered']}",
        ],
        [
            "99 of 100 good requests, and the slowest, ms",
            f"{result['good_p99_ms']:.0f}, {result['good_slowest_ms']:.0f}",
        ],
        ["memory before and after, MB", f"{first:.0f}, {last:.0f}"],
        ["its slope in the second half, MB per minute", f"{slope['mb_per_minute']:.2f} ± {slope['error']:.2f}"],
    ]
    return [*heading("Hostile requests to the server", result), *table(["", ""], rows)]


def studio_grid(result: Figures) -> list[str]:
    """Scrolling in the studio: long frames and memory."""
    before, after = result["memory_before"], result["memory_after"]
    rows = [
        ["images", f"{result['images']:,}"],
        ["reading their folder into the project, s", number(result["seconds_to_read_the_folder"])],
        ["elements of the grid's cells", f"{result['elements_of_cells']}"],
        ["tasks of the page's main thread while one scrolls", f"{result['tasks']:,}"],
        ["the longest one: processor time, ms", number(result["longest_task_processor_ms"])],
        [
            "the longest one as the clock ran, ms; how many above 50 ms",
            f"{number(result['longest_task_ms'])}; {result['tasks_over_50_ms']}",
        ],
        [
            "animation frames; how many above 50 ms; the longest, ms",
            f"{result['animation_frames']:,}; {result['animation_frames_over_50_ms']}; "
            f"{number(result['longest_animation_frame_ms'])}",
        ],
        [
            "resident memory of the tab before and after, and at most, MB",
            f"{before['resident_mb']:.0f}, {after['resident_mb']:.0f}, {after['largest_resident_mb']:.0f}",
        ],
    ]
    load = result["load_average"][0]
    return [
        *heading("Scrolling in the studio", result),
        *table(["", ""], rows),
        f"The load average was {load:g} on {result['machine']['cores']} cores, with the studio and the browser.",
    ]


def studio_killed(result: Figures) -> list[str]:
    """Labels after the studio was killed."""
    moments = result["seconds_before_the_kill"]
    rows = [
        ["kills; of them while a fit ran", f"{result['kills']}; {result['kills_while_training']}"],
        ["seconds of labeling before a kill", f"{number(moments[0])} to {number(moments[-1])}"],
        ["changes that were acknowledged", f"{result['acknowledged_changes']:,}"],
        ["of them lost", f"{result['lost']}"],
        ["seconds to open the project again, median", number(result["seconds_to_open_again"])],
        ["the head is solved again after the last kill", "yes" if result["learns_again"] else "no"],
    ]
    return [*heading("Killing the studio", result), *table(["", ""], rows)]


def studio_lists(result: Figures) -> list[str]:
    """A project of many images."""
    rows = [
        ["images; size of the file, MB", f"{result['images']:,}; {number(result['file_mb'])}"],
        ["opening the project, with its first page and counts, ms", number(result["open_and_first_page_ms"])],
        [
            "a page of 200 images of the slowest list, ms",
            f"{number(result['slowest_page_ms'])} ({result['slowest_list']})",
        ],
        ["a page of 200 images, median of all lists, ms", number(result["median_page_ms"])],
        [
            "a label until it is on the disk, ms; 200 labels",
            f"{number(result['label_one_ms'])}; {number(result['label_200_ms'])}",
        ],
        ["labels of all images, s; undoing them", f"{number(result['label_all_s'])}; {number(result['undo_all_s'])}"],
    ]
    load = f"The load average was {result['load_average'][0]:g} on {result['machine']['cores']} cores."
    return [*heading("A project of many images", result), *table(["", ""], rows), load]


CHECK = {"seconds": "seconds", "peak_gb": "peak memory, GB"}


def check_rows(result: Figures) -> list[str]:
    """A check of a table with many rows: of the same images, and of as many files."""
    lines = heading("A check of a table with many rows", result)
    for key, head in (("repeated", "rows that name 100 images"), ("files", "rows that name a file each")):
        lines += table(
            [head, *CHECK.values()],
            [[f"{each['rows']:,}", *(number(each[name]) for name in CHECK)] for each in result[key]],
        )
    return lines


def cluster(result: Figures) -> list[str]:
    """Features by workers of a cluster, and by peers."""
    rows = [
        [name, *(number(found[key]) for key in ("images_per_s", "start_s", "seconds"))]
        for name, found in result.items()
        if isinstance(found, dict) and "images_per_s" in found
    ]
    head = ["", "images per second, after the start", "until the first part, s", "in all, s"]
    return [*heading(f"Features of {result['images']:,} images by workers of a cluster", result), *table(head, rows)]


def data_parallel(result: Figures) -> list[str]:
    """Losses by several workers, and large batches."""
    lines = heading("Training by several workers, and with large batches", result)
    rows = [
        [way, " ".join(f"{loss:.4f}" for loss in found["losses"]), f"{found['difference']:.1e}"]
        for way, found in result.get("workers", {}).items()
        if isinstance(found, dict) and "losses" in found
    ]
    lines += table(["batches of 64", "training loss of each epoch", "largest difference to the first line"], rows)
    if "scaling" not in result:
        return lines
    scaling = result["scaling"]
    rows = [
        [
            f"{each['batch']} (k = {each['k']})",
            each["rate"],
            figure(each.get("loss")),
            percent(each["val_accuracy"]) if "val_accuracy" in each else "—",
            f"{each['diverged']} of {scaling['seeds']}",
        ]
        for each in scaling["rows"]
    ]
    lines += table(["batch", "learning rate", "training loss", "validation accuracy", "diverged"], rows)
    note = f"{result['images']:,} images, after {scaling['epochs']} epochs; seeds: {scaling['seeds']}."
    return [*lines, f"{note} The rate that is scaled is that of k = 1.", ""]


def cluster_faults(result: Figures) -> list[str]:
    """What came of faults while workers of a cluster computed features."""
    names = {
        "worker": "a worker is killed",
        "driver": "headstart is killed",
        "raylet": "the raylet of a machine is killed",
        "network": "no packet passes between two machines for 20 s",
    }
    keys = ("trials", "ended_right", "resumed", "wrong")
    rows = [[names[kind], *(str(found[key]) for key in keys)] for kind, found in result["faults"].items()]
    head = ["at a random moment", "times", "the fit ended right", "the same command went on", "wrong"]
    return [
        *heading(f"Faults in a cluster, during a fit of {result['images']} images", result),
        *table(head, rows),
        "Right: each row of a fit without a cluster once and byte for byte, and the same weights and probabilities.",
        "",
    ]


def cluster_object_storage(result: Figures) -> list[str]:
    """A fit and a prediction by machines that have no folder in common."""
    lines = [("the features, byte for byte", "same_features"), ("weights, figures and probabilities", "same_run")]
    lines += [("predictions by the run at the address", "same_predictions")]
    rows = [[what, "yes" if result[name] else "no"] for what, name in lines]
    title = f"A fit of {result['images']} images by machines that have only object storage in common"
    return [*heading(title, result), *table(["the same as of one process with folders", ""], rows)]


def heads(result: Figures) -> list[str]:
    """Heads over shards, beside one process."""
    rows = [
        [
            f"{each['rows']:,}",
            number(each["features_mb"]),
            *(number(each[way]["peak_mb"]) for way in ("in memory", "from the store", "two workers")),
            number(max(each["two workers"]["worker_peaks_mb"])),
            *(f"{each[name]:.1g}" for name in ("loss_differs_by", "weights_differ_by_share")),
        ]
        for each in result["sizes"]
    ]
    head = ["rows", "features, MB", "peak in memory, MB", "from the store, MB", "over shards, MB", "its worker, MB"]
    head += ["difference of the loss", "of the weights, as a share"]
    title = f"A head on {result['features']} features for {result['classes']} classes over shards"
    return [*heading(title, result), *table(head, rows)]


def sizes(result: Figures) -> list[str]:
    """What the process that was started keeps while workers compute features."""
    low, high = (f"{rows:,}" for rows in result["rows"])
    return [
        *heading("Memory per image while workers compute features", result),
        f"The process that was started keeps {result['driver_bytes_per_image']:,} bytes per image ({low} to {high} "
        "images). `docs/scale.md` works out a million to a billion of them.",
        "",
    ]


def cluster_million(result: Figures) -> list[str]:
    """Memory, commits and files of a fit with workers of a cluster."""
    found = [each for each in result.values() if isinstance(each, dict) and "after_joining" in each]
    names = {"listing": "listing", "inspection": "inspecting", "extraction": "computing", "fit": "fitting"}
    rows = [
        [
            f"{each['images']:,}",
            *(f"{each[stage]['driver_mb']:,}" if stage in each else "not taken" for stage in names),
            f"{each['extraction']['largest_worker_mb']:,}",
            f"{each['commits']:,}",
            *(f"{each[when]['fragments']:,}" for when in ("before_joining", "after_joining")),
            *(f"{each[when]['files']:,}" for when in ("before_joining", "after_prune")),
        ]
        for each in found
    ]
    head = [
        "images",
        *(f"headstart while {what}, MB" for what in names.values()),
        "the larger worker, MB",
        "commits",
        "fragments",
        "after they were joined",
        "files",
        "after a prune",
    ]
    return [
        *heading("A million images with two workers of a cluster", result),
        *table(head, rows),
        '"Fitting" draws the splits, solves the head and evaluates it, with the features in the store.',
        "",
    ]


SECTIONS = {
    "cluster": Section(cluster),
    "data_parallel": Section(data_parallel),
    "cluster_million": Section(cluster_million),
    "cluster_faults": Section(cluster_faults),
    "cluster_object_storage": Section(cluster_object_storage),
    "heads": Section(heads),
    "sizes": Section(sizes),
    "growth": Section(growth, draw),
    "check_rows": Section(check_rows),
    "hostile": Section(hostile),
    "studio_grid": Section(studio_grid),
    "studio_killed": Section(studio_killed),
    "studio_lists": Section(studio_lists),
}
