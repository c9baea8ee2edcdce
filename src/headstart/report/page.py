"""From a run folder to one HTML page that needs nothing else: no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from headstart.artifacts.run_folder import CARD, is_own_card, read_run
from headstart.files import replace_together, write_text
from headstart.report.collect import ReportData, collect
from headstart.report.formatting import path_shortener, percent, plain, wrappable
from headstart.report.model_card import model_card
from headstart.report.sections import registered_sections
from headstart.report.sections.header import Header

__all__ = ["page_script", "render", "script_hash", "template_environment", "write_report"]


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder, with the model card if it has a classifier, and return its path.

    A model card that its user has changed stays. A link of one of these names is replaced, since a run that someone
    else has made must not choose where files are written.

    :raises RunError: a file of the run is missing or damaged; the message names it.
    """
    data = collect(read_run(run))
    text, card = render(data), model_card(data.run)
    with replace_together(run) as new:
        write_text(new / "report.html", text)
        if card is not None and is_own_card(run / CARD):
            write_text(new / CARD, card)
    return run / "report.html"


def render(data: ReportData) -> str:
    """Render the page; the same data gives the same text."""
    environment = _environment(data)
    header, sections = Header(), registered_sections()
    contents = [(section, section.compute(data)) for section in sections]
    return environment.get_template("page.html.jinja").render(
        script=Markup(page_script()),
        script_hash=script_hash(),
        header=_fill(environment, header.template, header.compute(data)),
        sections=[
            (section, _fill(environment, section.template, context))
            for section, context in contents
            if context is not None
        ],
    )


@lru_cache
def page_script() -> str:
    """The script of the page: sorting, filtering and copying, for what has the attributes that it looks for."""
    return files("headstart.report").joinpath("report.js").read_text(encoding="utf-8")


def script_hash() -> str:
    """The source ``sha256-…`` that allows the script, and no other one, in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(page_script().encode()).digest()).decode()}"


def template_environment(package: str) -> Environment:
    """What fills in the templates of a package, with the filters that all pages have: percent, count and name."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, count="{:,}".format, name=wrappable)
    return environment


def _environment(data: ReportData) -> Environment:
    environment = template_environment("headstart.report")
    environment.filters.update(plain=plain, path=path_shortener(data.run.manifest.uris))
    environment.globals.update(run=data.run, evaluation=data.evaluation, thumbnails=data.thumbnails)
    macros = environment.get_template("macros.jinja").module
    environment.globals.update(image=macros.image, gauge=macros.gauge)  # type: ignore[attr-defined]
    return environment


def _fill(environment: Environment, template: str, context: Mapping[str, Any]) -> Markup:
    return Markup(environment.from_string(template).render(context))  # the environment escapes
