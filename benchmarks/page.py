"""README.md's last part and the plots, from the figures in results/.

    python benchmarks/page.py [--results FOLDER] [--out FOLDER]

Whoever measures runs this after it, and commits both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import HERE, RESULTS

MARK = "<!-- What follows is written by page.py from results/: change it there. -->"
OURS, OTHERS, INK = "#1f6fd6", "#9aa3ad", "#30363d"

Json = dict[str, Any]


def figure(value: Json | float | None, unit: str = "", scale: float = 1) -> str:
    """Median with its range; a range that says nothing is left out."""
    if value is None:
        return "—"
    if not isinstance(value, dict):
        return f"{number(value * scale)}{unit}"
    middle, low, high = (number(value[name] * scale) for name in ("median", "low", "high"))
    return f"{middle}{unit}" + (f" ({low} to {high})" if low != high else "")


def number(value: float) -> str:
    """Three digits and no powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """As Markdown."""
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def heading(title: str, result: Json) -> list[str]:
    """What was measured, how and on what."""
    machine = result["machine"]
    where = result.get("gpu") or machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']}"
    return [f"### {title}", "", f"`{result['command']}`, {result['date']}, {where}.", ""]


# -- sections ---------------------------------------------------------------------------------------------------------


def first_fit(result: Json, _: Path) -> list[str]:
    """The main job."""
    top1 = result["figures"]["top1"]
    rows = [
        ["from nothing: 10,222 pictures to the report", figure(result["from_nothing_s"], " s")],
        ["again with the store warm", figure(result["store_warm_s"], " s")],
        ["peak memory", figure(result["peak_gb"], " GB")],
        [
            f"accuracy on {result['part']}, 95 % interval",
            f"{top1['value']:.1%} ({top1['low']:.1%} to {top1['high']:.1%})",
        ],
    ]
    return [*heading("The first fit", result), *table(["`headstart fit dogs120`", ""], rows)]


AGAIN = {
    "classic": "the same recipe",
    "defaults": "by the defaults",
    "head": "the head alone",
    "session": "the head alone, in a session that has loaded headstart",
}


def versus(what: str, theirs: Json, ours: Json) -> list[str]:
    """A row of seconds."""
    seconds = figure(theirs["keras_s"], " s"), figure(ours["headstart_s"], " s")
    return [what, *seconds, figure(ours["times_faster"], " times")]


def seed(result: Json, plots: Path) -> list[str]:
    """The tutorial against headstart."""
    last, second = result["to_the_last_epoch"], result["second_fit"]
    better = result["better_than_the_best_of_keras"]
    best = f"better on validation than Keras's best ({better['keras_best_val_accuracy']:.1%})"
    rows = [
        versus(f"from the JPEGs to the end of epoch {result['epochs']}, the same recipe", last, last),
        [
            "its peak memory",
            figure(last["keras_peak_gb"], " GB"),
            figure(last["headstart_peak_gb"], " GB"),
            figure(last["times_less_memory"], " times less"),
        ],
        *(versus(f"{best} is told {how}", better, told) for how, told in better["told"].items()),
        versus(f"{best}, all done and the report written", better, better["all_done"]),
        *(
            versus(f"again with other settings (`{second[name]['settings']}`), {what}", last, second[name])
            for name, what in AGAIN.items()
            if name in second
        ),
    ]
    bars(
        plots / "seed.png",
        {
            "Keras, 10 epochs": last["keras_s"],
            "headstart, the same recipe": last["headstart_s"],
            "headstart, the same recipe again": second["classic"]["headstart_s"],
            "headstart's defaults": better["all_done"]["headstart_s"],
            "headstart's defaults again": second["defaults"]["headstart_s"],
            **({"headstart, the head alone again": second["head"]["headstart_s"]} if "head" in second else {}),
        },
        "seconds from the JPEGs of 10,222 dogs to a classifier",
    )
    return [
        *heading("The 2020 tutorial and headstart", result),
        *table(["", "Keras", "headstart", ""], rows),
        "![Seconds of each](plots/seed.png)",
        "",
    ]


