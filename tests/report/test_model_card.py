"""The model card: what the hub reads of it, and names that would be markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from headstart.artifacts.model_document import InputRecord, ModelDocument, ModelMetadata, write_model_document
from headstart.artifacts.run_folder import CARD_MARKER, read_run, remove_evaluations
from headstart.data.spec import InputSpec
from headstart.evaluate.schema import PRETRAINED_ON
from headstart.report import write_report
from headstart.report.model_card import markdown, model_card

NASTY = ["a|b", "<img src=x>", "# head", "[me](http://x.example)", "two\nlines", "'\": {yaml}", "*_b_*"]


@pytest.fixture
def fitted(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """fitted(["cat", "dog"], licence="mit"): a run with the document of a classifier."""

    def make(names: list[str], *, source: str = "hub timm/resnet18.a1_in1k", licence: str = "apache-2.0") -> Path:
        run = make_run(names)
        document = ModelDocument(
            model="resnet18",
            train="head",
            classes=tuple(names),
            input=InputRecord.of(InputSpec()),
            temperature=1.0,
            tta_flip=False,
            prediction_sets=None,
            metadata=ModelMetadata(source, licence),
            headstart="0.1.0",
            torch="2",
            digest="0" * 32,
        )
        (run / "classifier").mkdir()
        write_model_document(run / "classifier" / "model.json", document)
        return run

    return make


def card(run: Path, **given: Any) -> str:
    """The card of a run, whose settings.json knows nothing of the document that the test adds."""
    text = model_card(read_run(run), **given)
    assert text is not None
    return text


def test_the_hub_reads_the_metadata(fitted: Callable[..., Path]) -> None:
    run = fitted(["cat", "dog", "owl"])
    evaluation = read_run(run).evaluation
    read = ModelCard(card(run)).data
    assert (read.license, read.library_name, read.pipeline_tag) == ("apache-2.0", "headstart", "image-classification")
    assert read.base_model == "timm/resnet18.a1_in1k"
    assert read.metrics == ["accuracy", "f1", "brier_score"]
    assert read.model_name == "run"
    accuracy, f1, brier = read.eval_results
    assert (accuracy.dataset_name, accuracy.dataset_split) == ("arrays in memory", "validation")
    found = [each.metric_value for each in (accuracy, f1, brier)]
    assert found == pytest.approx([evaluation.top1.value, evaluation.macro_f1.value, evaluation.brier.value], abs=1e-4)
    top1 = evaluation.top1
    assert accuracy.metric_name == f"accuracy, 95 % interval {top1.low:.4f} to {top1.high:.4f}"


def test_figures_and_limits(fitted: Callable[..., Path]) -> None:
    run = fitted(["cat", "dog", "owl"])
    read = read_run(run)
    text, top1 = card(run), read.evaluation.top1
    assert f"| Accuracy | {100 * top1.value:.1f} % | {100 * top1.low:.1f} % to {100 * top1.high:.1f} % |" in text
    assert "not only these 18, the figure lies in the\ninterval" in text
    assert "fewer than 20 images, so little is known of them:\n  cat, dog, owl" in text
    assert "The probabilities were not calibrated." in text
    assert "was not tested; if they were, the figures are optimistic" in text
    noted = replace(read, evaluation=replace(read.evaluation, notes=(f"3 classes {PRETRAINED_ON}.", "Other.")))
    text = model_card(noted) or ""
    assert f"seen in pretraining?\n\n3 classes {PRETRAINED_ON}.\n" in text
    assert "- Other." in text


def test_names_are_shown_as_they_are(fitted: Callable[..., Path]) -> None:
    text = card(fitted(NASTY))
    line = next(line for line in text.splitlines() if line.startswith("Image classifier for 7 classes: "))
    assert line == (
        r"Image classifier for 7 classes: a\|b, \<img src=x\>, \# head, \[me\](http\://x.example), two lines, "
        r"'" + r'"\: \{yaml\}, \*\_b\_\*.'
    )
    assert ModelCard(text).data.model_name == "run"
    assert markdown("caf\udce9 `a`") == "caf\\\\udce9 \\`a\\`"


@pytest.mark.parametrize(
    ("licence", "name"), [("cc-by-nc-4.0", None), ("not stated", "not-stated"), ("Fair Use!", "fair-use")]
)
def test_the_license(licence: str, name: str | None, fitted: Callable[..., Path]) -> None:
    read = ModelCard(card(fitted(["cat", "dog"], licence=licence))).data
    assert (read.license, read.license_name) == (("other", name) if name else (licence, None))


def test_no_folder_of_this_machine(fitted: Callable[..., Path], tmp_path: Path) -> None:
    text = card(fitted(["cat", "dog"], source="/home/someone/weights.pth"), name="hf:me/pets")
    assert "come from the file weights.pth; " in text
    assert "/home" not in text
    assert str(tmp_path) not in text
    assert "base_model" not in text
    assert 'hs.load("hf:me/pets")' in text


def test_a_card_of_somebody_else_stays(fitted: Callable[..., Path]) -> None:
    run = fitted(["cat", "dog"])
    path = run / "README.md"
    write_report(run)
    written = path.read_text(encoding="utf-8")
    assert CARD_MARKER in written
    path.write_text(written + "edited", encoding="utf-8")
    write_report(run)
    assert path.read_text(encoding="utf-8") == written
    mine = written.replace(CARD_MARKER, "") + "edited"
    path.write_text(mine, encoding="utf-8")
    write_report(run)
    remove_evaluations(run)
    assert path.read_text(encoding="utf-8") == mine
    path.write_text(written, encoding="utf-8")
    remove_evaluations(run)
    assert not path.exists()


def test_no_classifier_no_card(make_run: Callable[..., Path]) -> None:
    run = make_run(["cat", "dog"])
    assert model_card(read_run(run)) is None
    write_report(run)
    assert not (run / "README.md").exists()
