"""The PNG charts: complete files, with the documented colors, for names in any script."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from headstart.errors import ImageProblem
from headstart.evaluate.schema import EpochRecord
from headstart.report import charts, history_plot, sheet, top_k_plot


def colors(path):
    """The share of pixels of each color."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3) @ [1 << 16, 1 << 8, 1]
    found, counts = np.unique(pixels, return_counts=True)
    return {f"#{color:06x}": count / len(pixels) for color, count in zip(found, counts, strict=True)}


def test_a_sheet_has_every_image(tmp_path):
    hues = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [np.full((20, 30, 3), hue, dtype=np.uint8) for hue in hues[:2]] + [Image.new("RGB", (9, 9), hues[2])]
    path = sheet(
        images, ["개 🐕", "$x_1$ _{", "a name that is far too long for the place that it has"], tmp_path / "sheet.png"
    )
    shares = colors(path)
    assert all(shares[hue] > 0.05 for hue in ("#ff0000", "#00ff00", "#0000ff"))
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_of_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageProblem) as refusal:
        sheet([tmp_path / "gone.jpg"], ["cat"], tmp_path / "sheet.png")
    assert str(refusal.value) == f"{tmp_path / 'gone.jpg'}: no such file"
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_needs_one_label_per_image(tmp_path):
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
def test_bars_of_true_and_wrong_classes_have_their_colors(tmp_path, true, present, absent):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["cat", "dog", "개"], [0.2, 0.7, 0.1], path=tmp_path / "plot.png", true=true)
    found = {color for color, share in colors(path).items() if share > 1e-3}
    assert present <= found
    assert not absent & found


def test_the_length_of_a_bar_is_its_probability(tmp_path):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["cat", "dog"], [0.25, 0.75], path=tmp_path / "plot.png", true="dog")
    shares = colors(path)
    assert shares[charts.GOOD] / shares[charts.QUIET] == pytest.approx(3, rel=0.05)


def test_only_k_classes_are_drawn(tmp_path):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    path = top_k_plot(image, ["a", "b", "c"], [0.5, 0.3, 0.2], path=tmp_path / "plot.png", true="c", k=2)
    assert colors(path).get(charts.GOOD, 0) == 0


def test_a_character_without_a_font_becomes_a_box():
    known, families = charts._fonts("a\U0010fffd")
    assert known == {"a"}
    assert families == ["DejaVu Sans"]


HEAD = EpochRecord("head", 1, loss=9.0, accuracy=0.0, val_loss=9.0, val_accuracy=0.0, seconds=0.1, l2=1.0)


def test_training_and_validation_are_drawn(tmp_path):
    lines = [
        EpochRecord("finetune", n, loss=2 / n, accuracy=0.2 * n, val_loss=3 / n, val_accuracy=0.1 * n, seconds=0.1)
        for n in range(1, 5)
    ]
    path = history_plot([HEAD, *lines], tmp_path / "history.png")
    plain = colors(path)
    assert plain[charts.GOOD] > 1e-4
    assert plain[charts.QUIET] > 1e-4
    marked = colors(history_plot([*lines[:3], replace(lines[3], chosen=True)], tmp_path / "marked.png"))
    assert marked[charts.INK] > plain[charts.INK]


def test_a_history_without_epochs_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^history has no epoch of fine-tuning"):
        history_plot([HEAD], tmp_path / "history.png")
    assert list(tmp_path.iterdir()) == []