def accuracy(result: Json, plots: Path) -> list[str]:
    """Against peers."""
    lines = heading("Accuracy", result)
    lines += ["Of the test part, which nobody chose on; median over the seeds, with the lowest and highest."]
    if "gpu" not in result["machine"]:
        lines += ["On parts this small an epoch of fine-tuning is a few steps: whole data favours it more."]
    lines += [""]
    groups: dict[tuple[str, str], list[Json]] = {}
    for line in result["summary"]:
        groups.setdefault((line["data"], line["part"]), []).append(line)
    for (data, part), found in groups.items():
        lines += [f"**{data}**, " + ("all pictures" if part == "all" else f"{part} pictures a class"), ""]
        size = [] if part == "all" else ["--part", part]
        peers = ["--peers", *(line["peer"] for line in found)]
        words = ["--data", data, *size, "--seeds", str(max(line["seeds"] for line in found)), *peers]
        lines += [f"`python benchmarks/accuracy.py {' '.join(words)}`", ""]
        rows = [
            [
                line["peer"],
                str(line["seeds"]),
                figure(line["top1"], " %", 100),
                figure(line["log_loss"]),
                figure(line["ece"]),
                figure(line["seconds"], " s"),
                figure(line["peak_gb"], " GB"),
            ]
            for line in found
        ]
        lines += table(["", "seeds", "accuracy", "log-loss", "ECE", "seconds", "memory"], rows)
        place = plots / f"accuracy-{data}-{part}-{result['machine'].get('gpu', 'cpu').replace(' ', '-')}.png"
        scatter(place, found, f"{data}, {'all pictures' if part == 'all' else part + ' pictures a class'}")
        lines += [f"![Accuracy over seconds](plots/{place.name})", ""]
    return lines


def predict(result: Json, plots: Path) -> list[str]:
    """Prediction."""
    cold, line = result["from_nothing"], result["headstart_predict_of_all"]
    rows = [
        [
            name,
            figure(each["top1"], " %", 100),
            figure(each["per_s"]),
            figure(each["latency_ms"]),
            figure(each["peak_gb"], " GB"),
            "; ".join(
                f"{ours.rpartition('-')[2]} {figure(against[name]['in_bulk'], ' times')}"
                for ours, against in result["headstart_times_faster"].items()
                if name in against
            ),
        ]
        for name, each in result["peers"].items()
    ]
    bars(plots / "predict.png", {name: each["per_s"] for name, each in result["peers"].items()}, "pictures a second")
    return [
        *heading("Prediction from files", result),
        *table(["", "top-1", "pictures a second", "one when warm, ms", "memory", "headstart is faster by"], rows),
        "![Pictures a second](plots/predict.png)",
        "",
        *table(
            ["from nothing", "seconds"],
            [
                ["`headstart --help`", figure(cold["headstart_help_s"])],
                ["`headstart predict` of one picture", figure(cold["headstart_predict_s"])],
                ["a script that imports torch and timm and predicts one", figure(cold["torch_and_timm_alone_s"])],
                ["`headstart predict` of all pictures", figure(line["process_s"])],
            ],
        ),
    ]


def ladder(result: Json, _: Path) -> list[str]:
    """What each rung costs and gains."""
    lines = heading("The ladder, rung by rung", result)
    for name, found in result.items():
        if not isinstance(found, dict) or "rungs" not in found:
            continue
        end = found["end"]
        rows = [
            [
                rung,
                str(each["seeds"]),
                figure(each["accuracy"], " %", 100),
                figure(each["log_loss"]),
                figure(each["seconds"]),
            ]
            for rung, each in found["rungs"].items()
        ]
        lines += [
            f"{name}: on {found['part']} at the end {figure(end['top1'], ' %', 100)}, mean {end['top1']['mean']:.2%}, "
            f"log-loss {figure(end['log_loss'])}, ECE {figure(end['ece'])}, sets hold {end['covered']['mean']:.1%}; "
            f"{figure(found['first_from_nothing_s'])} s from nothing"
            + (f", on {found['machine']['processor']}." if "machine" in found else "."),
            "",
            *table(["rung, on validation", "seeds", "accuracy", "log-loss", "seconds"], rows),
        ]
    return lines


def origins(result: Json, _: Path) -> list[str]:
    """What a head is drawn toward."""
    rows = [
        [
            f"{name}, {found['images']:,} pictures",
            way,
            figure(found[way]["top1"], " %", 100),
            figure(found[way]["log_loss"]),
            figure(found[way]["ece"]),
            figure(found[way]["seconds"]),
        ]
        for name, found in result.items()
        if isinstance(found, dict) and "zero alone" in found
        for way in ("zero alone", "discriminant too")
    ]
    return [
        *heading("What a head is drawn toward", result),
        *table(["a fifth that no choice sees", "origins", "accuracy", "log-loss", "ECE", "seconds"], rows),
    ]


def few(result: Json, _: Path) -> list[str]:
    """Few pictures a class."""
    rows = [
        [name, peer, figure(each["top1"], " %", 100), figure(each["log_loss"]), figure(each["ece"])]
        for name, peers in result.items()
        if "a class" in name
        for peer, each in peers.items()
    ]
    return [
        *heading("Few pictures a class", result),
        *table(["", "", "accuracy", "log-loss", "ECE"], rows),
    ]


