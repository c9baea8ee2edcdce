"""A project with six images of two classes, which are rows without files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstart.data.projects import NewImage, Project

New = Callable[..., NewImage]


def new(number: int, label: str | None = None, problem: str | None = None) -> NewImage:
    """An image as inspection leaves it."""
    name = f"{number:03}.jpg"
    return NewImage(f"/photos/{name}", name, f"{number:032x}", 640, 480, 1000, problem, label)


@pytest.fixture(scope="session")
def new_image() -> New:
    """new_image(3, label="cat"): the image 003.jpg."""
    return new


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Images 1 to 5 can be used, 6 cannot; there are the classes cat (1) and dog (2), and no labels."""
    with Project.open(tmp_path / "project", create=True) as opened:
        opened.add_images([*(new(number) for number in range(1, 6)), new(6, problem="truncated")])
        opened.add_class("cat")
        opened.add_class("dog")
        yield opened
