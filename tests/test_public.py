"""The names that headstart promises, and what importing them costs."""

from __future__ import annotations

import csv
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import headstart

ROOT = Path(__file__).parent.parent


def test_public_names() -> None:
    assert headstart.__all__ == [
        "Classifier",
        "FitSettings",
        "HeadstartError",
        "ImageClassifier",
        "InputSpec",
        "Manifest",
        "load",
        "read_images",
    ]
    assert dir(headstart) == headstart.__all__
    assert all(getattr(headstart, name).__doc__ for name in headstart.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'headstart' has no attribute 'Clasifier'"):
        headstart.Clasifier  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, headstart; print(sorted({'torch', 'timm', 'numpy', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_layers_are_those_of_the_design() -> None:
    """lint-imports checks the contracts; this checks that no folder stays outside them."""
    contracts = (ROOT / "pyproject.toml").read_text()
    layers = contracts.partition("layers = [")[2].partition("]")[0]
    named = set(re.findall(r"headstart\.(\w+)", layers))
    there = {path.stem for path in (ROOT / "src" / "headstart").iterdir() if not path.name.startswith("__")}
    assert named == {name for name in there if name != "py"}


def test_the_command_line_s_page_is_up_to_date(load_module: Callable[[Path], ModuleType]) -> None:
    generate = load_module(ROOT / "docs" / "generate.py")
    assert (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8") == generate.page(), "run make docs"


def test_the_tutorial_s_tables_are_what_was_measured(load_module: Callable[[Path], ModuleType]) -> None:
    generate = load_module(ROOT / "docs" / "generate.py")
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert page == generate.tutorial(), "run make docs"
    measured = json.loads((ROOT / "benchmarks" / "results" / "tutorial.json").read_text(encoding="utf-8"))
    for row in (*measured["input"].values(), *measured["fits"].values()):
        assert f"`{row['command']}` | {100 * row['top1']['value']:.1f} %" in page


def test_the_tutorial_s_tables_tell_what_was_measured(
    load_module: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other figures the page is another, of which a second writing changes nothing."""
    generate = load_module(ROOT / "docs" / "generate.py")
    cost = {"seconds": 199.4, "peak_gb": 1.62}
    share = {"value": 0.647, "low": 0.628, "high": 0.666}
    epochs = {"accuracy": [0.2651, 0.5751], "val_accuracy": [0.3752, 0.5243]}
    spread = {"accuracy": [[0.247, 0.261, 0.265]] * 2, "val_accuracy": [[0.374, 0.374, 0.41]] * 2}
    measured = {
        "command": "python benchmarks/tutorial.py",
        "date": "2020-02-02",
        "machine": {"processor": "Z80", "cores": 2},
        "images": 10222,
        "epochs": 2,
        "input": {"right": {"command": "evaluate it", "top1": share, "top5": share, "images": 1300, **cost}},
        "fits": {
            "Keras": {"command": "keras it", "top1": {"value": 0.6612}, "log_loss": None, **epochs, **cost},
            "same": {"command": "a", "top1": share, "log_loss": {"value": 1.1934}, **epochs, **cost}
            | {"seeds": 3, "over_seeds": spread},
            "defaults": {"command": "b", "top1": share, "log_loss": {"value": 0.4}, **cost},
        },
    }
    (tmp_path / "tutorial.json").write_text(json.dumps(measured))
    monkeypatch.setattr(generate, "MEASURED", tmp_path / "tutorial.json")
    page = generate.tutorial()
    assert "| right: `evaluate it` | 64.7 % (62.8 to 66.6) | 64.7 % (62.8 to 66.6) | 199 | 1.6 GB |\n" in page
    assert "2 cores of Z80, 2020-02-02; 10,222 pictures" in page
    assert "| Keras: `keras it` | 66.1 % | not recorded | 199 | 1.6 GB |\n" in page
    assert "| same: `a` | 64.7 % (62.8 to 66.6) | 1.193 | 199 | 1.6 GB |\n" in page
    assert "| 2 | 57.5 / 52.4 | 26.1 (24.7 to 26.5) / 37.4 (37.4 to 41.0) |\n" in page
    monkeypatch.setattr(generate, "TUTORIAL", tmp_path / "tutorial.md")
    (tmp_path / "tutorial.md").write_text(page, encoding="utf-8")
    assert generate.tutorial() == page


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path), "--digits", "200"])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "coffee.png   espresso" in told
    assert f"report: {tmp_path / 'report.html'}" in told
    assert (tmp_path / "photographs" / "chelsea.png").stat().st_size > 10_000


def test_the_tutorial(
    photo: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small network of random weights: each step leaves what it says."""
    for number in range(6):
        photo(f"pictures/class {number % 3}/{number}.jpg", 40 * number)
    rows = [f"{number:02},{'dark' if number % 2 else 'light'}" for number in range(24)]
    for number in range(24):
        photo(f"dogs/train/{number:02}.jpg", 10 * (number // 2) if number % 2 else 255 - 10 * (number // 2))
    (tmp_path / "dogs" / "labels.csv").write_text("\n".join(["id,breed", *rows]))
    out = tmp_path / "out"
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    words = ["test_efficientnet", tmp_path / "pictures", tmp_path / "dogs", "--weights", "random", "--out", out]
    monkeypatch.setattr(sys, "argv", ["tutorial.py", *map(str, words)])
    runpy.run_path(str(ROOT / "examples" / "tutorial.py"), run_name="__main__")
    told = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in told] == ["1.", "2.", "3.", "4.", "5.", "6."]
    assert all((out / name).stat().st_size > 5_000 for name in ("top-5.png", "sheet.png", "history.png", "report.html"))
    header, *lines = (out / "submission.csv").read_text().splitlines()
    assert header == "id,dark,light"
    assert [line.partition(",")[0] for line in lines] == [f"{number:02}" for number in range(24)]


@pytest.mark.shared
@pytest.mark.slow
def test_the_tutorial_on_its_own_pictures(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slice of them: each fifth of the first 20 breeds' dogs, and 100 of ImageNet's pictures."""
    with (shared / "dogs120" / "labels.csv").open(newline="") as file:
        dogs = list(csv.DictReader(file))
    breeds = list(dict.fromkeys(row["breed"] for row in dogs))[:20]
    kept = [row for row in dogs if row["breed"] in breeds][::5]
    (tmp_path / "dogs" / "train").mkdir(parents=True)
    for row in kept:
        (tmp_path / "dogs" / "train" / f"{row['id']}.jpg").symlink_to(shared / "dogs120" / "train" / f"{row['id']}.jpg")
    table = "\n".join(["id,breed", *(f"{row['id']},{row['breed']}" for row in kept)])
    (tmp_path / "dogs" / "labels.csv").write_text(table)
    for path in sorted((shared / "imagenet-val").rglob("*.*"))[::13]:
        (tmp_path / "pictures" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / path.parent.name / path.name).symlink_to(path)
    out = tmp_path / "out"
    model = shared.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    words = [model, tmp_path / "pictures", tmp_path / "dogs", "--out", out]
    monkeypatch.setattr(sys, "argv", ["tutorial.py", *map(str, words)])
    runpy.run_path(str(ROOT / "examples" / "tutorial.py"), run_name="__main__")
    told = capsys.readouterr().out
    shares = [float(share) for share in re.findall(r"([\d.]+)%", told)]
    assert len(shares) == 3
    assert min(shares) > 60
    assert len((out / "submission.csv").read_text().splitlines()) == 1 + len(kept)


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the folder that it speaks of: photos/ with labels.csv, and a.jpg."""
    from PIL import Image

    (tmp_path / "photos" / "train").mkdir(parents=True)
    rows = ["id,breed"]
    for number in range(12):
        Image.new("RGB", (40, 30), (20 * number, 99, 250 - 20 * number)).save(
            tmp_path / "photos" / "train" / f"{number}.jpg"
        )
        rows.append(f"{number},{'blue' if number < 6 else 'red'}")
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(rows))
    Image.new("RGB", (40, 30), (230, 99, 20)).save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    known: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), known)
    assert known["clf"].top_k("a.jpg", 2)[0][0] == "red"  # type: ignore[attr-defined]
    assert (tmp_path / "runs" / "dogs" / "report.html").exists()