def update(result: Json, _: Path) -> list[str]:
    """A class more."""
    last = result["updates"][-1]
    return [
        *heading("A 121st class for a fitted run", result),
        *table(
            ["", ""],
            [
                ["the first fit, from nothing", figure(result["first_fit_s"], " s")],
                ["with the class added, store warm", figure(result["update_s"], " s")],
                ["the old classes before", f"{result['old_classes_before'][0]:.1%}"],
                ["the old classes after", f"{last['old'][0]:.1%}"],
            ],
        ),
    ]


def trust(result: Json, _: Path) -> list[str]:
    """Whether a fit's own figures are true."""
    rows = [
        [
            name + (f", on {found['machine']['processor']}" if "machine" in found else ""),
            found["within"],
            figure(found["true_top1"], " %", 100),
            f"{found['covered_mean']:.1%}; {figure(found['covered'], ' %', 100)}",
            figure(found["set_size"]),
            figure(found["ece"]),
        ]
        for name, found in result.items()
        if isinstance(found, dict) and "within" in found
    ]
    head = ["", "truth in the fit's interval", "accuracy", "90 % sets hold it: mean; median", "classes a set", "ECE"]
    return [*heading("Is what a fit says of itself true?", result), *table(head, rows)]


def layout(result: Json, _: Path) -> list[str]:
    """Steps with and without channels last."""
    rows = [
        [
            f"{each['model']}, {each['train']}",
            each["precision"],
            figure(each["as_they_come_ms"], " ms"),
            figure(each["ms"], " ms"),
            figure(each["times_faster"], " times"),
        ]
        for each in result["steps"]
    ]
    head = ["a step of 32", "", "maps as they come", "by headstart's rule", "faster"]
    return [*heading("A training step", result), *table(head, rows)]


def allocating(result: Json, _: Path) -> list[str]:
    """Steps with memory of the steps before, and with fresh memory."""
    rows = [
        [
            f"{each['model']}, {each['train']}",
            f"{figure(each['fresh_ms'], ' ms')}, {each['fresh_pages']:,} pages",
            f"{figure(each['held_ms'], ' ms')}, {each['held_pages']:,} pages",
            figure(each["times_faster"], " times"),
        ]
        for each in result["steps"]
    ]
    head = [f"a step of 32, {result['precision']}", "fresh memory", "memory of the steps before", "faster"]
    return [*heading("Memory that is used again", result), *table(head, rows)]


def extraction(result: Json, plots: Path) -> list[str]:
    """The rate and its limits."""
    bars(
        plots / "extraction.png",
        {
            "decoding alone": result["decoding_alone_per_s"],
            "the engine alone": result["forward_alone_per_s"],
            "limit where both share the cores": result["limit_where_both_share_the_cores_per_s"],
            "headstart, files to features": result["extraction_per_s"],
        },
        f"pictures a second ({result['engine']})",
    )
    rows = [
        ["decoding alone", figure(result["decoding_alone_per_s"], " a second")],
        ["the engine alone, on pictures in memory", figure(result["forward_alone_per_s"], " a second")],
        ["files to features in the store", figure(result["extraction_per_s"], " a second")],
        ["of the engine alone", f"{result['share_of_forward_alone']:.0%}"],
        ["of what both can do on the same cores", f"{result['share_of_that_limit']:.0%}"],
    ]
    rows += [
        [f"the engine alone, by {batch} at a time", figure(rate, " a second")]
        for batch, rate in result.get("forward_alone_by_batch_per_s", {}).items()
    ]
    shares = result.get("profile_shares", {})
    rows += [[f"time of the threads in: {step}", f"{share:.1%}"] for step, share in shares.items()]
    return [
        *heading("Extraction from files", result),
        *table(["", ""], rows),
        "![Pictures a second](plots/extraction.png)",
        "",
    ]


def large(result: Json, _: Path) -> list[str]:
    """Both ways of reading."""
    apart, cosine = result["view_difference_in_levels"], result["feature_cosine"]
    rows = [
        [name, figure(rate, " a second"), f"{result['accuracy_of_a_head'][name]:.1%}"]
        for name, rate in result["per_s_of_one_core"].items()
    ]
    return [
        *heading("Large photographs", result),
        *table(
            [f"{result['images']} JPEGs of {figure(result['pixels'])} pixels", "read by one core", "a head's"], rows
        ),
        f"Views differ by {apart['mean']:.2f} of 255 levels in the mean, {apart['most']} at most; the cosine of "
        f"features is {cosine['median']:.4f} in the median, {cosine['least']:.4f} at least.",
        "",
    ]


