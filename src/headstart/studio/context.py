"""What the routes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config import FitSettings, StudioSettings
from headstart.data.projects import Change, Project
from headstart.data.projects.outputs import run_folder
from headstart.studio.classifiers import Classifiers
from headstart.studio.events import EventHub
from headstart.studio.imports import FolderImports
from headstart.studio.learning import Learning
from headstart.studio.thumbnails import Thumbnails
from headstart.workflow.value_ranges import given_ranges

if TYPE_CHECKING:
    from headstart.serve.service import Service

__all__ = ["Studio"]

_TOLD = 1000  # ids of images in an event; of larger changes a page asks for what it shows


@dataclass
class Studio:
    """A project that is open in the browser. Close it before the project.

    :param folders: those of this machine that a request may name, and whatever is below them.
    """

    project: Project
    settings: StudioSettings
    folders: Sequence[Path] = ()
    fit: FitSettings = field(default_factory=FitSettings)  # the network, and what fits do
    hub: EventHub = field(init=False)
    thumbnails: Thumbnails = field(init=False)
    imports: FolderImports = field(init=False)
    learning: Learning = field(init=False)
    classifiers: Classifiers = field(init=False)

    def __post_init__(self) -> None:
        project, settings = self.project, self.settings
        self.hub = EventHub(project.revision)
        self.thumbnails = Thumbnails(
            project.folder / "thumbnails", max_pixels=settings.max_pixels, value_ranges=given_ranges(self.fit)
        )
        self.imports = FolderImports(project, self.hub.publish, allowed=self.folders, max_pixels=settings.max_pixels)
        self.learning = Learning(project, self.fit, self.hub.publish)
        self.classifiers = Classifiers(settings)
        self._end = project.listen(self._tell)

    def close(self) -> None:
        """Stop what runs in the background."""
        self._end()
        self.hub.close()
        self.imports.close()
        self.learning.close()
        self.classifiers.close()

    def service_of(self, run: str) -> Service:
        """The classifier of a run of the project, ready to predict.

        :raises RunError: there is no such run.
        """
        return self.classifiers.service(run_folder(self.project.folder, run))

    def _tell(self, change: Change) -> None:
        told = asdict(change)
        told["images"] = list(change.images) if len(change.images) <= _TOLD else None
        self.hub.publish("change", told)
