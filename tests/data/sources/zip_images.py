"""An image source of a third party: images inside a zip archive, ``zip:/photos.zip!/cats/1.jpg``."""

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

from headstart.data.sources import FoundImage, Stamp, register_source


class ZipImages:
    scheme = "zip"

    def list(self, root: str) -> Iterable[FoundImage]:
        with ZipFile(root.removeprefix("zip:")) as archive:
            files = [name for name in archive.namelist() if not name.endswith("/")]
        return [FoundImage(f"{root}!/{name}", label=name.split("/")[0]) for name in sorted(files)]

    def open(self, uri: str) -> bytes:
        path, name = uri.removeprefix("zip:").split("!/", 1)
        with ZipFile(path) as archive:
            return archive.read(name)

    def stamp(self, uri: str) -> Stamp | None:
        return Stamp.of_file(Path(uri.removeprefix("zip:").split("!/", 1)[0]))


register_source(ZipImages())