def tail_profile(result: Json, _: Path) -> list[str]:
    """What each operation takes, and why."""
    rows = []
    for title, tail in result["tails"].items():
        rows += [[title, tail["precision"], f"{tail['ms_a_step']:.0f} ms a step of 32", ""]]
        rows += [["", f"`{name}`", f"{each['share']:.0%}", each["why"]] for name, each in tail["operations"].items()]
        rows += [["", "smaller ones together", f"{tail['smaller_ones_together']:.0%}", ""]]
        rows += [["", "outside torch's operations", f"{tail['outside_torchs_operations']:.0%}", ""]]
    return [*heading("Where the time of training a tail goes", result), *table(["", "", "", ""], rows)]


def int8(result: Json, _: Path) -> list[str]:
    """Precisions side by side."""
    networks = [
        [name, precision, f"{each['top1']:.1%}", figure(each["per_s"], " a second"), f"{each['prepare_s']:.0f} s"]
        for name, found in result["networks as published"].items()
        for precision, each in found.items()
    ]
    fits = [
        [
            precision,
            f"{each['top1']:.1%}",
            f"{each['log_loss']:.3f}",
            f"{each['features_s']:.0f} s",
            *(each["told"] or [""]),
        ]
        for precision, each in result["fit of trash6, head"].items()
    ]
    return [
        *heading("8-bit whole numbers", result),
        *table(["imagenet-val", "", "top-1", "from files", "to prepare, once"], networks),
        *table(["trash6, head", "accuracy, test", "log-loss", "features", "told by the fit"], fits),
    ]


def growth(result: Json, plots: Path) -> list[str]:
    """Over sizes."""
    grow(plots / "growth.png", result)
    names = {
        "append_rows_per_s": "appended a second",
        "look_up_all_s": "look up all, s",
        "take_all_s": "read all, s",
        "take_1000_s": "read 1,000, s",
        "prune_s": "prune, s",
        "peak_gb": "memory, GB",
    }
    rows = [[f"{each['rows']:,}", *(number(each[name]) for name in names)] for each in result["store"]]
    fits = [
        [f"{each['pictures']:,}", *(number(each[name]) for name in ("from_nothing_s", "store_warm_s", "peak_gb"))]
        for each in result["fit"]
    ]
    return [
        *heading("Growth", result),
        *table(["rows of 64 features", *names.values()], rows),
        "Of a million rows, the memory is that of their names and, once all are read, of their 128 MB of features.",
        "",
        *table(["pictures", "fit from nothing, s", "with the store warm, s", "memory, GB"], fits),
        "![Time and memory over size](plots/growth.png)",
        "",
    ]


def gpu(result: Json, plots: Path) -> list[str]:
    """Everything that is there; a part that failed or was left out says so itself."""
    lines = heading("On a GPU", result)
    frozen = result.get("frozen_part")
    if isinstance(frozen, dict):
        for name, variants in frozen.items():
            rows = [[each, figure(found["per_s"])] for each, found in variants.items()]
            lines += table([f"the frozen part of {name}", "pictures a second"], rows)
        first = next(iter(frozen.values()))
        bars(plots / "gpu.png", {name: each["per_s"] for name, each in first.items()}, "pictures a second")
        lines += ["![Pictures a second](plots/gpu.png)", ""]
    for part in ("ceilings", "from_files", "epoch"):
        found = result.get(part)
        if isinstance(found, dict):
            rows = [[name.replace("_", " "), figure(value)] for name, value in found.items()]
            lines += table([part.replace("_", " "), ""], rows)
        else:
            lines += [f"{part}: {found}", ""]
    fit = result.get("from_nothing")
    if isinstance(fit, dict):
        rows = [[name, number(each["seconds"])] for name, each in fit.items()]
        lines += table(["`headstart fit` from nothing", "seconds"], rows)
    return lines


def floor(result: Json, _: Path) -> list[str]:
    """Has a page of its own."""
    return [
        *heading("The floor", result),
        "What the machine allows, the work of each stage and the share of the limit: [FLOOR.md](FLOOR.md).",
        "",
    ]


# -- plots ------------------------------------------------------------------------------------------------------------


