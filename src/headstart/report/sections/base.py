"""The seam of the page: what a section is, and the registry of all sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from headstart.report.collect import ReportData

__all__ = ["Section", "register_section", "registered_sections"]


class Section(Protocol):
    """One section of the page: data, figures and template in one class.

    The template is Jinja, rendered with what :meth:`compute` returns. Besides that, it may use

    - ``run`` and ``evaluation``: :class:`~headstart.artifacts.run_folder.Run` and its evaluation,
    - ``image(uri, alt)``: a thumbnail, and ``gauge(interval)``: an interval as a bar from 0 to 1,
    - the filters ``percent``, ``count`` (``1,234``), ``plain`` (a setting), ``name`` (of a class) and ``path`` (of an
      image).

    The page loads nothing, and runs no script but its own: figures are inline SVG, for example from
    :func:`headstart.report.svg.to_svg`. A ``<table class="sortable">`` can be sorted by its columns: as numbers if its
    cells have a ``data-value``, else as text.
    """

    name: str  # unique; the id of the heading
    title: str
    template: str

    def compute(self, data: ReportData) -> Mapping[str, Any] | None:
        """Return the variables of the template, or None if the run has nothing to show here."""


_SECTIONS: list[Section] = []


def register_section(section: Section, *, before: str | None = None, after: str | None = None) -> None:
    """Add a section to the page: at the end, or before or after another one.

    A section with the name of another replaces it, in its place unless ``before`` or ``after`` is given.

    :raises ValueError: both ``before`` and ``after`` are given, or there is no section of that name.
    """
    if before is not None and after is not None:
        raise ValueError("give before or after, not both")
    anchor = before if before is not None else after
    names = [each.name for each in _SECTIONS]
    if anchor is not None and (anchor not in names or anchor == section.name):
        raise ValueError(f"no other section is named {anchor!r}; there are {', '.join(names)}")
    if anchor is None:
        position = names.index(section.name) if section.name in names else len(names)
        _SECTIONS[position : position + 1] = [section]
        return
    others = [each for each in _SECTIONS if each.name != section.name]
    position = [each.name for each in others].index(anchor) + (after is not None)
    _SECTIONS[:] = [*others[:position], section, *others[position:]]


def registered_sections() -> tuple[Section, ...]:
    """Return all sections in the order of the page."""
    return tuple(_SECTIONS)
