"""The site builds without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import headstart

ROOT = Path(__file__).parent.parent.parent


class Page(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, and the targets of links, images, styles and scripts."""
        for name, value in attrs:
            if value and name == "id":
                self.places.add(value)
            elif value and (name == "src" or (name == "href" and tag in ("a", "link"))):
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    words = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-d", out / "trees", ROOT / "docs", out]
    built = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


def test_internal_links_lead_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 20
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place, fragment = urldefrag(link)
            target = path if not place else (path.parent / unquote(urlsplit(place).path)).resolve()
            if not target.exists() or (fragment and target in pages and fragment not in pages[target].places):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """The pages work offline: styles, scripts and images are part of the site."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text, path
        assert 'rel="stylesheet" href="http' not in text, path


def test_the_api_page_has_every_public_name(site: Path) -> None:
    places = Page(site / "api.html").places
    entries = {
        name: (f"headstart.{name}", f"{getattr(headstart, name).__module__}.{name}") for name in headstart.__all__
    }
    assert [name for name, names in entries.items() if places.isdisjoint(names)] == []