def bars(place: Path, values: dict[str, Json | float | None], title: str) -> None:
    """Horizontal, the value at its end, ours in colour."""
    from matplotlib.figure import Figure

    there = {name: value for name, value in values.items() if value is not None}
    middles = [value["median"] if isinstance(value, dict) else value for value in there.values()]
    drawn = Figure(figsize=(8, 0.6 + 0.38 * len(there)), layout="constrained")
    axes = drawn.subplots()
    colours = [OURS if "headstart" in name else OTHERS for name in there]
    axes.barh(list(there), middles, color=colours, height=0.7)
    for row, (value, middle) in enumerate(zip(there.values(), middles, strict=True)):
        if isinstance(value, dict) and value["low"] != value["high"]:
            axes.plot([value["low"], value["high"]], [row, row], color=INK, linewidth=1.2)
        end = value["high"] if isinstance(value, dict) else middle
        axes.annotate(number(middle), (end, row), (4, 0), textcoords="offset points", va="center", color=INK)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.margins(x=0.12)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    drawn.savefig(place, dpi=110)


def scatter(place: Path, lines: list[Json], title: str) -> None:
    """Accuracy over seconds, each with its range; the names beside the points."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 4.2), layout="constrained")
    axes = drawn.subplots()
    for number, line in enumerate(sorted(lines, key=lambda line: float(line["seconds"]["median"]))):
        x, y = line["seconds"], line["top1"]
        colour = OURS if line["peer"].startswith("headstart") else OTHERS
        axes.plot([x["low"], x["high"]], [100 * y["median"]] * 2, color=colour, linewidth=1)
        axes.plot([x["median"]] * 2, [100 * y["low"], 100 * y["high"]], color=colour, linewidth=1)
        axes.plot(x["median"], 100 * y["median"], "o", color=colour)
        point = (x["median"], 100 * y["median"])
        above = 4 if number % 2 else -13  # in turn, so that neighbours do not lie on each other
        axes.annotate(line["peer"], point, (6, above), textcoords="offset points", fontsize=9, color=INK)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_xlabel("seconds from nothing, the whole process")
    axes.set_ylabel("accuracy on test, %")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(place, dpi=110)


def grow(place: Path, result: Json) -> None:
    """Three panels: what the store takes, what a fit takes, memory."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 3.6), layout="constrained")
    store, fit, memory = drawn.subplots(1, 3)
    rows = [each["rows"] for each in result["store"]]
    names = {"look_up_all_s": "look up all", "take_all_s": "read all", "take_1000_s": "read 1,000", "prune_s": "prune"}
    for (name, label), style in zip(names.items(), ("-", "--", ":", "-."), strict=True):
        store.plot(rows, [each[name] for each in result["store"]], style, marker="o", color=OURS, label=label)
    store.set(xscale="log", yscale="log", xlabel="rows in the store", title="store, seconds")
    pictures = [each["pictures"] for each in result["fit"]]
    fit.plot(pictures, [each["from_nothing_s"] for each in result["fit"]], "o-", color=OURS, label="from nothing")
    fit.plot(pictures, [each["store_warm_s"] for each in result["fit"]], "o--", color=OURS, label="store warm")
    fit.set(xlabel="pictures", title="fit, seconds", ylim=(0, None))
    memory.plot(rows, [each["peak_gb"] for each in result["store"]], "o--", color=OURS, label="store, over rows")
    memory.plot(pictures, [each["peak_gb"] for each in result["fit"]], "o-", color=OURS, label="fit, over pictures")
    memory.set(xscale="log", xlabel="rows or pictures", title="peak memory, GB", ylim=(0, None))
    for axes in (store, fit, memory):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    drawn.savefig(place, dpi=110)


SECTIONS: dict[str, Callable[[Json, Path], list[str]]] = {
    "first_fit": first_fit,
    "seed": seed,
    "accuracy": accuracy,
    "accuracy-gpu": accuracy,
    "ladder": ladder,
    "trust": trust,
    "origins": origins,
    "few": few,
    "update": update,
    "predict": predict,
    "extraction": extraction,
    "large": large,
    "int8": int8,
    "layout": layout,
    "allocating": allocating,
    "tail_profile": tail_profile,
    "floor": floor,
    "growth": growth,
    "gpu": gpu,
}


def main() -> None:
    """Write the part below the mark again."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--results", type=Path, default=RESULTS)
    arguments.add_argument("--out", type=Path, default=HERE, help="where README.md and plots/ go")
    given = arguments.parse_args()
    plots = given.out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    lines = [MARK, ""]
    for name, section in SECTIONS.items():
        place = given.results / f"{name}.json"
        if place.exists():
            lines += section(json.loads(place.read_text()), plots)
    above = (HERE / "README.md").read_text().partition(MARK)[0].rstrip()
    (given.out / "README.md").write_text("\n".join([above, "", *lines]).rstrip() + "\n")


if __name__ == "__main__":
    main()
