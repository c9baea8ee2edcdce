"""Classify a photograph with an exported file, without headstart: python run_torch.py FILE.pt2 PHOTO"""

import json
import sys

import numpy as np
import torch
from PIL import Image, ImageOps

files = {"headstart.json": ""}
run = torch.export.load(sys.argv[1], extra_files=files).module()
about = json.loads(files["headstart.json"])
photo = Image.open(sys.argv[2])
photo.draft("RGB", (about["min_side"], about["min_side"]))  # a large JPEG is decoded at a reduced size
pixels = torch.from_numpy(np.array(ImageOps.exif_transpose(photo).convert("RGB")))
with torch.no_grad():
    probabilities = run(pixels[None])[0][0]
for index in probabilities.argsort(descending=True)[:5]:
    print(f"{probabilities[index]:.4f} {about['classes'][index]}")
