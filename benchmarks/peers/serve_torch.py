"""The server that one writes by hand: FastAPI, Pillow and torch in 40 lines, with no batches and no limits.

python benchmarks/peers/serve_torch.py PORT
"""

from __future__ import annotations

import io
import sys

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from lite0 import create_model
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

app = FastAPI()
model = create_model()
transform = create_transform(**resolve_model_data_config(model), is_training=False)


@app.post("/predict")
def predict(images: list[UploadFile]) -> list[dict[str, float]]:
    answers = []
    for upload in images:
        x = transform(Image.open(io.BytesIO(upload.file.read())).convert("RGB"))[None]
        with torch.inference_mode():
            best = model(x).softmax(1)[0].topk(5)
        answers.append({str(index): float(value) for value, index in zip(*best, strict=True)})
    return answers


@app.get("/readyz")
def readyz() -> dict[str, str]:
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
