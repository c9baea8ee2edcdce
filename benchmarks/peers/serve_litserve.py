"""LitServe with torch: images are decoded in the worker and run in batches, as its documentation advises.

python benchmarks/peers/serve_litserve.py PORT

Images arrive as base64 in JSON: files of a form cannot be passed on to its worker process.
"""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import litserve as ls
import torch
from lite0 import create_model
from PIL import Image
from timm.data import create_transform, resolve_model_data_config


class Lite0(ls.LitAPI):
    """Called by LitServe, in this order, for each batch."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.model = create_model().to(device)
        self.transform = create_transform(**resolve_model_data_config(self.model), is_training=False)

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """Decode one image."""
        content = base64.b64decode(request["image"])
        return self.transform(Image.open(io.BytesIO(content)).convert("RGB"))  # type: ignore[no-any-return]

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Join the images of a batch."""
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run the network."""
        with torch.inference_mode():
            return list(self.model(x).softmax(1))

    def unbatch(self, output: list[torch.Tensor]) -> list[torch.Tensor]:
        """Take the batch apart."""
        return output

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        """The five most probable classes."""
        return {str(index): float(value) for value, index in zip(*output.topk(5), strict=True)}


if __name__ == "__main__":
    # The most that arrive at once from 32 clients; the wait is the 10 ms of the documentation's examples.
    api = Lite0(max_batch_size=32, batch_timeout=0.01)
    server = ls.LitServer(api, accelerator="cpu", devices=1, healthcheck_path="/readyz", timeout=60)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="warning", generate_client_file=False)
