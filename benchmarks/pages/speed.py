"""The first half of the page of speed/: fits, prediction, extraction, precisions."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Figures
from benchmarks.pages.markdown import Section, figure, heading, image, machine_of, number, percent, table
from benchmarks.pages.plots import draw_bars
from benchmarks.pages.studio import studio

SECOND_FITS = {
    "classic": "the same recipe",
    "defaults": "with the defaults",
    "head": "the head alone",
    "session": "the head alone, in a session that has loaded headstart",
}


def first_fit(result: Figures) -> list[str]:
    """The main task."""
    top1 = result["figures"]["top1"]
    interval = f"{top1['value']:.1%} ({top1['low']:.1%} to {top1['high']:.1%})"
    rows = [
        ["store empty: from 10,222 images to the report", figure(result["from_nothing_s"], " s")],
        ["again with the store warm", figure(result["store_warm_s"], " s")],
        ["peak memory", figure(result["peak_gb"], " GB")],
        [f"accuracy on {result['split']}, 95 % interval", interval],
    ]
    return [*heading("The first fit", result), *table(["`headstart fit dogs120`", ""], rows)]


def check(result: Figures) -> list[str]:
    """A check of images and labels."""
    columns = (("s", " s"), ("peak_gb", " GB"), ("anonymous_gb", " GB"))
    rows = [
        [name.replace("_", " "), *(figure(result[f"{name}_{column}"], unit) for column, unit in columns)]
        for name in ("from_nothing", "store_warm")
    ]
    head = [f"`headstart check {result['data']}`", "", "peak memory", "of it allocated by the command"]
    return [*heading("A check", result), *table(head, rows)]


def sources(result: Figures) -> list[str]:
    """The same images from several kinds of places."""
    rows = [
        [
            name.replace("_", " "),
            figure(result["reading_images_per_s"][name]),
            f"{fit['top1']['value']:.2%}, {fit['log_loss']['value']:.4f}",
            figure(fit["seconds"], " s"),
        ]
        for name, fit in result["fits"].items()
    ]
    head = ["", "read and checked, images per second", "fit: accuracy, log-loss", "fit, store empty"]
    return [
        *heading(f"Where images lie: {result['images']:,} images of waste", result),
        *table(head, rows),
        f"The server of S3's protocol ({result['s3_server']}) runs on the same cores, and takes "
        f"{result['fits']['s3']['server_processor_s']:g} s of their time in the fit from S3.",
        "",
    ]


def against_keras(name: str, theirs: Figures, ours: Figures) -> list[str]:
    """A row of seconds."""
    seconds = figure(theirs["keras_s"], " s"), figure(ours["headstart_s"], " s")
    return [name, *seconds, figure(ours["times_faster"], " times faster")]


def keras_rows(result: Figures) -> list[list[str]]:
    """The tutorial in Keras and in headstart."""
    last, better = result["to_last_epoch"], result["better_than_best_keras_epoch"]
    best = f"a validation accuracy above Keras's best ({better['keras_best_val_accuracy']:.1%})"
    memory = figure(last["keras_peak_gb"], " GB"), figure(last["headstart_peak_gb"], " GB")
    rows = [
        against_keras(f"from the JPEGs to the end of epoch {result['epochs']}, the same recipe", last, last),
        ["its peak memory", *memory, figure(last["times_less_memory"], " times less")],
    ]
    rows += [against_keras(f"{best} is reported {how}", better, each) for how, each in better["reported"].items()]
    if better["all_done"]:
        rows += [against_keras(f"{best}, everything done, report included", better, better["all_done"])]
    return rows


def keras_recipe(result: Figures) -> list[str]:
    """The tutorial against headstart."""
    last, second = result["to_last_epoch"], result["second_fit"]
    again = [
        against_keras(f"a second fit with other settings (`{second[name]['settings']}`), {what}", last, second[name])
        for name, what in SECOND_FITS.items()
        if name in second
    ]
    return [
        *heading("The 2020 tutorial in Keras and in headstart", result),
        *table(["", "Keras", "headstart", ""], [*keras_rows(result), *again]),
        *image("Seconds of each", "keras_recipe.png"),
    ]


def draw_keras_recipe(result: Figures, folder: Path) -> None:
    """Seconds of each fit."""
    second = result["second_fit"]
    better = result["better_than_best_keras_epoch"]["all_done"]
    values = {
        "Keras, 10 epochs": result["to_last_epoch"]["keras_s"],
        "headstart, the same recipe": result["to_last_epoch"]["headstart_s"],
        "headstart, the same recipe again": second["classic"]["headstart_s"],
        "headstart's defaults": better["headstart_s"] if better else None,
        "headstart's defaults again": second["defaults"]["headstart_s"],
        "headstart, the head alone again": second["head"]["headstart_s"] if "head" in second else None,
    }
    draw_bars(folder / "keras_recipe.png", values, "seconds from the JPEGs of 10,222 dogs to a classifier")


def tutorial(result: Figures) -> list[str]:
    """Has its tables in the tutorial."""
    return [
        *heading("The tutorial, improved step by step", result),
        "The tables are in [the tutorial](../../docs/tutorial.md).",
        "",
    ]


def predict(result: Figures) -> list[str]:
    """Prediction from files."""
    cold, whole = result["from_nothing"], result["headstart_predict_all"]
    faster = result["headstart_times_faster"]
    rows = [
        [
            name,
            percent(each["top1"]) if each["top1"] is not None else "—",
            figure(each["per_s"]),
            figure(each["latency_ms"]),
            figure(each["peak_gb"], " GB"),
            "; ".join(
                f"{ours.rpartition('-')[2]} {figure(against[name]['in_bulk'], ' times')}"
                for ours, against in faster.items()
                if name in against
            ),
        ]
        for name, each in result["peers"].items()
    ]
    head = ["", "top-1", "images per second", "one image when warm, ms", "peak memory", "headstart is faster by"]
    commands = [
        ["`headstart --help`", figure(cold["headstart_help_s"])],
        ["`headstart predict` with one image", figure(cold["headstart_predict_s"])],
        ["a script that imports torch and timm and predicts one image", figure(cold["torch_and_timm_alone_s"])],
        ["`headstart predict` with all images", figure(whole["process_s"])],
    ]
    return [
        *heading("Prediction from files", result),
        *table(head, rows),
        *image("Images per second", "predict.png"),
        *table(["from a cold start", "seconds"], commands),
    ]


def draw_predict(result: Figures, folder: Path) -> None:
    """Images per second of each peer."""
    values = {name: each["per_s"] for name, each in result["peers"].items()}
    draw_bars(folder / "predict.png", values, "images per second")


def extraction(result: Figures) -> list[str]:
    """The rate and its limits."""
    rows = [
        ["decoding alone", figure(result["decoding_alone_per_s"], " per second")],
        ["the engine alone, on images in memory", figure(result["forward_alone_per_s"], " per second")],
        ["from files to features in the store", figure(result["extraction_per_s"], " per second")],
        ["share of the engine alone", f"{result['share_of_forward_alone']:.0%}"],
        ["share of the limit with both on the same cores", f"{result['share_of_that_limit']:.0%}"],
    ]
    rows += [
        [f"the engine alone, batches of {batch}", figure(rate, " per second")]
        for batch, rate in result.get("forward_alone_by_batch_per_s", {}).items()
    ]
    shares = result.get("profile_shares", {})
    rows += [[f"time of the threads in: {step}", f"{share:.1%}"] for step, share in shares.items()]
    return [
        *heading("Feature extraction from files", result),
        *table(["", "images"], rows),
        *image("Images per second", "extraction.png"),
    ]


def draw_extraction(result: Figures, folder: Path) -> None:
    """The rate and its limits."""
    values = {
        "decoding alone": result["decoding_alone_per_s"],
        "the engine alone": result["forward_alone_per_s"],
        "limit with both on the same cores": result["limit_where_both_share_the_cores_per_s"],
        "headstart, from files to features": result["extraction_per_s"],
    }
    draw_bars(folder / "extraction.png", values, f"images per second ({result['engine']})")


def large_images(result: Figures) -> list[str]:
    """Both ways of decoding."""
    apart, cosine = result["view_difference_in_levels"], result["feature_cosine"]
    rows = [
        [name, figure(rate, " per second"), f"{result['accuracy_of_a_head'][name]:.1%}"]
        for name, rate in result["per_s_of_one_core"].items()
    ]
    head = [f"{result['images']} JPEGs of {figure(result['pixels'])} pixels", "decoded by one core", "head's accuracy"]
    memory = result.get("memory", {"images": 0, "pixels": 0})
    commands = {name: each for name, each in memory.items() if isinstance(each, dict)}
    peaks = [[name, f"{each['seconds']:.0f}", f"{each['peak_gb']:.2f} GB"] for name, each in commands.items()]
    photographs = f"{memory['images']} photographs of {memory['pixels'] / 1e6:.0f} megapixels, JPEG, PNG, TIFF and WebP"
    return [
        *heading("Large images", result),
        *table(head, rows),
        f"The views differ by {apart['mean']:.2f} of 255 levels on average, by {apart['max']} at most; the cosine of "
        f"the features is {cosine['median']:.4f} in the median, {cosine['min']:.4f} at least.",
        "",
        *(table([photographs, "seconds", "peak memory"], peaks) if peaks else []),
    ]


def int8(result: Figures) -> list[str]:
    """Precisions side by side."""
    networks = [
        [name, precision, f"{each['top1']:.1%}", figure(each["per_s"], " per second"), f"{each['prepare_s']:.0f} s"]
        for name, found in result["pretrained networks"].items()
        for precision, each in found.items()
    ]
    fits = [
        [
            precision,
            f"{each['top1']:.1%}",
            f"{each['log_loss']:.3f}",
            f"{each['features_s']:.0f} s",
            *(each["notes"] or [""]),
        ]
        for precision, each in result["fit"].items()
    ]
    return [
        *heading("8-bit integers", result),
        *table(["imagenet-val", "", "top-1", "from files", "preparation, once"], networks),
        *table(["trash6, head", "accuracy on test", "log-loss", "features", "note of the fit"], fits),
    ]


def engine_choice(result: Figures) -> list[str]:
    """Engines, framing and the pretrained head."""
    engines = [[name, figure(each)] for name, each in result["engine_ms_per_image"].items()]
    heads = [
        [name, percent(each["top1"]), figure(each["log_loss"])]
        for name, each in result.items()
        if isinstance(each, dict) and "top1" in each
    ]
    return [
        *heading("Engine, framing and pretrained head", result),
        *table(["the default network's frozen part", "milliseconds per image"], engines),
        *table(["a head, on validation, 5 seeds", "accuracy", "log-loss"], heads),
    ]


def exports(result: Figures) -> list[str]:
    """Exported files beside headstart."""
    titles = {
        "pretrained": "the default network as published",
        "fitted": "its head fitted to dogs120",
        "originals": "its head fitted to the photographs of kaggle-dogs-240, as large as they were taken",
    }
    head = ["", "images", "top-1 equal", "largest difference of a probability", "MB", "images per second"]
    lines = heading("Exported files", result)
    for name, each in result["classifiers"].items():
        own = each["headstart"]
        rows = [
            ["headstart", "", "", "", "", *(figure(own[key]) for key in ("per_s", "latency_ms", "startup_s"))],
            *(
                [
                    found["runtime"],
                    number(found["images"]),
                    f"{found['equal_top1']:.2%}",
                    f"{found['largest_difference']:.1e}",
                    number(found["megabytes"]),
                    *(figure(found[key]) for key in ("per_s", "latency_ms", "startup_s")),
                ]
                for found in each["formats"].values()
            ),
        ]
        columns = [*head, "one image when warm, ms", "start-up with one image, s"]
        cores, load = each["machine"]["cores"], each["load_average"]
        busy = f"; the machine was busy with other work (load {load} on {cores} cores), so speeds are too low"
        where = f"{machine_of(each)}{busy if load > 2 * cores else ''}"
        lines += [f"**{titles[name]}**, on {where}", "", *table(columns, rows)]
    return lines


def serve(result: Figures) -> list[str]:
    """Servers under the same load."""
    names = {"headstart": "`headstart serve`", "torch": "FastAPI and torch, 40 lines", "litserve": "LitServe and torch"}
    rows = [
        [
            title,
            f"{each['requests']:,}",
            number(each["errors"]),
            *(number(each[key]) for key in ("per_second", "p50_ms", "p99_ms", "memory_mb")),
            f"{each['memory_slope']['mb_per_minute']:.2f} ± {each['memory_slope']['error']:.2f}",
        ]
        for name, title in names.items()
        if (each := result.get(name))
    ]
    load = f"{result['clients']} clients for {result['seconds']:g} seconds, images of {result['mean_kb']:.0f} kB"
    head = [load, "requests", "errors", "per second", "p50, ms", "p99, ms", "memory, MB", "its slope, MB per minute"]
    bulk = (
        f"`headstart predict` with the same images: {number(result['bulk_per_second'])} per second, of which the server"
    )
    return [
        *heading("Serving", result),
        *table(head, rows),
        f"{bulk} reaches {result['share_of_bulk']:.0%}.",
        "",
    ]


SECTIONS = {
    "first_fit": Section(first_fit),
    "check": Section(check),
    "sources": Section(sources),
    "keras_recipe": Section(keras_recipe, draw_keras_recipe),
    "tutorial": Section(tutorial),
    "predict": Section(predict, draw_predict),
    "exports": Section(exports),
    "serve": Section(serve),
    "studio": Section(studio),
    "extraction": Section(extraction, draw_extraction),
    "large_images": Section(large_images),
    "int8": Section(int8),
    "engine_choice": Section(engine_choice),
}
