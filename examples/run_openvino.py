"""Classify a photograph with an exported file, without headstart: python run_openvino.py FILE.xml PHOTO"""

import json
import sys

import numpy as np
import openvino
from PIL import Image, ImageOps

model = openvino.Core().read_model(sys.argv[1])  # FILE.bin must be beside it
about = json.loads(model.get_rt_info(["headstart"]).astype(str))
run = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})  # no bfloat16
photo = Image.open(sys.argv[2])
photo.draft("RGB", (about["min_side"], about["min_side"]))  # a large JPEG is decoded at a reduced size
pixels = np.array(ImageOps.exif_transpose(photo).convert("RGB"))
(probabilities,) = run({"images": pixels[None]})["probabilities"]
for index in np.argsort(-probabilities)[:5]:
    print(f"{probabilities[index]:.4f} {about['classes'][index]}")
