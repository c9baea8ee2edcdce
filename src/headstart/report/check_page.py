"""What a check found, as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from headstart.data.issues import DESCRIPTIONS, Issue
from headstart.data.manifest import Manifest
from headstart.data.value_range import ValueRange
from headstart.files import write_text
from headstart.report.formatting import path_shortener
from headstart.report.page import template_environment
from headstart.report.thumbnails import Thumbnails

__all__ = ["render_check", "write_check"]

MAX_IMAGES = 240  # on the page, shared among the kinds, so that it stays below 5 MB
MOST = 48  # issues of one kind
RELATED = 3  # images beside an issue


@dataclass(frozen=True)
class _Kind:
    """The issues of one kind."""

    name: str
    title: str
    text: str
    total: int
    shown: tuple[Issue, ...]  # about images, the surest first
    sentences: tuple[str, ...]  # about the whole set


def write_check(
    manifest: Manifest, issues: Sequence[Issue], path: Path, *, root: str, value_ranges: Sequence[ValueRange] = ()
) -> Path:
    """Write the page and return its path.

    :param issues: those of a kind stand together, the surest first.
    :param root: what was checked, for the heading.
    :param value_ranges: black and white of pixels that are not 8-bit.
    """
    write_text(path, render_check(manifest, issues, Thumbnails(value_ranges), root=root))
    return path


def render_check(
    manifest: Manifest, issues: Sequence[Issue], thumbnails: Thumbnails, *, root: str, created: datetime | None = None
) -> str:
    """Render the page.

    :param created: the time of the check; by default now.
    """
    kinds = _kinds(issues)
    shown = [issue for kind in kinds for issue in kind.shown]
    thumbnails.load(uri for issue in shown for uri in (issue.uri, *issue.related[:RELATED]) if uri is not None)
    environment = template_environment("headstart.report")
    environment.filters.update(path=path_shortener(manifest.uris))
    environment.globals.update(thumbnails=thumbnails)
    macros = environment.get_template("macros.jinja").module
    environment.globals.update(image=macros.image)  # type: ignore[attr-defined]
    return environment.get_template("check.html.jinja").render(
        root=root,
        images=len(manifest),
        affected=len({issue.uri for issue in issues if issue.uri is not None}),
        classes=manifest.classes,
        labels=dict(zip(manifest.uris, manifest.labels, strict=True)),
        issues=len(issues),
        kinds=kinds,
        related=RELATED,
        created=(created or datetime.now(timezone.utc)).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _kinds(issues: Sequence[Issue]) -> list[_Kind]:
    groups = {name: list(group) for name, group in groupby(issues, key=lambda issue: issue.kind)}
    of_images = {name: [issue for issue in group if issue.uri is not None] for name, group in groups.items()}
    shown = _shown(of_images)
    found = []
    for name, group in groups.items():
        title, text = DESCRIPTIONS.get(name, (name, ""))
        sentences = tuple(issue.evidence for issue in group if issue.uri is None)
        found.append(_Kind(name, title, text, len(group), tuple(of_images[name][: shown[name]]), sentences))
    return found


def _shown(groups: Mapping[str, Sequence[Issue]]) -> dict[str, int]:
    """How many issues of each kind are shown: each kind gets one more in turn, while there is room for their images."""
    shown, room = dict.fromkeys(groups, 0), MAX_IMAGES
    for number in range(MOST):
        for name, group in groups.items():
            if number < len(group):
                room -= 1 + min(RELATED, len(group[number].related))
                if room < 0:
                    return shown
                shown[name] += 1
    return shown
