"""How to use a classifier, as code to copy: for the report of its run, and for its model card. No torch."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from headstart.artifacts.run_folder import Run

__all__ = ["Snippet", "name_for_user", "run_snippets", "usage_snippets"]

PHOTO = "photo.jpg"
"""The image that the snippets classify; whoever copies them puts their own here."""
_TOP = 3  # classes to print


@dataclass(frozen=True)
class Snippet:
    """Code to copy, with a title. The language is named as highlighters know it."""

    title: str
    language: str  # "bash" or "python"
    code: str  # lines, without one at the end


def usage_snippets(classifier: str, *, coverage: float | None = None) -> tuple[Snippet, ...]:
    """How to use a classifier: on the command line, in Python, and by its HTTP API.

    :param classifier: a run folder as the user would write it, or ``hf:OWNER/NAME``.
    :param coverage: of its prediction sets; None: it has none.

    >>> command_line, python, http = usage_snippets("runs/dogs", coverage=0.9)
    >>> print(command_line.code)
    headstart predict runs/dogs photo.jpg --top 3
    >>> print(python.code)
    import headstart as hs
    <BLANKLINE>
    classifier = hs.load("runs/dogs")
    for name, probability in classifier.top_k("photo.jpg", 3):
        print(f"{probability:.1%} {name}")
    print("90% prediction set:", *classifier.predict_sets("photo.jpg")[0], sep="\\n")
    >>> print(http.code)
    # needs pip install "headstart[serve]"
    headstart serve runs/dogs
    # in another terminal
    curl --form images=@photo.jpg "http://127.0.0.1:8000/predict?top=3"
    """
    # No option, no variable and no second word, whatever the folder is named.
    word = shlex.quote(f"./{classifier}" if classifier.startswith("-") else classifier)
    python = [
        "import headstart as hs",
        "",
        f"classifier = hs.load({json.dumps(classifier, ensure_ascii=False)})",
        f'for name, probability in classifier.top_k("{PHOTO}", {_TOP}):',
        '    print(f"{probability:.1%} {name}")',
    ]
    if coverage is not None:
        text = json.dumps(f"{100 * coverage:.3g}% prediction set:")
        python.append(f'print({text}, *classifier.predict_sets("{PHOTO}")[0], sep="\\n")')
    http = [
        '# needs pip install "headstart[serve]"',
        f"headstart serve {word}",
        "# in another terminal",
        f'curl --form images=@{PHOTO} "http://127.0.0.1:8000/predict?top={_TOP}"',
    ]
    return (
        Snippet("Command line", "bash", f"headstart predict {word} {PHOTO} --top {_TOP}"),
        Snippet("Python", "python", "\n".join(python)),
        Snippet("HTTP API", "bash", "\n".join(http)),
    )


def run_snippets(run: Run) -> tuple[Snippet, ...]:
    """How to use the classifier of a run; nothing for an evaluation, which has no classifier of its own."""
    if run.info.command != "fit":
        return ()
    sets = run.evaluation.prediction_sets
    return usage_snippets(name_for_user(run.folder), coverage=None if sets is None else sets.coverage)


def name_for_user(folder: Path) -> str:
    """A run folder as its user would write it: from the current folder where it is below, else its name alone.

    So that a page which is handed over does not tell where its maker keeps files.

    >>> name_for_user(Path("runs/dogs").absolute()), name_for_user(Path("/somewhere/else/dogs"))
    ('runs/dogs', 'dogs')
    """
    below = Path(os.path.relpath(folder.resolve(), Path.cwd().resolve()))
    found = below if below.parts and ".." not in below.parts else Path(folder.resolve().name)
    return found.as_posix().encode(errors="backslashreplace").decode()  # a name need not be UTF-8, a page is
