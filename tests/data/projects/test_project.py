"""Labels, classes, history, undo and redo."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.data.projects import Change, ChangeRefused, ImageQuery, NewImage, NotInProject, Project
from headstart.errors import OutputError, ProjectError

New = Callable[..., NewImage]

CAT, DOG = 1, 2


def names(project: Project) -> dict[str, int]:
    return {each.name: each.count for each in project.classes()}


def test_labels_are_counted_and_can_be_taken_away(project: Project) -> None:
    change = project.set_labels({1: CAT, 2: CAT, 3: DOG})
    assert (change.kind, change.text, sorted(change.images)) == ("label", "labeled 3 images", [1, 2, 3])
    assert names(project) == {"cat": 2, "dog": 1}
    assert project.labels() == {1: CAT, 2: CAT, 3: DOG}
    assert project.set_labels({1: None}).text == "removed the label of 1 image"
    counts = project.counts()
    assert (counts.images, counts.labeled, counts.unlabeled, counts.problems) == (6, 2, 3, 1)


def test_an_image_with_a_problem_gets_no_label(project: Project) -> None:
    assert project.set_labels({6: CAT, 5: CAT}).images == (5,)


def test_a_label_that_is_there_already_is_no_change(project: Project) -> None:
    first = project.set_labels({1: CAT})
    again = project.set_labels({1: CAT})
    assert (again.revision, again.images) == (first.revision, ())


@pytest.mark.parametrize("labels", [{1: CAT, 99: CAT}, {1: 99}])
def test_of_labels_with_an_unknown_image_or_class_none_is_given(project: Project, labels: dict[int, int]) -> None:
    with pytest.raises(NotInProject, match="99"):
        project.set_labels(labels)
    assert project.labels() == {}


def test_an_accepted_suggestion_is_told_from_a_label(project: Project) -> None:
    assert project.set_labels({1: CAT}, source="suggestion").kind == "accept"
    assert project.image(1).source == "suggestion"
    project.set_labels({1: CAT})
    assert project.image(1).source == "person"


def test_a_rejected_suggestion_is_remembered_until_undo(project: Project) -> None:
    project.reject({1: CAT, 2: DOG})
    assert project.rejections() == {(1, CAT), (2, DOG)}
    project.undo()
    assert project.rejections() == set()
    project.redo()
    assert project.rejections() == {(1, CAT), (2, DOG)}


def test_undo_and_redo_go_through_all_kinds_of_changes(project: Project) -> None:
    states = [(names(project), project.labels())]

    def note() -> None:
        states.append((names(project), project.labels()))

    for change in (
        lambda: project.set_labels({1: CAT, 2: CAT, 3: DOG}),
        lambda: project.rename_class(CAT, "kitten"),
        lambda: project.merge_classes(CAT, DOG),
        lambda: project.add_class("cat"),
        lambda: project.set_labels({4: 3}),
        lambda: project.remove_class(3),
        lambda: project.rename_class(DOG, "cat"),  # the name is free again
    ):
        change()
        note()
    for state in reversed(states[:-1]):
        project.undo()
        assert (names(project), project.labels()) == state
    for state in states[1:]:
        project.redo()
        assert (names(project), project.labels()) == state
    with pytest.raises(ChangeRefused, match="nothing to redo"):
        project.redo()


def test_nothing_is_redone_after_another_change(project: Project) -> None:
    project.set_labels({1: CAT})
    project.undo()
    project.set_labels({2: DOG})
    with pytest.raises(ChangeRefused):
        project.redo()
    assert project.can_undo() == (True, False)


def test_undo_ends_at_the_images(tmp_path: Path, project: Project) -> None:
    project.undo()
    project.undo()
    with pytest.raises(ChangeRefused, match="nothing to undo"):
        project.undo()
    assert project.counts().images == 6


def test_undo_is_refused_where_an_import_has_taken_the_name(project: Project, new_image: New) -> None:
    project.rename_class(CAT, "lion")
    project.add_images([new_image(7, label="cat")])
    with pytest.raises(ChangeRefused, match="name"):
        project.undo()
    assert names(project) == {"lion": 0, "dog": 0, "cat": 1}


@given(st.lists(st.sampled_from(["label", "clear", "rename", "merge", "remove", "add", "undo", "redo"]), max_size=30))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_can_be_undone_step_by_step(tmp_path: Path, new_image: New, steps: list[str]) -> None:
    folder = tmp_path / "fuzzed"
    with Project.open(folder, create=True) as project:
        project.add_images([new_image(number) for number in range(1, 4)])
        base = project.counts(), names(project)
        number = project.revision
        for step in steps:
            number += 1
            classes = [each.id for each in project.classes()]
            try:
                if step == "add" or not classes:
                    project.add_class(f"class {number}")
                elif step == "label":
                    project.set_labels({1 + number % 3: classes[number % len(classes)]})
                elif step == "clear":
                    project.set_labels({1 + number % 3: None})
                elif step == "rename":
                    project.rename_class(classes[0], f"renamed {number}")
                elif step == "merge" and len(classes) > 1:
                    project.merge_classes(classes[0], classes[-1])
                elif step == "remove":
                    project.remove_class(classes[-1])
                elif step == "undo":
                    project.undo()
                elif step == "redo":
                    project.redo()
            except ChangeRefused:
                assert step in ("undo", "redo")
        for image, label in project.labels().items():
            assert project.label_history(image)[0].after == label
        while project.can_undo()[0]:
            project.undo()
        assert (project.counts(), names(project)) == base
    (folder / "project.sqlite").unlink()


def test_history_is_never_lost(project: Project) -> None:
    project.set_labels({1: CAT})
    project.undo()
    project.set_labels({1: DOG})
    kinds = [(each.kind, each.undone) for each in project.history(3)]
    assert kinds == [("label", False), ("undo", False), ("label", True)]
    steps = [(each.before, each.after, each.source) for each in project.label_history(1)]
    assert steps == [(None, DOG, "person"), (CAT, None, None), (None, CAT, "person")]


@pytest.mark.parametrize("name", ["Cat", " cat ", "cat", "CAT", "c\u200bat"])
def test_a_name_that_is_taken_is_refused(project: Project, name: str) -> None:
    with pytest.raises(ChangeRefused, match="a class cat already"):
        project.add_class(name)
    with pytest.raises(ChangeRefused):
        project.rename_class(DOG, name)


def test_letters_are_classes_by_case(project: Project) -> None:
    project.add_class("a")
    project.add_class("A")
    assert names(project).keys() == {"cat", "dog", "a", "A"}


def test_a_class_can_be_renamed_to_another_case(project: Project) -> None:
    project.rename_class(CAT, "Cat")
    assert names(project).keys() == {"Cat", "dog"}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201, "\ud800"])
def test_what_is_no_name_is_refused(project: Project, name: str) -> None:
    with pytest.raises(ProjectError):
        project.add_class(name)


def test_a_class_is_not_merged_into_itself_or_nothing(project: Project) -> None:
    with pytest.raises(ChangeRefused, match="itself"):
        project.merge_classes(CAT, CAT)
    with pytest.raises(NotInProject):
        project.merge_classes(CAT, 99)


def test_listeners_hear_each_change_in_order_until_they_stop(project: Project) -> None:
    heard: list[Change] = []
    stop = project.listen(heard.append)
    project.set_labels({1: CAT})
    project.set_labels({1: CAT})  # nothing changes
    project.undo()
    stop()
    project.redo()
    assert [(each.kind, each.images) for each in heard] == [("label", (1,)), ("undo", (1,))]
    assert heard[1].revision == heard[0].revision + 1


def test_what_was_changed_is_there_after_opening_again(project: Project) -> None:
    project.set_labels({1: CAT})
    project.set_setting("model", "resnet18")
    project.close()
    with Project.open(project.folder) as again:
        assert (again.labels(), again.settings()["model"]) == ({1: CAT}, "resnet18")
        again.undo()
        assert again.labels() == {}


def test_it_can_be_read_while_another_writes(project: Project) -> None:
    with Project.open(project.folder, read_only=True) as reader:
        project.set_labels({1: CAT})
        assert reader.labels() == {1: CAT}
        with pytest.raises(ProjectError, match="for reading"):
            reader.undo()


def test_a_full_disk_loses_nothing(project: Project) -> None:
    """SQLite's own limit on the size of the file raises what a full disk does."""
    project.set_labels({1: CAT})
    before = project.revision
    connection = project._database._writer
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    acknowledged: list[int] = []
    with pytest.raises(OutputError, match=r"the disk is full.*everything before it is kept"):
        acknowledged.extend(project.add_class(f"class {number} {'x' * 150}").revision for number in range(1000))
    kept = project.revision
    assert kept == max([before, *acknowledged])
    connection.execute("PRAGMA max_page_count = 1000000")
    project.set_labels({2: DOG})
    assert project.labels() == {1: CAT, 2: DOG}
    assert project.revision == kept + 1


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"no project.*project\.sqlite"):
        Project.open(tmp_path)


