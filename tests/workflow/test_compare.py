"""Comparing runs: which images are shared, what the runs did with them, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headstart.documents import decode
from headstart.errors import OutputError, RunError, SettingsError
from headstart.evaluate.comparison import COMPARISON_FORMAT, Comparison
from headstart.evaluate.paired import PairedCounts
from headstart.evaluate.schema import read_evaluation, write_evaluation
from headstart.workflow.compare import CompareResult, check_page, compare, page_path
from headstart.workflow.compared_run import unique_names

Judge = Callable[..., Path]
CLASSES = ("cat", "dog")


def images(numbers: range, *, label: str | None = None) -> list[tuple[str, str, str]]:
    """(uri, content, label): every third is a dog."""
    return [(f"/photos/{n}.jpg", f"{n:032x}", label or CLASSES[n % 3 == 0]) for n in numbers]


def judgements(rows: list[tuple[str, str, str]], wrong: set[int], sure: float = 0.9) -> list[list[float]]:
    """Probabilities that are right with a confidence of 90 %, but for some images."""
    values = []
    for uri, _, label in rows:
        number = int(Path(uri).stem)
        right = CLASSES.index(label)
        chosen = 1 - right if number in wrong else right
        values.append([sure if number_of == chosen else 1 - sure for number_of in range(2)])
    return values


@pytest.fixture
def judge(made_run: ModuleType, tmp_path: Path) -> Judge:
    """judge("a", range(40), wrong={1}): a run that was evaluated on these images."""

    def make(name: str, numbers: range, *, wrong: set[int] = frozenset(), sure: float = 0.9, **more: Any) -> Path:  # type: ignore[assignment]
        rows = more.pop("rows", None) or images(numbers)
        values = judgements(rows, wrong, sure)
        return made_run.make_judged(tmp_path / name, rows, values, CLASSES, **more)

    return make


def comparison_of(*runs: Path, **options: Any) -> Comparison:
    return compare(list(runs), **options).comparison


def told(comparison: Comparison) -> str:
    return "\n".join((*comparison.warnings, *comparison.notes))


def test_groups_make_intervals_too_narrow(judge: Judge) -> None:
    one, two = judge("one", range(40)), judge("two", range(40), wrong={3}, seed=1)
    assert "groups" not in told(comparison_of(one, two))
    for run in (one, two):
        path = run / "evaluation.json"
        write_evaluation(path, replace(read_evaluation(path), groups=12))
    assert "The images belong to 12 groups" in told(comparison_of(one, two))


def test_figures_differences_and_changed_images(judge: Judge) -> None:
    one = judge("one", range(40), wrong={1, 2, 3})
    two = judge("two", range(40), wrong={3, 4}, sure=0.8, seed=1)
    found = comparison_of(one, two)
    assert (found.images, found.classes, found.matched_by, found.label_conflicts) == (40, 2, "content", 0)
    assert [(run.name, run.use, run.figures.accuracy) for run in found.runs] == [
        ("one", "choices", 37 / 40),
        ("two", "choices", 38 / 40),
    ]
    (pair,) = found.pairs
    assert pair.run == "two"
    assert pair.differences.counts == PairedCounts(both=36, first=2, second=1, neither=1)
    assert pair.differences.p_value == 1
    assert pair.differences.accuracy.value == pytest.approx(1 / 40)
    losses = [-np.log([p, 1 - p]) for p in (0.9, 0.8)]  # right, wrong
    expected = (38 * losses[1][0] + 2 * losses[1][1] - 37 * losses[0][0] - 3 * losses[0][1]) / 40
    assert pair.differences.log_loss.value == pytest.approx(expected, abs=1e-6)
    assert [image.uri for image in pair.gained] == ["/photos/1.jpg", "/photos/2.jpg"]
    (lost,) = pair.lost
    assert (lost.uri, lost.label, lost.predicted, lost.baseline_predicted) == ("/photos/4.jpg", "cat", "dog", "cat")
    assert (lost.confidence, lost.baseline_confidence) == pytest.approx((0.8, 0.9))


def test_the_most_confident_error_is_first(judge: Judge, made_run: ModuleType, tmp_path: Path) -> None:
    rows = [row for row in images(range(30)) if row[2] == "cat"]
    right = judge("right", range(0), rows=rows)
    values = [[0.5 - number / 100, 0.5 + number / 100] for number in range(len(rows))]
    wrong = made_run.make_judged(tmp_path / "wrong", rows, values, CLASSES)
    lost = comparison_of(right, wrong).pairs[0].lost
    assert [image.uri for image in lost] == [row[0] for row in reversed(rows)]
    assert [image.uri for image in comparison_of(wrong, right).pairs[0].gained] == [row[0] for row in reversed(rows)]


def test_another_baseline(judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [judge(name, range(20), wrong={number}) for number, name in enumerate(("a", "b", "c"))]
    monkeypatch.chdir(tmp_path)
    for given in ("b", str(runs[1]), "./b/"):
        found = comparison_of(*runs, baseline=given)
        assert (found.baseline, [pair.run for pair in found.pairs]) == ("b", ["a", "c"])
        assert [run.name for run in found.runs] == ["a", "b", "c"]
    with pytest.raises(
        SettingsError, match=r"^--baseline bb: not one of the runs, which are a, b, c; did you mean b\?$"
    ):
        compare(runs, baseline="bb")


def test_only_shared_images_are_compared_and_it_is_told(judge: Judge) -> None:
    """The usual trap: another seed gives another split, and the images of one run trained the other."""
    trained = [(content, "train") for _, content, _ in images(range(60, 100))]
    one = judge("one", range(60), others=trained)
    two = judge("two", range(40, 100), others=[(content, "train") for _, content, _ in images(range(40))])
    found = comparison_of(one, two)
    assert found.images == 20
    assert (
        "The runs share 20 images only: of the others that a run was evaluated on, one was fitted to 40 and two was "
        "fitted to 40. Those are left out." in found.warnings
    )
    assert "Images that each run was evaluated on: one 60 (validation), two 60 (validation)." in found.notes
    assert all(run.fair for run in found.runs)


def test_runs_without_a_common_image_are_refused(judge: Judge) -> None:
    one, two, three = judge("one", range(10)), judge("two", range(5, 15)), judge("three", range(10, 20))
    with pytest.raises(RunError, match="no image is among those that both were evaluated on") as caught:
        compare([one, two, three])
    assert str(caught.value).startswith(f"{one} and {three}: ")
    assert "(10 and 10)" in str(caught.value)
    assert "--on NAME" in str(caught.value)


def test_three_runs_whose_pairs_share_images_but_not_all(judge: Judge) -> None:
    pairs = [
        [*images(range(10)), *images(range(10, 20))],
        images(range(10, 30)),
        [*images(range(10)), *images(range(20, 30))],
    ]
    runs = [judge(name, range(0), rows=rows) for name, rows in zip("abc", pairs, strict=True)]
    with pytest.raises(RunError, match="no image is among those that all of them were evaluated on"):
        compare(runs)


def test_the_same_content_under_another_path_is_the_same_image(judge: Judge) -> None:
    moved = [(uri.replace("photos", "moved"), content, label) for uri, content, label in images(range(20))]
    found = comparison_of(judge("here", range(20)), judge("there", range(0), rows=moved))
    assert found.images == 20


def test_a_file_that_was_changed_is_another_image(judge: Judge) -> None:
    changed = images(range(40))
    changed[:3] = [(uri, f"{'f' * 31}{number}", label) for number, (uri, _, label) in enumerate(changed[:3])]
    found = comparison_of(judge("before", range(40)), judge("after", range(0), rows=changed))
    assert found.images == 37
    assert "3 images of before have another content in after" in told(found)


def test_without_hashes_paths_are_compared(judge: Judge) -> None:
    unknown = [(uri, "", label) for uri, _, label in images(range(20))]
    found = comparison_of(judge("old", range(0), rows=unknown), judge("new", range(20)))
    assert (found.images, found.matched_by) == (20, "path")
    assert "the same path is taken for the same image" in told(found)


def test_repeated_images_count_once(judge: Judge) -> None:
    rows = [*images(range(20)), ("/photos/1001.jpg", f"{1:032x}", "cat")]
    found = comparison_of(judge("a", range(0), rows=rows), judge("b", range(20)))
    assert found.images == 20
    assert "1 image has the content of another one of its run and is counted once." in told(found)


def test_images_whose_labels_disagree_are_left_out(judge: Judge) -> None:
    relabeled = [
        (uri, content, "dog" if number < 2 else label)
        for number, (uri, content, label) in enumerate(images(range(1, 40)))
    ]
    found = comparison_of(judge("before", range(1, 40)), judge("after", range(0), rows=relabeled))
    assert (found.images, found.label_conflicts) == (37, 2)
    assert "2 shared images are left out, since the runs disagree on their label." in found.warnings


def test_an_image_with_two_labels_in_one_run_is_left_out(judge: Judge) -> None:
    rows = [*images(range(40)), ("/photos/1001.jpg", f"{1:032x}", "dog")]
    found = comparison_of(judge("a", range(0), rows=rows), judge("b", range(40)))
    assert (found.images, found.label_conflicts) == (39, 1)


def test_labels_that_all_disagree_are_refused(judge: Judge) -> None:
    one = judge("one", range(0), rows=images(range(10), label="cat"))
    two = judge("two", range(0), rows=images(range(10), label="dog"))
    with pytest.raises(RunError) as caught:
        compare([one, two])
    assert str(caught.value) == (
        f"{one} and {two}: the labels of all 10 shared images disagree, for example /photos/0.jpg is 'cat' and 'dog'; "
        "runs are compared on images of the same label"
    )


def test_labels_that_disagree_in_one_run_are_named(judge: Judge) -> None:
    """As where identical files are in two class folders, and an evaluation has no other images."""
    rows = [(f"/{label}/{number}.jpg", f"{number:032x}", label) for number in range(3) for label in CLASSES]
    one, two = judge("one", range(0), rows=rows), judge("two", range(0), rows=rows)
    with pytest.raises(
        RunError, match=r"labels of all 3 shared images disagree, for example /cat/0\.jpg is 'cat' and 'dog'"
    ):
        compare([one, two])


def test_other_classes_are_told(judge: Judge, made_run: ModuleType, tmp_path: Path) -> None:
    rows = images(range(40))
    values = [[0.8 * value for value in row] + [0.2] for row in judgements(rows, set())]
    more = made_run.make_judged(tmp_path / "more", rows, values, (*CLASSES, "owl"))
    found = comparison_of(judge("two", range(40)), more)
    assert (
        "more knows 1 class that another run lacks (owl): their images are not compared, and choosing among more "
        "classes is harder." in found.warnings
    )
    assert found.runs[1].figures.accuracy == 1


def test_the_order_of_the_classes_does_not_matter(judge: Judge, made_run: ModuleType, tmp_path: Path) -> None:
    rows = images(range(40))
    values = [row[::-1] for row in judgements(rows, {5})]
    turned = made_run.make_judged(tmp_path / "turned", rows, values, CLASSES[::-1])
    (pair,) = comparison_of(judge("a", range(40), wrong={5}), turned).pairs
    assert pair.differences.counts == PairedCounts(39, 0, 0, 1)
    assert pair.differences.log_loss.value == pytest.approx(0, abs=1e-6)


def evaluated(judge: Judge, run: Path, numbers: range, name: str = "new", **more: Any) -> Path:
    return judge(f"{run.name}/evaluations/{name}", numbers, command="evaluate", split=more.pop("split", "test"), **more)


def fitted_to(numbers: range, split: str = "train") -> list[tuple[str, str]]:
    return [(content, split) for _, content, _ in images(numbers)]


def test_evaluations_are_compared_by_name(judge: Judge) -> None:
    runs = [judge(name, range(100, 120), seed=seed) for seed, name in enumerate("ab")]
    for number, run in enumerate(runs):
        evaluated(judge, run, range(30), wrong={number})
    found = comparison_of(*runs, on="new")
    assert (found.on, found.images, [run.use for run in found.runs]) == ("new", 30, ["none", "none"])
    assert [run.name for run in found.runs] == ["a", "b"]
    assert [(row.name, row.values) for row in found.settings] == [("seed", (0, 1))]
    assert [run.seconds for run in found.runs] == [2.5, 2.5]
    folders = [run / "evaluations" / "new" for run in runs]
    assert [run.name for run in comparison_of(*folders).runs] == ["a", "b"]
    assert comparison_of(*folders).pairs == found.pairs
    with pytest.raises(
        RunError, match=r"no evaluation 'now'; it has new; did you mean new\?\. Run `headstart evaluate "
    ):
        compare(runs, on="now")
    shutil.rmtree(folders[1].parent)
    with pytest.raises(RunError, match="b: no evaluation 'new'; it has none"):
        compare(runs, on="new")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_run_that_was_fitted_to_the_images_is_marked_and_not_compared(judge: Judge, split: str) -> None:
    fair, other = judge("fair", range(100, 120)), judge("other", range(100, 120))
    cheat = judge("cheat", range(200, 220), others=fitted_to(range(30), split))
    for run, kind in ((fair, "test"), (other, "test"), (cheat, "train")):
        evaluated(judge, run, range(30), split=kind)
    found = comparison_of(fair, cheat, other, on="new")
    marked = found.runs[1]
    assert (marked.use, marked.fitted_images, marked.fair) == ("fitted", 30, False)
    assert [pair.run for pair in found.pairs] == ["other"]
    assert found.warnings[0] == (
        "cheat was fitted to every one of the 30 compared images, so its figures on them say nothing about other "
        "images. They are shown, but not compared."
    )
    with pytest.raises(RunError, match=r"cheat: the baseline was fitted to 30 of the 30 .* --baseline fair$"):
        compare([cheat, fair], on="new")
    both = comparison_of(fair, cheat, on="new")
    assert both.pairs == ()


def test_one_training_image_is_enough(judge: Judge) -> None:
    fair, cheat = judge("fair", range(100, 120)), judge("cheat", range(200, 220), others=fitted_to(range(1)))
    for run in (fair, cheat):
        evaluated(judge, run, range(30))
    found = comparison_of(fair, cheat, on="new")
    assert (found.runs[1].fitted_images, found.pairs) == (1, ())
    assert "cheat was fitted to 1 of the 30 compared images" in found.warnings[0]


def test_a_fit_that_trained_on_its_own_evaluated_images_is_marked(judge: Judge) -> None:
    """A run that someone else wrote: the same content is in its training split and its test split."""
    leaky = judge("leaky", range(30), split="test", others=fitted_to(range(5)))
    assert comparison_of(judge("a", range(30), split="test"), leaky).runs[1].fitted_images == 5


def test_an_evaluation_without_its_fit_is_unknown(judge: Judge) -> None:
    known, alone = judge("known", range(30), split="test"), judge("alone", range(30), command="evaluate", split="test")
    found = comparison_of(known, alone)
    assert [run.use for run in found.runs] == ["none", "unknown"]
    assert "headstart cannot know whether alone used the compared images in training" in told(found)
    assert len(found.pairs) == 1


@pytest.mark.parametrize(
    ("splits", "text"),
    [
        (("validation", "validation"), "validation images of every run"),
        (("test", "test"), "No run used the compared images"),
        (("cross-validation", "cross-validation"), "by a head that was solved without it"),
        (("validation", "test"), "may flatter a a little"),
    ],
)
def test_what_the_runs_did_with_the_images_is_told(judge: Judge, splits: tuple[str, str], text: str) -> None:
    runs = [judge(name, range(30), split=split) for name, split in zip("ab", splits, strict=True)]
    assert text in told(comparison_of(*runs))


def test_few_images_are_told(judge: Judge) -> None:
    assert "5 images are few" in told(comparison_of(judge("a", range(5)), judge("b", range(5))))


def test_differing_settings_and_sizes(judge: Judge) -> None:
    one = judge("one", range(30), l2=0.1, stages="auto", cache_dir="/a", others=fitted_to(range(100, 107)))
    two = judge("two", range(30), l2=0.1, stages="none", cache_dir="/b", extra=True)
    found = comparison_of(one, two)
    assert [(row.name, row.values) for row in found.settings] == [("stages", ("auto", "none")), ("extra", (None, True))]
    assert [(run.classifier_bytes, run.training_images) for run in found.runs] == [(1_500_000, 7), (1_500_000, None)]


def test_a_run_is_not_compared_with_itself(judge: Judge, tmp_path: Path) -> None:
    one = judge("one", range(10))
    (tmp_path / "link").symlink_to(one)
    for other in (one, tmp_path / "link"):
        with pytest.raises(SettingsError, match="given twice, and a run does not differ from itself"):
            compare([one, other])
    with pytest.raises(SettingsError, match=r"^compare needs at least two runs, got 1; name another run folder$"):
        compare([one])
    with pytest.raises(RunError, match="gone: no such run folder"):
        compare([one, tmp_path / "gone"])


def test_names_tell_runs_apart() -> None:
    assert unique_names([Path("/x/a/run"), Path("/x/b/run"), Path("/x/c")]) == ["a/run", "b/run", "c"]
    assert unique_names([Path("/x/a"), Path("/x/a/evaluations/n")]) == ["a", "a/evaluations/n"]


def test_the_json_can_be_read_back(judge: Judge) -> None:
    result = compare(
        [judge("a", range(30), wrong={1}), judge("b", range(30), seed=1)], arguments=["headstart", "compare"]
    )
    found = decode(Comparison, json.loads(result.json()), "printed", version=COMPARISON_FORMAT)
    assert found == result.comparison


def test_lines(judge: Judge) -> None:
    one = judge("one", range(40), wrong={1, 2, 3})
    two = judge("two", range(40), wrong={3, 4}, seed=1)
    lines = compare([one, two]).lines()
    assert lines[0].startswith("40 shared images, 2 classes; differences from one with paired 95 % intervals")
    assert lines[3].split()[:3] == ["one", "(baseline)", "92.5%"]
    assert lines[4].startswith("two             95.0% +2.5 (")
    assert any(line.split()[:5] == ["two", "2", "1", "36", "1"] and line.endswith("p = 1.00") for line in lines)
    assert any(line.split() == ["classifier", "on", "disk", "1.5", "MB", "1.5", "MB"] for line in lines)
    assert lines[-1].split() == ["seed", "not", "set", "1"]


def test_the_default_page_is_a_new_file(judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result: CompareResult = compare([judge("a", range(10)), judge("b", range(10))])
    first = page_path(result.comparison)
    assert first == Path("comparisons/a-and-b.html")
    result.write(first)
    assert page_path(result.comparison) == Path("comparisons/a-and-b-2.html")
    three = compare([judge("c", range(10)), "a", "b"])
    assert page_path(three.comparison) == Path("comparisons/c-and-2-others.html")


def test_no_other_file_is_replaced(judge: Judge, tmp_path: Path) -> None:
    result = compare([judge("a", range(10)), judge("b", range(10))])
    page, precious = tmp_path / "page.html", tmp_path / "report.html"
    check_page(page)
    result.write(page)
    check_page(page)
    precious.write_text("<html>mine</html>")
    with pytest.raises(OutputError, match="is there, and not a page of headstart compare, so it is not replaced"):
        check_page(precious)
    with pytest.raises(OutputError, match="choose another place with --output"):
        check_page(precious / "page.html")
