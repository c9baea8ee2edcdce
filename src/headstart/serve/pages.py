"""The pages as HTML, rendered from templates beside this file; they work without the script."""

from __future__ import annotations

from importlib.resources import files

from headstart.report.page import template_environment
from headstart.serve.schemas import Info, PredictResponse

__all__ = ["Pages"]


class Pages:
    """The page of a classifier."""

    def __init__(self, info: Info) -> None:
        self.info = info
        environment = template_environment("headstart.serve")
        environment.globals.update(info=info)
        self._index = environment.get_template("page.html.jinja")

    def index(self, answer: PredictResponse | None = None, problem: str | None = None) -> str:
        """The page, with predictions or the reason why there are none."""
        return self._index.render(answer=answer, problem=problem)

    @staticmethod
    def static(name: str) -> bytes:
        """A style sheet or the script; the first style sheet is that of the report, so that both look alike."""
        package = "headstart.report" if name == "report.css" else "headstart.serve"
        return files(package).joinpath(name).read_bytes()