def test_a_damaged_file_is_named(project: Project) -> None:
    project.close()
    path = project.folder / "project.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ProjectError, match=r"project\.sqlite is damaged"):
        Project.open(project.folder)


def test_another_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "project.sqlite") as other:
        other.execute("CREATE TABLE things(x)")
    other.close()
    with pytest.raises(ProjectError, match="not a project"):
        Project.open(tmp_path, create=True)


def test_a_newer_format_is_refused(project: Project) -> None:
    project.set_setting("format", "2")
    project.close()
    with pytest.raises(ProjectError, match="format 2"):
        Project.open(project.folder)


def test_pages_of_images(project: Project, new_image: New) -> None:
    project.set_labels({1: CAT, 2: DOG})

    def ids(**query: object) -> list[int]:
        return [each.id for each in project.images(ImageQuery(**query)).images]  # type: ignore[arg-type]

    assert ids() == [1, 2, 3, 4, 5, 6]
    assert ids(show="unlabeled") == [3, 4, 5]
    assert ids(show="labeled", order="name") == [1, 2]
    assert ids(show="problems") == [6]
    assert ids(class_id=DOG) == [2]
    assert ids(offset=4, limit=1) == [5]
    page = project.images(ImageQuery("unlabeled", limit=1))
    assert (page.total, page.revision) == (3, project.revision)
    assert [each.id for each in project.by_id([5, 99, 2])] == [5, 2]
