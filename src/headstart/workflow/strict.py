"""``--strict``: no training on images and labels of which something had to be said."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.errors import DataError
from headstart.events import Event, Warned
from headstart.workflow.dataset import Dataset

__all__ = ["DataWarnings"]

_SHOWN = 20


@dataclass
class DataWarnings:
    """A listener that keeps the warnings until training begins.

    >>> heard = DataWarnings()
    >>> heard(Warned("2 images have no label and are left out"))
    >>> heard.texts
    ['2 images have no label and are left out']
    """

    texts: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Keep the text of a warning."""
        if isinstance(event, Warned):
            self.texts.append(event.text)

    def stop(self, dataset: Dataset) -> None:
        """Stop if anything was warned of, or an image cannot be used.

        :raises DataError: lists what it is.
        """
        unusable = dataset.manifest.unusable
        problems = zip(unusable.uris, unusable.problems, strict=True)
        found = [*self.texts, *(f"{uri}: {problem}" for uri, problem in problems)]
        if not found:
            return
        more = f"\n  and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        listed = "".join(f"\n  {text}" for text in found[:_SHOWN])
        raise DataError(
            f"nothing was trained, since --strict allows no fault of the data, and there are {len(found):,}:{listed}"
            f"{more}\nheadstart check PHOTOS shows them; --corrections FILE leaves images out or changes labels"
        )
