"""Run folders to report on, and a parser of pages."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from headstart.evaluate.schema import read_evaluation, read_run_info, write_evaluation, write_run_info

VOID = {"meta", "img", "wbr", "br", "path", "rect", "use", "input"}


class Page(HTMLParser):
    """Elements with their attributes, and the text outside of style sheets; fails if elements are not nested."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.text += " " if tag in {"td", "th", "li", "p", "dt", "dd", "small"} else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def parse():
    """parse(source): the page, whose elements and text can be looked at."""
    return Page


@pytest.fixture
def change():
    """A function that replaces fields of the evaluation of a run."""

    def change(run, **values):
        path = run / "evaluation.json"
        write_evaluation(path, replace(read_evaluation(path), **values))

    return change


@pytest.fixture
def change_info():
    """A function that replaces fields of the settings.json of a run."""

    def change(run, **values):
        path = run / "settings.json"
        write_run_info(path, replace(read_run_info(path), **values))

    return change
