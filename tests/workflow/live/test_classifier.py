"""The live classifier follows a project."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import FitSettings
from headstart.data.decode import inspect
from headstart.data.projects import NewImage, Project
from headstart.errors import DataError, SettingsError
from headstart.events import Event, Events, StageBegun
from headstart.workflow.fit import fit
from headstart.workflow.live import LiveClassifier, LiveSettings
from headstart.workflow.live.features import LiveNetwork, manifest_of

Add = Callable[..., list[int]]
Wait = Callable[[Callable[[], object]], None]
Open = Callable[..., LiveClassifier]


@pytest.fixture
def live(project: Project, fit_settings: FitSettings) -> Iterator[Open]:
    """live(): a started classifier of the project."""
    opened: list[LiveClassifier] = []

    def make(told: Callable[[str, Mapping[str, object]], None] | None = None, **values: object) -> LiveClassifier:
        settings = LiveSettings(**{"fit": fit_settings, **values})  # type: ignore[arg-type]
        opened.append(LiveClassifier(project, settings, told))
        opened[-1].start()
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def color_of(place: int) -> int:
    return place % 3 + 1  # as the fixtures add them


def test_from_no_image_to_predictions_by_labels_given_one_by_one(
    project: Project, add: Add, live: Open, wait_until: Wait
) -> None:
    classifier = live()
    assert classifier.state().message == "label two images of two classes each"
    assert classifier.predictions([1]) == {}
    ids = add(60)
    wait_until(lambda: classifier.state().images_with_features == 60)
    project.set_labels({ids[0]: 1})
    assert "all labels are of one class" in classifier.state().message
    project.set_labels({ids[1]: 2, ids[2]: 3})
    assert "one labeled image" in classifier.state().message
    wait_until(lambda: classifier.predictions(ids).keys() >= set(ids))
    for place in range(3, 30):
        project.set_labels({ids[place]: color_of(place)})
    wait_until(lambda: classifier.state().revision == project.revision)
    state = classifier.state()
    assert (state.labels, state.judged, state.message) == (30, 30, "")
    assert state.accuracy is not None
    assert state.accuracy.value > 0.9
    right = [classifier.predictions([image])[image][0] == color_of(place) for place, image in enumerate(ids)]
    assert np.mean(right) > 0.9
    assert [point.labels for point in state.curve] == sorted({point.labels for point in state.curve})
    assert state.curve[-1].labels == 30


def test_no_question_waits_for_the_head(project: Project, add: Add, live: Open, wait_until: Wait) -> None:
    ids = add(90, labeled=True)
    classifier = live()
    wait_until(lambda: classifier.state().accuracy is not None)
    longest = 0.0
    for place in range(60):
        project.set_labels({ids[place]: color_of(place + 1)})
        start = time.perf_counter()
        classifier.state()
        classifier.predictions(ids)
        classifier.order(ids, "suggested")
        classifier.evaluation()
        longest = max(longest, time.perf_counter() - start)
    wait_until(lambda: classifier.state().revision == project.revision)
    assert longest < 0.5


def test_of_many_changes_the_last_state_counts(project: Project, add: Add, live: Open, wait_until: Wait) -> None:
    told: list[int] = []

    def hear(kind: str, data: Mapping[str, object]) -> None:
        if kind == "learning":
            told.append(int(str(data["revision"])))

    ids = add(30, labeled=True)
    classifier = live(hear)
    wait_until(lambda: classifier.state().learned == 30)
    for place in range(30):
        project.set_labels({ids[place]: color_of(place + 1)})
    project.set_labels({image: color_of(place) for place, image in enumerate(ids)})
    wait_until(lambda: classifier.state().revision == project.revision)
    assert told == sorted(told)
    assert len(set(told)) < 31
    accuracy = classifier.state().accuracy
    assert accuracy is not None
    assert accuracy.value > 0.9


def test_labeled_images_are_suggested_last_and_doubtful_ones_first(
    project: Project, add: Add, live: Open, wait_until: Wait
) -> None:
    ids = add(40)
    classifier = live(suggestions="margin")
    wait_until(lambda: classifier.state().images_with_features == 40)
    project.set_labels({image: color_of(place) for place, image in enumerate(ids[:12])})
    wait_until(lambda: classifier.state().revision == project.revision and not classifier._learner._wake.is_set())
    wait_until(lambda: set(classifier.order(ids, "suggested")[-12:]) == set(ids[:12]))
    order = classifier.order(ids, "suggested")
    assert sorted(order) == sorted(ids)
    assert order[:28] == classifier.order(ids[12:], "uncertainty")
    assert classifier.order([ids[0], 12345], "suggested")[-1] == 12345


def test_a_rejected_class_is_not_suggested_again(project: Project, add: Add, live: Open, wait_until: Wait) -> None:
    ids = add(30)
    classifier = live()
    project.set_labels({image: color_of(place) for place, image in enumerate(ids[:24])})
    image = ids[24]
    wait_until(lambda: image in classifier.predictions([image]))
    suggested = classifier.predictions([image])[image][0]
    project.reject({image: suggested})
    wait_until(lambda: classifier.predictions([image])[image][0] != suggested)
    for number in (1, 2, 3):
        project.reject({image: number})
    wait_until(lambda: image not in classifier.predictions([image]))


def test_a_later_fit_finds_the_features(
    project: Project, add: Add, live: Open, wait_until: Wait, fit_settings: FitSettings
) -> None:
    add(30, labeled=True)
    classifier = live()
    wait_until(lambda: classifier.state().images_with_features == 30)
    stages: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, StageBegun):
            stages.append(event.name)

    names = {each.id: each.name for each in project.classes()}
    fit(manifest_of(project.images().images, names), fit_settings, events=Events(hear))
    assert "solving the head" in stages
    # Of copies of images, by which near-duplicates are found; the images themselves have features.
    computed = stages.count("computing features")
    assert computed <= 1
    classifier.close()
    again = live()
    wait_until(lambda: again.state().images_with_features == 30)


def test_the_evaluation_lists_the_wrong_label_and_its_cell(
    project: Project, add: Add, live: Open, wait_until: Wait
) -> None:
    ids = add(60, labeled=True)
    project.set_labels({ids[0]: 2})  # a red image
    classifier = live()
    wait_until(lambda: classifier.state().learned == 60)
    found = classifier.evaluation()
    assert found is not None
    assert found.errors[0].id == ids[0]
    assert (found.errors[0].given, found.errors[0].predicted) == (2, 1)
    assert [(each.id, each.likelier) for each in found.wrong] == [(ids[0], 1)]
    assert found.cell(2, 1) == [ids[0]]
    assert found.confusion.sum() == found.images == 60
    assert [each.count for each in found.classes] == [19, 21, 20]
    assert found.classes[0].recall is not None
    assert sum(each.count for each in found.bins) == 60
    assert sum(len(found.in_bin(number)) for number in range(10)) == 60
    assert found.in_bin(next(number for number in range(10) if ids[0] in found.in_bin(number)))[0] == ids[0]
    project.undo()
    wait_until(lambda: classifier.state().revision == project.revision)
    mended = classifier.evaluation()
    assert mended is not None
    assert mended.wrong == ()


def test_a_new_image_is_tried_and_explained(project: Project, add: Add, live: Open, wait_until: Wait) -> None:
    ids = add(100, labeled=True)
    classifier = live()
    with pytest.raises(DataError, match=r"being|try again"):
        classifier.predict([("a", b"")])
    wait_until(lambda: classifier.state().learned == 100)
    wait_until(lambda: classifier._learner.detector is not None)
    photo = Path(project.image(ids[0]).uri)
    first, second = classifier.predict([("red.png", photo.read_bytes()), ("broken.png", b"no image")])
    assert (first.name, first.top[0].name, first.problem) == ("red.png", "red", None)
    assert sum(each.probability for each in first.top) == pytest.approx(1, abs=1e-5)
    assert first.prediction_set is not None
    assert first.prediction_set[0] == "red"
    assert first.out_of_distribution is False
    assert second.problem
    assert second.top == ()
    shown = Image.open(io.BytesIO(classifier.saliency(ids[1], 2)))
    assert shown.format == "PNG"
    with pytest.raises(DataError, match="no labeled image"):
        classifier.saliency(ids[1], 99)
    near = classifier.neighbors(ids[0], 4)
    assert len(near) == 4
    assert ids[0] not in [image for image, _ in near]
    assert [cosine for _, cosine in near] == sorted((cosine for _, cosine in near), reverse=True)
    assert classifier.probabilities(ids[0])[0].name == "red"


def test_an_image_that_has_vanished_is_told_and_the_others_are_learned(
    project: Project, add: Add, live: Open, wait_until: Wait
) -> None:
    ids = add(12, labeled=True)
    Path(project.image(ids[5]).uri).unlink()
    classifier = live()
    wait_until(lambda: classifier.state().images_with_features == 11)
    wait_until(lambda: classifier.state().accuracy is not None)
    assert "1 images vanished" in classifier.state().message


def test_labels_are_learned_while_features_are_still_computed(
    project: Project, add: Add, live: Open, wait_until: Wait
) -> None:
    ids = add(150)
    project.set_labels({image: color_of(place) for place, image in enumerate(ids) if place >= 130})
    classifier = live()
    seen: list[int] = []
    wait_until(lambda: seen.append(classifier.state().images_with_features) or classifier.state().accuracy)
    labels = set(ids[130:])
    first = classifier._pool.vectors().ids[:20].tolist()
    assert labels == set(first)  # before the others


def test_the_curve_outlives_the_process(project: Project, add: Add, live: Open, wait_until: Wait) -> None:
    add(30, labeled=True)
    classifier = live()
    wait_until(lambda: classifier.state().learned == 30)
    classifier.close()
    assert live().state().curve == classifier.state().curve != ()


def test_beyond_the_memory_images_get_no_suggestions_and_that_is_told(add: Add, live: Open, wait_until: Wait) -> None:
    ids = add(30, labeled=True)
    classifier = live(max_vector_bytes=2 * 96 * 20)
    wait_until(lambda: classifier.state().images_with_features == 20)
    wait_until(lambda: "10 images get no suggestions" in classifier.state().message)
    wait_until(lambda: classifier.state().learned == 20)
    assert len(classifier.predictions(ids)) == 20


def test_the_value_range_is_that_of_a_fit(
    project: Project, live: Open, wait_until: Wait, fit_settings: FitSettings, tmp_path: Path
) -> None:
    photo = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 40), 2048, np.uint16)).save(photo)  # 12 bits, of which 2048 is gray
    found = inspect(str(photo))
    new = NewImage(str(photo), "deep.png", found.hash, found.width, found.height, found.bytes, found.problem, "gray")
    project.add_images([new])
    vectors = []
    for value_range in (None, "0,4095"):
        classifier = live(fit=replace(fit_settings, value_range=value_range))
        wait_until(lambda: classifier.state().images_with_features == 1)  # noqa: B023 - called at once
        vectors.append(classifier._pool.vectors().values)
    dark, gray = vectors
    assert not np.allclose(dark, gray)
    Image.fromarray(np.full((40, 40), 128, np.uint8)).save(photo)  # as 2048 of 4095 is read
    found = inspect(str(photo))
    expected = LiveNetwork(fit_settings).compute([replace(project.images().images[0], hash=found.hash)])
    assert np.array_equal(gray, expected.vectors)


def test_a_network_that_does_not_exist_is_told(project: Project, fit_settings: FitSettings, wait_until: Wait) -> None:
    with pytest.raises(SettingsError, match="name a network"):
        LiveClassifier(project, LiveSettings(fit=FitSettings.of(model="auto")))
    settings = LiveSettings(fit=FitSettings.of(model="test_resnett"))
    with LiveClassifier(project, settings) as classifier:
        wait_until(lambda: classifier.state().phase == "failed")
        assert "test_resnet" in classifier.state().message


def test_closing_ends_all_threads(add: Add, live: Open) -> None:
    before = set(threading.enumerate())
    add(60, labeled=True)
    live().close()
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("headstart-")]
    assert left == []
