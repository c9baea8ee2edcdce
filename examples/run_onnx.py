"""Classify a photograph with an exported file, without headstart: python run_onnx.py FILE.onnx PHOTO"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["headstart"])
photo = Image.open(sys.argv[2])
photo.draft("RGB", (about["min_side"], about["min_side"]))  # a large JPEG is decoded at a reduced size
pixels = np.array(ImageOps.exif_transpose(photo).convert("RGB"))
(probabilities,) = session.run(["probabilities"], {"images": pixels[None]})[0]
for index in np.argsort(-probabilities)[:5]:
    print(f"{probabilities[index]:.4f} {about['classes'][index]}")
