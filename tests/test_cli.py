"""The command line as a person uses it, on pictures that the tests write."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
TINY = ("--model", "test_efficientnet", "--weights", "random")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark and light noise, 20 pictures each, with a name that is not plain."""
    rng = np.random.default_rng(0)
    for label, shade in (("밝은 🌞", 180), ("dark", 30)):
        folder = tmp_path / "my photos" / label
        folder.mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, 60, (24, 32, 3), np.uint8) + np.uint8(shade)).save(folder / f"{number}.png")
    return tmp_path / "my photos"


def test_help_loads_neither_torch_nor_timm() -> None:
    code = (
        "import sys, headstart.cli as c\n"
        "try: c.cli(['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'lance', 'sklearn', 'matplotlib', 'openvino', 'numpy'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--train WHAT" in told
    assert told.splitlines()[-1] == "[]"


def test_the_main_job(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    (photos / "dark" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    folder = tmp_path / "runs" / "shades"
    code, out, err = run("fit", photos, "--out", folder, "--store", store, *TINY)
    assert code == 0, err
    assert out.splitlines()[0].startswith("cross-validation accuracy 100.0% (95 % interval ")
    assert "1 of 41 images cannot be used and are set aside" in err
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.csv",
        "classifier",
        "evaluation.json",
        "history.jsonl",
        "manifest.parquet",
        "predictions.parquet",
        "problems.csv",
        "report.html",
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
    assert out.startswith("test accuracy 100.0%")
    assert out.splitlines()[1].endswith(" images a second in this run, decoding and the network's preparation included")
    assert "worst classes" not in out  # there is no mistake
    assert (folder / "evaluations" / "my photos" / "report.html").exists()

    page = folder / "report.html"
    page.unlink()
    assert run("report", folder)[:2] == (0, f"{page}\n")
    assert page.exists()


def test_a_folder_and_a_table(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    """The layout of Kaggle's dog breeds: labels.csv beside train/<id>.jpg."""
    data = tmp_path / "kaggle"
    (data / "train").mkdir(parents=True)
    lines = ["id,breed"]
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        Image.open(path).save(data / "train" / f"{number:04}.jpg")
        lines.append(f"{number:04},{path.parent.name}")
    (data / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    for words in ((), ("--labels", data / "labels.csv"), ("--id-column", "id", "--label-column", "breed")):
        code, out, err = run("fit", data, "--out", tmp_path / "run", "--store", store, *TINY, *words)
        assert code == 0, err
        assert ", 2 classes" in out


def test_predicting_on_the_terminal_by_a_pretrained_network(run: Run, photos: Path) -> None:
    picture = photos / "dark" / "0.png"
    code, out, _ = run("predict", "tf_efficientnet_lite0", picture, "--top", 3)
    lines = out.splitlines()
    assert (code, lines[0], len(lines)) == (0, str(picture), 4)
    assert all(line.strip().partition("%")[1] for line in lines[1:])


def test_check_writes_what_is_wrong(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "dark" / "empty.jpg").touch()
    code, out, _ = run("check", photos, "--out", tmp_path / "checked")
    assert (code, out) == (0, f"41 images, 2 classes, 1 with a problem: {tmp_path / 'checked'}\n")
    assert "empty file" in (tmp_path / "checked" / "problems.csv").read_text()


def test_too_many_problems_stop_before_any_work(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    for number in range(5):
        (photos / "dark" / f"empty{number}.jpg").touch()
    code, _, err = run("fit", photos, "--out", tmp_path / "run", "--store", store, *TINY)
    assert code == 1
    assert "error: 5 of 45 images cannot be used (11.1%); at most 10.0% may be (--max-problems)" in err
    assert f"{photos / 'dark' / 'empty3.jpg'}: empty file" in err
    assert not (tmp_path / "run").exists()
    code, _, err = run("fit", photos, "--out", tmp_path / "run", "--store", store, *TINY, "--max-problems", 0.2)
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--epoch", "3"), "No such option '--epoch'. (Did you mean one of: '--epochs'"),
        (("--train", "laste:2"), "got 'laste:2'; did you mean last:1?"),
        (("--engine", "openvno", "--epochs", "ten"), "epochs must be a whole number of at least 1, got 'ten'"),
        (("--model", "mobilenetv2_10"), "no model is called mobilenetv2_10; did you mean mobilenetv2_1"),
        (("--labels", "nowhere.csv"), "nowhere.csv"),
        (("--train", "from:blocks.9", *TINY), "--train from:blocks.9: this network has no module blocks.9 that runs"),
    ],
)
def test_mistakes_are_named_with_the_way_out(
    run: Run, photos: Path, store: Path, words: tuple[str, ...], text: str
) -> None:
    code, out, err = run("fit", photos, "--store", store, *words)
    assert code in (1, 2)
    assert out == ""
    assert text in err
    assert "Traceback" not in err


def test_what_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, err = run("predict", tmp_path / "nothing", "a.jpg")
    assert (code, err) == (
        1,
        f"error: {tmp_path}/nothing: no classifier there, {tmp_path}/nothing/classifier/model.json is missing; "
        "headstart fit makes one\n",
    )
    code, _, err = run("fit", tmp_path / "nothing")
    assert code == 1
    assert f"{tmp_path / 'nothing'}" in err


def test_models_and_the_cache(run: Run, photos: Path, tmp_path: Path) -> None:
    code, out, _ = run("models", "tf_efficientnet_lite?")
    assert code == 0
    assert out.splitlines()[1].split() == [
        *("tf_efficientnet_lite0", "4.65", "M", "224x224", "1000", "75.1", "-", "-", "here", "apache-2.0")
    ]
    assert run("models", "xyz*")[0] == 1

    kept = tmp_path / "store"
    run("fit", photos, "--out", tmp_path / "run", "--store", kept, *TINY)
    _, out, _ = run("cache", "list", "--store", kept)
    assert "1 feature spaces" in out.splitlines()[0]
    assert "40 rows" in out.splitlines()[1]
    assert "40 rows, 0 wrong" in run("cache", "verify", "--store", kept)[1]
    assert run("cache", "prune", "--store", kept, "--model", "test_efficientnet")[0] == 0
    assert "0 feature spaces" in run("cache", "list", "--store", kept)[1]


def test_a_model_s_layers_with_the_cut(run: Run) -> None:
    code, out, _ = run("summary", "mobilenetv2_100", "--weights", "random", "--classes", 120, "--train", "head")
    assert code == 0
    assert "-- cut at global_pool_flatten: 2,560 bytes an image in the store -" in out
    assert out.splitlines()[-1] == "total 2,411,704, trainable 153,720, not trainable 2,257,984"


def test_pictures_of_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "dark" / "empty.jpg").touch()
    assert run("show", photos, "--n", 4, "--out", tmp_path / "sheet.png")[:2] == (0, f"{tmp_path / 'sheet.png'}\n")
    bars = tmp_path / "bars.png"
    picture = photos / "dark" / "0.png"
    words = ("predict", "tf_efficientnet_lite0", picture, "--plot", bars)
    assert run(*words, "--true", "tench, Tinca tinca")[:2] == (0, f"{bars}\n")
    with Image.open(bars) as drawn, Image.open(tmp_path / "sheet.png") as sheet:
        assert min(*drawn.size, *sheet.size) > 100
    assert run(*words, picture)[2].endswith("error: --plot draws one image, got 2\n")


def test_which_network_to_take(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    words = ("rank", photos, "--out", tmp_path / "rank", "--store", store, "--engine", "torch")
    code, out, err = run(*words, "--models", "tf_efficientnet_lite0, resnot50", "--budget", "5min")
    assert code == 0, err
    head, first, left_out, *_, picture = out.splitlines()
    assert head.split()[:2] == ["model", "log-loss"]
    assert first.split()[:3:2] == ["tf_efficientnet_lite0", "100.0%"]
    assert left_out.startswith("resnot50")
    assert picture == f"picture: {tmp_path / 'rank' / 'rank.png'}"
    assert json.loads((tmp_path / "rank" / "rank.json").read_text())["command"]["budget"] == 300
    assert run(*words, "--budget", "soon")[::2] == (
        2,
        "error: a time must be a number with s, min or h, such as 60s or 10min, got 'soon'\n",
    )


def test_a_submission(run: Run, photos: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    assert run("fit", photos, "--out", folder, "--store", store, *TINY)[0] == 0
    test = tmp_path / "competition" / "test"
    test.mkdir(parents=True)
    for number, label in enumerate(("dark", "밝은 🌞", "dark")):
        (test / f"picture{number}.png").write_bytes((photos / label / f"{number}.png").read_bytes())
    (test.parent / "sample_submission.csv").write_text(
        "id,밝은 🌞,dark\n" + "".join(f"picture{number},0.5,0.5\n" for number in (2, 0, 1)), encoding="utf-8"
    )
    (tmp_path / "truth.csv").write_text("id,label\npicture0,dark\npicture1,밝은 🌞\npicture2,dark\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("predict", folder, test, "--format", "kaggle", "--labels", tmp_path / "truth.csv")
    assert code == 0, err
    first, loss, where = out.splitlines()
    assert (first, where) == ("3 rows, 2 classes", "submission.csv")
    assert loss.startswith("log-loss 0.")
    with (tmp_path / "submission.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], float(row["dark"]) > 0.5) for row in rows] == [
        ("picture2", True),
        ("picture0", True),
        ("picture1", False),
    ]
    (test / "picture1.png").unlink()
    assert run("predict", folder, test, "--format", "kaggle")[2].endswith(
        "asks for pictures that are not among the 2 given, 1 of 3: picture1; give the folder that has them all\n"
    )


def test_the_classic_recipe_with_one_thing_changed(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = ("--recipe", "classic", "--epochs", 1, "--train", "head", "--split", "drawn", "--channels", "BGR")
    code, _, err = run("fit", photos, "--store", store, "--out", out, *TINY, *recipe)
    assert code == 0, err
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert (settings["optimizer"], settings["lr"], settings["epochs"], settings["split"]) == ("sgd", 0.01, 1, "drawn")
    assert json.loads((out / "classifier" / "model.json").read_text())["input"]["channels"] == "BGR"


def test_what_is_in_a_data_set(run: Run, photos: Path) -> None:
    code, out, _ = run("info", photos)
    assert (code, out.splitlines()[0]) == (0, f"{photos}: 40 images, 2 classes")
    assert "classes: 2; images a class: least 20, median 20, most 20" in out
    assert "  width:  least 32, median 32, most 32" in out
    assert run("info", photos, "--labels", "none.csv")[::2] == (
        1,
        f"error: {photos / 'none.csv'}: no such table of labels\n",
    )


@pytest.mark.slow
def test_kaggle_s_dogs_from_a_zip(run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows as the competition has, all of one small picture; and one picture that is missing."""
    monkeypatch.chdir(tmp_path)
    picture = (photos / "dark" / "0.png").read_bytes()
    rows = "".join(f"{number:032x},breed{number % 120}\n" for number in range(10_222))
    for name, count in (("cut.zip", 5), ("kaggle.zip", 10_222)):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("labels.csv", f"id,breed\n{rows}")
            for number in range(count):
                archive.writestr(f"train/{number:032x}.jpg", picture)
    code, out, err = run("data", "dog-breeds", "--zip", "cut.zip")
    assert (code, out) == (1, "")
    assert f"expected 10,222 rows whose picture is in train, found 5; missing is train/{5:032x}.jpg and 10,216" in err
    assert not Path("dog-breeds").exists()
    code, out, err = run("data", "dog-breeds", "--zip", "kaggle.zip")
    told = "10,222 rows with their pictures, 120 breeds: dog-breeds\nnext: headstart fit dog-breeds\n"
    assert (code, out) == (0, told), err
    assert run("info", "dog-breeds")[1].startswith("dog-breeds: 10,222 images, 120 classes\n")


def test_imagenet_v2_must_be_as_published(run: Run, tmp_path: Path) -> None:
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
