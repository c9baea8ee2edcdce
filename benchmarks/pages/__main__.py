"""Write the generated part of each page, and the plots, from the figures in results/.

    python -m benchmarks.pages            # after each measurement
    python -m benchmarks.pages --check    # exit status 1 where a page does not match the results

Text outside of the marks is written by hand.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.harness import HERE, ROOT, Figures, read_json, result_path
from benchmarks.pages import accuracy, headlines, scale, speed, training
from benchmarks.pages.markdown import Section

BEGIN = "<!-- results: written by `python -m benchmarks.pages` from results/ -->\n"
END = "<!-- end -->\n"
PAGES: dict[str, dict[str, Section]] = {  # folder -> sections, by the name of their result
    "speed": {**speed.SECTIONS, **training.SECTIONS},
    "accuracy": accuracy.SECTIONS,
    "scale": scale.SECTIONS,
}


def read_results() -> dict[str, Figures]:
    """All results, by folder and name, for example "speed/predict"."""
    names = [f"{folder}/{name}" for folder, sections in PAGES.items() for name in sections]
    return {name: read_json(result_path(name)) for name in names if result_path(name).exists()}


def generated_lines(results: dict[str, Figures]) -> dict[str, list[str]]:
    """The generated part of each page, by its path below benchmarks/."""
    pages = {"README.md": headlines.lines(results)}
    for folder, sections in PAGES.items():
        pages[f"{folder}/README.md"] = [
            line
            for name, section in sections.items()
            if f"{folder}/{name}" in results
            for line in section.text(results[f"{folder}/{name}"])
        ]
    return pages


def insert(page: str, lines: list[str]) -> str:
    """The page with these lines between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, *lines]).rstrip() + "\n\n" + END + after


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    results = read_results()
    outdated = []
    for name, lines in generated_lines(results).items():
        path = HERE / name
        page = path.read_text(encoding="utf-8")
        if insert(page, lines) != page:
            outdated.append(path.relative_to(ROOT))
            if not given.check:
                path.write_text(insert(page, lines), encoding="utf-8")
    if given.check:
        for path in outdated:
            sys.stderr.write(f"{path} does not match the results: run python -m benchmarks.pages\n")
        return 1 if outdated else 0
    plots = HERE / "plots"
    plots.mkdir(exist_ok=True)
    for folder, sections in PAGES.items():
        for name, section in sections.items():
            if section.draw is not None and f"{folder}/{name}" in results:
                section.draw(results[f"{folder}/{name}"], plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
