"""The command line as a person uses it, on images that the tests write."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headstart.artifacts.run_folder import remove_evaluations

Run = Callable[..., tuple[int, str, str]]
TINY = ("--model", "test_efficientnet", "--weights", "random")


@pytest.fixture
def photos(write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path) -> Path:
    """Dark and light noise, 20 images each, in a folder and a class whose names need quoting."""
    return write_noise(tmp_path / "my photos", {"밝은 🌞": 180, "dark": 30})


def test_fit_predict_evaluate_and_report(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    (photos / "dark" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    folder = tmp_path / "runs" / "shades"
    code, out, err = run("fit", photos, "--out", folder, "--cache-dir", store, *TINY)
    assert code == 0, err
    assert out.splitlines()[0].startswith("cross-validation accuracy 100.0% (95 % interval ")
    assert "1 of 41 images cannot be used and are set aside" in err
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "classes.csv",
        "classifier",
        "evaluation.json",
        "events.jsonl",
        "history.jsonl",
        "manifest.parquet",
        "predictions.parquet",
        "problems.csv",
        "report.html",
        "saliency.parquet",
        "settings.json",
    ]
    with (folder / "problems.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(photos / "dark" / "broken.jpg")]
    assert json.loads((folder / "evaluation.json").read_text())["top1"]["value"] == 1

    table = tmp_path / "out.csv"
    code, out, err = run("predict", folder, photos, "--top", 2, "--csv", table)
    assert (code, out) == (0, f"41 images, 1 with a problem: {table}\n")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["class_1"] for row in rows if "밝은" in row["path"]} == {"밝은 🌞"}
    assert [row["problem"] != "" for row in rows].count(True) == 1

    code, out, err = run("evaluate", folder, photos)
    assert out.startswith("train accuracy 100.0%")  # the classifier was fitted to these images
    assert out.splitlines()[1].endswith(" images per second, including decoding and the preparation of the network")
    assert "worst classes" not in out  # no image is misclassified
    assert (folder / "evaluations" / "my photos" / "report.html").exists()

    page = folder / "report.html"
    page.unlink()
    assert run("report", folder)[:2] == (0, f"{page}\n")
    assert page.exists()


def test_images_with_a_table_of_labels(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    """The layout of Kaggle's dog breeds: labels.csv beside train/<id>.jpg."""
    data = tmp_path / "kaggle"
    (data / "train").mkdir(parents=True)
    lines = ["id,breed"]
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        Image.open(path).save(data / "train" / f"{number:04}.jpg")
        lines.append(f"{number:04},{path.parent.name}")
    (data / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    for words in ((), ("--labels", data / "labels.csv"), ("--id-column", "id", "--label-column", "breed")):
        code, out, err = run("fit", data, "--out", tmp_path / "run", "--cache-dir", store, *TINY, *words)
        assert code == 0, err
        assert ", 2 classes" in out


def test_predictions_of_a_pretrained_network_on_the_terminal(run: Run, photos: Path) -> None:
    image = photos / "dark" / "0.png"
    code, out, _ = run("predict", "tf_efficientnet_lite0", image, "--top", 3)
    lines = out.splitlines()
    assert (code, lines[0], len(lines)) == (0, str(image), 4)
    assert all(line.strip().partition("%")[1] for line in lines[1:])


def test_check_lists_the_problems(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    (photos / "dark" / "empty.jpg").touch()
    code, out, _ = run("check", photos, "--out", tmp_path / "checked", "--cache-dir", store)
    assert code == 0
    assert out.startswith("41 images, 2 classes, ")
    assert "\n  unreadable       1  empty file\n" in out
    assert "the mean color alone predicts the label" in out  # the classes are dark and light noise
    with (tmp_path / "checked" / "issues.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["kind"] == "unreadable")
    assert (row["uri"], row["kind"], row["evidence"]) == (
        str(photos / "dark" / "empty.jpg"),
        "unreadable",
        "empty file",
    )


def test_corrections_that_check_writes_are_applied_by_fit(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    moved = photos / "dark" / "moved.png"
    (photos / "밝은 🌞" / "3.png").rename(moved)
    (photos / "dark" / "empty.jpg").touch()
    checked = tmp_path / "checked"
    words = ("check", photos, "--out", checked, "--cache-dir", store, "--no-features", "--write-corrections")
    code, out, err = run(*words)
    assert code == 0, err
    written = checked / "corrections.csv"
    assert f"{written}: 1 correction to look at, for --corrections" in out
    with written.open("a") as file:  # a person adds one
        file.write("dark/moved.png,밝은 🌞,,I have looked\r\n")
    code, _, err = run(*words)
    assert code == 1
    assert f"{written}: is there already, perhaps edited" in err
    folder = tmp_path / "run"
    plain = ("--train", "head", "--l2", 0.1, "--stages", "none", "--kernel", "none", "--engine", "torch")
    code, out, err = run("fit", photos, "--out", folder, "--cache-dir", store, *TINY, *plain, "--corrections", written)
    assert code == 0, err
    assert f"{written} corrects 1 image and leaves out 1 image" in err
    with (folder / "corrections.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [(str(photos / "dark" / "empty.jpg"), "dark", "", "yes"), (str(moved), "dark", "밝은 🌞", "")]
    assert json.loads((folder / "evaluation.json").read_text())["top1"]["value"] == 1
    assert moved.exists()
    remove_evaluations(folder)  # as the next fit does
    assert not (folder / "corrections.csv").exists()


def test_too_many_problems_stop_the_fit_before_any_other_work(
    run: Run, photos: Path, store: Path, tmp_path: Path
) -> None:
    for number in range(5):
        (photos / "dark" / f"empty{number}.jpg").touch()
    code, _, err = run("fit", photos, "--out", tmp_path / "run", "--cache-dir", store, *TINY)
    assert code == 1
    assert "error: 5 of 45 images cannot be used (11.1%); at most 10.0% are allowed (--max-problems)" in err
    assert f"{photos / 'dark' / 'empty3.jpg'}: empty file" in err
    assert not (tmp_path / "run").exists()
    code, _, err = run("fit", photos, "--out", tmp_path / "run", "--cache-dir", store, *TINY, "--max-problems", 0.2)
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--epoch", "3"), "No such option '--epoch'. (Did you mean one of: '--epochs', '--warmup-epochs'?)"),
        (("--train", "laste:2"), "got 'laste:2'; did you mean last:1?"),
        (("--engine", "openvno", "--epochs", "ten"), "epochs must be a whole number of at least 1, got 'ten'"),
        (("--model", "mobilenetv2_10"), "unknown model 'mobilenetv2_10'; did you mean mobilenetv2_1"),
        (("--labels", "nowhere.csv"), "nowhere.csv"),
        (("--train", "from:blocks.9", *TINY), "--train from:blocks.9: no module blocks.9 is executed in this network"),
    ],
)
def test_mistakes_are_reported_with_the_way_out(
    run: Run, photos: Path, store: Path, words: tuple[str, ...], text: str
) -> None:
    code, out, err = run("fit", photos, "--cache-dir", store, *words)
    assert code in (1, 2)
    assert out == ""
    assert text in err
    assert "Traceback" not in err


def test_a_missing_run_or_folder(run: Run, tmp_path: Path) -> None:
    code, _, err = run("predict", tmp_path / "nothing", tmp_path)
    assert (code, err) == (
        1,
        f"error: {tmp_path}/nothing: no classifier found: {tmp_path}/nothing/classifier/model.json is missing; "
        "headstart fit makes one\n",
    )
    code, _, err = run("fit", tmp_path / "nothing")
    assert code == 1
    assert f"{tmp_path / 'nothing'}" in err


def test_models_and_the_feature_store(run: Run, photos: Path, tmp_path: Path) -> None:
    code, out, _ = run("models", "tf_efficientnet_lite?")
    assert code == 0
    assert out.splitlines()[1].split() == [
        *("tf_efficientnet_lite0", "4.65", "M", "224x224", "1000", "75.1", "-", "-", "here", "apache-2.0")
    ]
    assert run("models", "xyz*")[0] == 1

    run("fit", photos, "--out", tmp_path / "run", "--cache-dir", tmp_path / "store", *TINY)
    _, out, _ = run("cache", "list", "--cache-dir", tmp_path / "store")
    assert "1 feature tables" in out.splitlines()[0]
    assert "40 rows" in out.splitlines()[1]
    assert "40 rows, 0 corrupt" in run("cache", "verify", "--cache-dir", tmp_path / "store")[1]
    assert run("cache", "prune", "--cache-dir", tmp_path / "store", "--model", "test_efficientnet")[0] == 0
    assert "0 feature tables" in run("cache", "list", "--cache-dir", tmp_path / "store")[1]


def test_the_summary_of_a_network(run: Run) -> None:
    code, out, _ = run("summary", "mobilenetv2_100", "--weights", "random", "--classes", 120, "--train", "head")
    assert code == 0
    assert "-- cut at global_pool_flatten: 2,560 bytes per image in the store -" in out
    assert out.splitlines()[-1] == "total 2,411,704, trainable 153,720, not trainable 2,257,984"


def test_a_contact_sheet_and_a_plot(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "dark" / "empty.jpg").touch()
    assert run("show", photos, "--n", 4, "--out", tmp_path / "sheet.png")[:2] == (0, f"{tmp_path / 'sheet.png'}\n")
    bars = tmp_path / "bars.png"
    image = photos / "dark" / "0.png"
    words = ("predict", "tf_efficientnet_lite0", image, "--plot", bars)
    assert run(*words, "--true", "tench, Tinca tinca")[:2] == (0, f"{bars}\n")
    with Image.open(bars) as drawn, Image.open(tmp_path / "sheet.png") as sheet:
        assert min(*drawn.size, *sheet.size) > 100
    assert run(*words, image)[2].endswith("error: --plot draws one image, got 2\n")


def test_rank(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    words = ("rank", photos, "--out", tmp_path / "rank", "--cache-dir", store, "--engine", "torch")
    code, out, err = run(*words, "--models", "tf_efficientnet_lite0, resnot50", "--budget", "5min")
    assert code == 0, err
    head, first, left_out, *_, plot = out.splitlines()
    assert head.split()[:2] == ["model", "log-loss"]
    assert first.split()[:3:2] == ["tf_efficientnet_lite0", "100.0%"]
    assert left_out.startswith("resnot50")
    assert plot == f"plot: {tmp_path / 'rank' / 'rank.png'}"
    assert json.loads((tmp_path / "rank" / "rank.json").read_text())["command"]["budget"] == 300
    assert run(*words, "--budget", "soon")[::2] == (
        2,
        "error: a duration must be a number with s, min or h, for example 60s or 10min, got 'soon'\n",
    )


def test_a_submission(run: Run, photos: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    assert run("fit", photos, "--out", folder, "--cache-dir", store, *TINY)[0] == 0
    test = tmp_path / "competition" / "test"
    test.mkdir(parents=True)
    for number, label in enumerate(("dark", "밝은 🌞", "dark")):
        (test / f"image{number}.png").write_bytes((photos / label / f"{number}.png").read_bytes())
    (test.parent / "sample_submission.csv").write_text(
        "id,밝은 🌞,dark\n" + "".join(f"image{number},0.5,0.5\n" for number in (2, 0, 1)), encoding="utf-8"
    )
    (tmp_path / "truth.csv").write_text("id,label\nimage0,dark\nimage1,밝은 🌞\nimage2,dark\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("predict", folder, test, "--format", "kaggle", "--labels", tmp_path / "truth.csv")
    assert code == 0, err
    first, loss, where = out.splitlines()
    assert (first, where) == ("3 rows, 2 classes", "submission.csv")
    assert loss.startswith("log-loss 0.")
    with (tmp_path / "submission.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], float(row["dark"]) > 0.5) for row in rows] == [
        ("image2", True),
        ("image0", True),
        ("image1", False),
    ]
    (test / "image1.png").unlink()
    assert run("predict", folder, test, "--format", "kaggle")[2].endswith(
        "sample_submission.csv: 1 of its 3 ids have no image among the 2 given: image1; give the folder with all "
        "images\n"
    )


def test_the_classic_recipe_with_some_settings_overridden(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = (
        *("--recipe", "classic", "--epochs", 1, "--train", "head", "--split", "random", "--channels", "BGR"),
        *("--pretrained-head", "--no-refit"),
    )
    code, _, err = run("fit", photos, "--cache-dir", store, "--out", out, *TINY, *recipe)
    assert code == 0, err
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert (settings["optimizer"], settings["lr"], settings["epochs"], settings["split"]) == ("sgd", 0.01, 1, "random")
    assert (settings["pretrained_head"], settings["restore_best"], settings["refit"]) == (True, False, False)
    assert json.loads((out / "classifier" / "model.json").read_text())["input"]["channels"] == "BGR"


def test_info(run: Run, photos: Path) -> None:
    code, out, _ = run("info", photos)
    assert (code, out.splitlines()[0]) == (0, f"{photos}: 40 images, 2 classes")
    assert "classes: 2; images per class: min 20, median 20, max 20" in out
    assert "  width:  min 32, median 32, max 32" in out
    assert run("info", photos, "--labels", "none.csv")[::2] == (
        1,
        f"error: {photos / 'none.csv'}: no such table of labels\n",
    )


@pytest.mark.slow
def test_the_dog_breeds_of_kaggle_from_a_zip(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many rows as the competition has, all with one small image; and an archive that lacks images."""
    monkeypatch.chdir(tmp_path)
    image = (photos / "dark" / "0.png").read_bytes()
    rows = "".join(f"{number:032x},breed{number % 120}\n" for number in range(10_222))
    for name, count in (("cut.zip", 5), ("kaggle.zip", 10_222)):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("labels.csv", f"id,breed\n{rows}")
            for number in range(count):
                archive.writestr(f"train/{number:032x}.jpg", image)
    code, out, err = run("data", "dog-breeds", "--zip", "cut.zip")
    assert (code, out) == (1, "")
    assert f"found 5; train/{5:032x}.jpg and 10,216 more are missing" in err
    assert not Path("dog-breeds").exists()
    code, out, err = run("data", "dog-breeds", "--zip", "kaggle.zip")
    expected = "10,222 rows with their images, 120 breeds: dog-breeds\nnext: headstart fit dog-breeds\n"
    assert (code, out) == (0, expected), err
    assert run("info", "dog-breeds")[1].startswith("dog-breeds: 10,222 images, 120 classes\n")


def test_an_archive_of_imagenet_v2_that_differs_from_the_published_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.tar.gz").write_bytes(b"mine")
    code, out, err = run("data", "imagenetv2", "--archive", tmp_path / "mine.tar.gz", "--out", tmp_path / "v2")
    assert (code, out) == (1, "")
    assert err == (
        f"error: {tmp_path / 'mine.tar.gz'} has 4 bytes, "
        "but imagenetv2-top-images.tar.gz as published has 1,245,927,936\n"
    )
    code, _, err = run("data", "imagenetv2", "--variant", "topimages")
    assert (code, err) == (
        2,
        "error: variant must be one of top-images, matched-frequency, threshold-0.7, got 'topimages'; "
        "did you mean top-images?\n",
    )
