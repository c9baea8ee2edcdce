"""A page that runs the network in the visitor's browser, with ONNX Runtime Web: one file that loads nothing."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from headstart.artifacts.classifier import Classifier
from headstart.errors import RunError
from headstart.export.base import OpenedExport
from headstart.export.metadata import ExportMetadata, metadata_to_text
from headstart.export.network import ExportNetwork
from headstart.export.onnx_file import READING, WRITING, onnx_bytes, open_onnx
from headstart.export.web_runtime import VERSION, load_web_runtime
from headstart.extras import require_extra

__all__ = ["HtmlFormat"]

_HERE = Path(__file__).parent
_BEGIN = 4096  # bytes, in which the page names its generator
_MODEL = re.compile(rb'<script id="model" type="text/plain">([A-Za-z0-9+/=]*)</script>')


@dataclass(frozen=True)
class HtmlFormat:
    """One ``.html`` file with network, runtime and metadata inside.

    Its network is run here by ONNX Runtime itself, of which the browser has the same code as WebAssembly.

    :param runtime: see :func:`headstart.export.web_runtime.load_web_runtime`.
    """

    runtime: Path | None = None
    name = "html"
    suffix = ".html"

    def check(self) -> None:
        """Check that the packages are installed, and that the runtime is there."""
        require_extra("onnx", WRITING, what="--to html")
        load_web_runtime(self.runtime)

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        """Write the page."""
        runtime = load_web_runtime(self.runtime)
        network = ExportNetwork(classifier)
        model = onnx_bytes(network)
        text = _page(network.metadata, path.stem, code=runtime.code, wasm=runtime.wasm, model=model)
        path.write_text(text, encoding="utf-8")
        return [path]

    def recognizes(self, path: Path) -> bool:
        """Whether the page names headstart as its generator."""
        with path.open("rb") as file:
            return (
                re.search(rb'<meta name="generator" content="headstart [^"]* export">', file.read(_BEGIN)) is not None
            )

    def open(self, path: Path) -> OpenedExport:
        """Open the network of the page in ONNX Runtime."""
        require_extra("onnx", READING, what=str(path))
        found = _MODEL.search(path.read_bytes())
        try:
            if found is None:
                raise ValueError("it has no network")
            content = gzip.decompress(base64.b64decode(found[1]))
        except (ValueError, OSError, EOFError, zlib.error) as failure:
            raise RunError(f"{path}: damaged: {failure}. Export the classifier again.") from failure
        return open_onnx(content, str(path))


def _page(metadata: ExportMetadata, title: str, *, code: bytes, wasm: bytes, model: bytes) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    # A name with "</script>" must not end the part of the page that it is in.
    values = json.dumps(json.loads(metadata_to_text(metadata))).replace("<", "\\u003c")
    return environment.get_template("page.html.jinja").render(
        title=title,
        metadata=metadata,
        metadata_json=values,
        runtime=VERSION,
        runtime_code=_packed(code),
        wasm=_packed(wasm),
        model=_packed(model),
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
    )


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
