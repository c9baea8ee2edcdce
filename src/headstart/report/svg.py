"""Matplotlib figures as inline SVG that takes its colors and fonts from the page.

Neither pyplot nor rcParams are used, so that figures can be drawn in any thread.
"""

from __future__ import annotations

import html
import io
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAD",
    "GOOD",
    "INK",
    "LINE",
    "MUTED",
    "PAPER",
    "name_mark",
    "name_width",
    "new_axes",
    "new_figure",
    "shortened",
    "to_svg",
]

# Unique colors: each becomes a variable of the style sheet of the page, so that figures follow dark mode.
INK, MUTED, LINE, PAPER, GOOD, BAD = "#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006"
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", GOOD: "good", BAD: "bad"}

FONT_SIZE = 12  # pixels


def new_figure(width: float, height: float) -> Figure:
    """Return an empty transparent figure; sizes in CSS pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none", edgecolor="none")
    figure.set_layout_engine("none")
    return figure


def new_axes(figure: Figure, box: tuple[float, float, float, float], *, grid: str = "y") -> Axes:
    """Add axes without a frame in a box ``(left, top, width, height)`` of CSS pixels."""
    left, top, width, height = box
    wide, high = figure.get_size_inches() * 72
    axes = figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high), facecolor="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=MUTED, pad=6)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid, color=LINE, linewidth=1)  # type: ignore[arg-type]
    return axes


def name_mark(number: int) -> str:
    """Return the placeholder of a class name while a figure is drawn: matplotlib has no fonts for some scripts."""
    return f"@{number}@"


def name_width(name: str, *, size: float = FONT_SIZE) -> float:
    """Estimate the width of a name in pixels; wide characters count twice.

    >>> round(name_width("개"), 1) == round(name_width("ab"), 1)
    True
    """
    return 0.58 * size * _columns(name)


def shortened(name: str, *, most: int) -> str:
    """Cut a name to ``most`` columns; a wide character takes two.

    >>> shortened("greater_swiss_mountain_dog", most=12), shortened("유리병", most=5)
    ('greater_swi…', '유리…')
    """
    if _columns(name) <= most:
        return name
    while _columns(name) >= most:
        name = name[:-1]
    return name + "…"


def _columns(name: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in name)


def to_svg(figure: Figure, *, key: str, title: str, names: Sequence[str] = ()) -> str:
    """Return a figure as an ``<svg>`` element without prolog and links, with ids that start with ``key``.

    :param key: unique on the page.
    :param title: for screen readers.
    :param names: each ``name_mark(i)`` becomes ``names[i]``.
    """
    text = _draw(figure)
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", text, flags=re.DOTALL
    )
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: (?:\w+ )*([\d.]+px)[^;\"]*", r"font-size: \1", text)  # matplotlib 3.9
    text = re.sub(r"font-family: [^;\"]*(; *)?", "", text)
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", text).replace("xlink:href", "href")
    text = re.sub(r"\s+", " ", text)
    for number, old in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', text))):
        text = text.replace(f'"{old}"', f'"{key}-{number}"').replace(f"#{old}", f"#{key}-{number}")
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r"@(\d+)@", lambda found: html.escape(names[int(found[1])]), text)
    wide, high = figure.get_size_inches() * 72
    head = f'<svg class="chart" viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}" role="img">'
    return re.sub(r"<svg[^>]*>", lambda _: f"{head}<title>{html.escape(title)}</title>", text, count=1)


def _draw(figure: Figure) -> str:
    from matplotlib.backends.backend_svg import RendererSVG

    class Renderer(RendererSVG):
        """Writes text as text, independent of the global setting ``svg.fonttype``."""

        def draw_text(self, gc: Any, x: float, y: float, s: str, *rest: Any, **more: Any) -> None:
            self._draw_text_as_text(gc, x, y, s, *rest, **{"ismath": False, "mtext": None, **more})  # type: ignore[no-untyped-call]

    buffer = io.StringIO()
    wide, high = figure.get_size_inches() * 72
    renderer = Renderer(wide, high, buffer)  # type: ignore[no-untyped-call]
    figure.draw(renderer)
    renderer.finalize()  # type: ignore[no-untyped-call]
    return buffer.getvalue()
