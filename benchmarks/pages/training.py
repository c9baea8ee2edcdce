"""The second half of the page of speed/: a fine-tuning step, the limits of the machine, a GPU."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Figures, read_json, result_path
from benchmarks.pages.markdown import Section, figure, heading, image, number, table
from benchmarks.pages.plots import draw_bars

NEEDED = ("decode (dogs120)", "forward (EfficientNet-Lite0", "head, regularization path")  # stages of a first fit


def memory_format(result: Figures) -> list[str]:
    """Steps with and without channels last."""
    rows = [
        [
            f"{each['model']}, {each['train']}",
            each["precision"],
            figure(each["contiguous_ms"], " ms"),
            figure(each["headstart_ms"], " ms"),
            figure(each["times_faster"], " times"),
        ]
        for each in result["steps"]
    ]
    head = ["a step of 32 images", "precision", "all maps contiguous", "headstart's rule", "faster"]
    return [*heading("Memory format of a fine-tuning step", result), *table(head, rows)]


def busy_machine(result: Figures) -> list[str]:
    """Seconds of a solved head beside other work."""
    rows = [
        [beside, figure(result[beside]["headstart"], " s"), figure(result[beside]["openmp"], " s")]
        for beside in ("0", "1", "2")
        if beside in result
    ]
    titles = ["processes that only count", "headstart", "with OpenMP's own waiting"]
    return [*heading("A solved head beside other work", result), *table(titles, rows)]


def heap_reuse(result: Figures) -> list[str]:
    """Steps with retained memory, and with fresh memory."""
    rows = [
        [
            f"{each['model']}, {each['train']}",
            f"{figure(each['fresh_ms'], ' ms')}, {each['fresh_pages']:,} pages",
            f"{figure(each['retained_ms'], ' ms')}, {each['retained_pages']:,} pages",
            figure(each["times_faster"], " times"),
        ]
        for each in result["steps"]
    ]
    head = [f"a step of 32 images, {result['precision']}", "fresh memory", "memory of earlier steps", "faster"]
    return [*heading("Reuse of memory in a fine-tuning step", result), *table(head, rows)]


def tail_profile(result: Figures) -> list[str]:
    """The share of each operation, and what it does."""
    rows = []
    for title, tail in result["tails"].items():
        rows += [[title, tail["precision"], f"{tail['ms_per_step']:.0f} ms per step of 32", ""]]
        rows += [["", f"`{name}`", f"{each['share']:.0%}", each["why"]] for name, each in tail["operations"].items()]
        rows += [["", "other operations", f"{tail['other_operations']:.0%}", ""]]
        rows += [["", "outside torch's operations", f"{tail['outside_torch_operations']:.0%}", ""]]
    return [
        *heading("Where the time of fine-tuning goes", result),
        *table(["tail", "operation", "share", "what it does"], rows),
    ]


def four_digits(value: dict[str, float]) -> str:
    """Median and range."""
    return f"{value['median']:.4g} ({value['low']:.4g} to {value['high']:.4g})"


def roofline(result: Figures) -> list[str]:
    """Work over limit, for each stage."""
    limits = [[name.replace("_", " "), four_digits(value)] for name, value in result["ceilings"].items()]
    rows = []
    for each in result["stages"]:
        computing, moving = each["computing_ms"], each["moving_ms"]
        # Decoding is measured with the files in memory: its limit is the decoder, not the disk.
        limit = computing if each["stage"].startswith("decode") else max(computing, moving)
        share = f"{limit / each['measured_ms']['median']:.0%}"
        times = [f"{computing:.3f}", f"{moving:.3f}", four_digits(each["measured_ms"])]
        rows.append([each["stage"], each["work"], each["ceiling"], *times, share])
    head = ["stage", "work per image", "limits", "computing, ms", "moving, ms", "measured, ms", "share"]
    return [
        *heading("Roofline: the limits of the machine, and how close headstart comes", result),
        *table(["limit", ""], limits),
        "A multiplication is counted with its addition. *Computing* is at the rate of a large matrix product, or of",
        "Pillow's decoder; a network of depthwise layers has few multiplications per byte and cannot come close to it.",
        "*Moving* is all that its layers read and write, at the rate of a copy in memory (for a file: of the disk,",
        "with nothing in the page cache); what stays in the caches is faster. The share is the longer of the two",
        "times divided by the time measured with the files in memory. About 100 % is as fast as the large product,",
        "which other sizes may exceed by a few percent.",
        "",
        *table(head, rows),
        *first_fit_limit(result),
    ]


def first_fit_limit(result: Figures) -> list[str]:
    """The first fit of 10,222 images against the sum of its minimal times, where it has been measured."""
    path = result_path("speed/first_fit")
    if not path.exists():
        return []
    seconds = read_json(path)["from_nothing_s"]["median"]
    by_stage = {each["stage"]: each["computing_ms"] for each in result["stages"]}
    minimal = sum(next(ms for stage, ms in by_stage.items() if stage.startswith(name)) for name in NEEDED) * 10.222
    return [
        f"A fit of 10,222 images with an empty store (`first_fit`) takes {seconds:.1f} s; its decoding, forward pass "
        f"and head need at least {minimal:.1f} s of computing, {minimal / seconds:.0%} of that. The rest is the "
        "distance from these limits, and imports, the inspection of the images, the compilation of the engine, the "
        "store, the bootstrap of the evaluation and the report.",
        "",
    ]


def gpu(result: Figures) -> list[str]:
    """All sections; one that failed or was skipped states so."""
    lines = heading("On a GPU", result)
    frozen = result.get("frozen_part")
    if isinstance(frozen, dict):
        for name, variants in frozen.items():
            rows = [[each, figure(found["per_s"])] for each, found in variants.items()]
            lines += table([f"the frozen part of {name}", "images per second"], rows)
        lines += image("Images per second", "gpu.png")
    for name in ("ceilings", "from_files", "epoch"):
        found = result.get(name)
        if isinstance(found, dict):
            rows = [[key.replace("_", " "), figure(value)] for key, value in found.items()]
            lines += table([name.replace("_", " "), ""], rows)
        else:
            lines += [f"{name}: {found}", ""]
    fit = result.get("from_nothing")
    if isinstance(fit, dict):
        rows = [[name, number(each["seconds"])] for name, each in fit.items()]
        lines += table(["`headstart fit`", "seconds"], rows)
    return lines


def draw_gpu(result: Figures, folder: Path) -> None:
    """Images per second of the first network."""
    frozen = result.get("frozen_part")
    if isinstance(frozen, dict):
        first = next(iter(frozen.values()))
        draw_bars(folder / "gpu.png", {name: each["per_s"] for name, each in first.items()}, "images per second")


SECTIONS = {
    "memory_format": Section(memory_format),
    "heap_reuse": Section(heap_reuse),
    "busy_machine": Section(busy_machine),
    "tail_profile": Section(tail_profile),
    "roofline": Section(roofline),
    "gpu": Section(gpu, draw_gpu),
}
