"""The PNG pictures: written whole, with the colours that they promise, for names of any script."""

import numpy as np
import pytest
from PIL import Image

from headstart.errors import ImageProblem
from headstart.report import charts, history_plot, sheet, top_k_plot


def colours(path):
    """The share of pixels of each colour."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3) @ [1 << 16, 1 << 8, 1]
    found, counts = np.unique(pixels, return_counts=True)
    return {f"#{colour:06x}": count / len(pixels) for colour, count in zip(found, counts, strict=True)}


def test_a_sheet_shows_every_image(tmp_path):
    hues = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [np.full((20, 30, 3), hue, dtype=np.uint8) for hue in hues[:2]] + [Image.new("RGB", (9, 9), hues[2])]
    path = sheet(
        images, ["개 🐕", "$x_1$ _{", "a name that is far too long for the place that it has"], tmp_path / "sheet.png"
    )
    shares = colours(path)
    assert all(shares[hue] > 0.05 for hue in ("#ff0000", "#00ff00", "#0000ff"))
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_of_a_file_that_is_gone(tmp_path):
    with pytest.raises(ImageProblem) as refusal:
        sheet([tmp_path / "gone.jpg"], ["cat"], tmp_path / "sheet.png")
    assert str(refusal.value) == f"{tmp_path / 'gone.jpg'}: no such file"
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_needs_a_label_an_image(tmp_path):
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter than argument 1"):
        sheet([np.zeros((2, 2), dtype=np.uint8)] * 2, ["cat"], tmp_path / "sheet.png")


@pytest.mark.parametrize(
    ("true", "present", "absent"),
    [
        ("dog", {charts.GOOD, charts.QUIET}, {charts.BAD}),
        ("cat", {charts.GOOD, charts.BAD, charts.QUIET}, set()),
        (None, {charts.QUIET}, {charts.GOOD, charts.BAD}),
    ],
)
def test_bars_have_the_colour_of_what_they_are(tmp_path, true, present, absent):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["cat", "dog", "개"], [0.2, 0.7, 0.1], path=tmp_path / "plot.png", true=true)
    found = {colour for colour, share in colours(path).items() if share > 1e-3}
    assert present <= found
    assert not absent & found


def test_bars_are_as_long_as_they_say(tmp_path):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["cat", "dog"], [0.25, 0.75], path=tmp_path / "plot.png", true="dog")
    shares = colours(path)
    assert shares[charts.GOOD] / shares[charts.QUIET] == pytest.approx(3, rel=0.05)


def test_only_the_first_k(tmp_path):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["a", "b", "c"], [0.5, 0.3, 0.2], path=tmp_path / "plot.png", true="c", k=2)
    assert colours(path).get(charts.GOOD, 0) == 0


def test_a_letter_that_no_font_has_becomes_a_box():
    known, families = charts._fonts("a\U0010fffd")
    assert known == {"a"}
    assert families == ["DejaVu Sans"]


HEAD = {"stage": "head", "epoch": 1, "l2": 1.0, "loss": 9.0, "val_loss": 9.0, "accuracy": 0.0, "val_accuracy": 0.0}


def test_the_epochs_of_training_and_validation_are_drawn(tmp_path):
    lines = [
        {"stage": "tail", "epoch": epoch, "loss": 2 / epoch, "val_loss": 3 / epoch}
        | {"accuracy": 0.2 * epoch, "val_accuracy": 0.1 * epoch}
        for epoch in range(1, 5)
    ]
    path = history_plot([HEAD, *lines], tmp_path / "history.png")
    plain = colours(path)
    assert plain[charts.GOOD] > 1e-4
    assert plain[charts.QUIET] > 1e-4
    marked = colours(history_plot([*lines[:3], lines[3] | {"chosen": True}], tmp_path / "marked.png"))
    assert marked[charts.INK] > plain[charts.INK]


def test_a_solved_head_has_no_epochs_to_draw(tmp_path):
    with pytest.raises(ValueError, match=r"^the history tells of no epoch"):
        history_plot([HEAD], tmp_path / "history.png")
    assert list(tmp_path.iterdir()) == []
