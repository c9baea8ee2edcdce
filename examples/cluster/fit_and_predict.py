"""Fit a classifier to the images of a folder and predict others, with the workers of a Ray cluster.

    python fit_and_predict.py PHOTOS NEW --out RUN [--cluster local:2]
    ray job submit --address http://HEAD:8265 --working-dir . -- python fit_and_predict.py PHOTOS NEW --out RUN

PHOTOS are labeled images, NEW are those to predict: folders, or addresses such as s3://bucket/photos. All machines must
see both, and the features (in HEADSTART_CACHE, or where --feature-store says), under the same paths or addresses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import headstart as hs
from headstart.execution.cluster import parse_cluster
from headstart.workflow.predict import predict_in_parts
from headstart.workflow.prediction_table import PredictionTable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("photos")
    parser.add_argument("new")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cluster", default="auto", help="as of headstart fit; default: the one that this job runs on")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", help="a file, or random; default: the pretrained weights of the network")
    parser.add_argument("--feature-store", help="a folder, or an address such as s3://bucket/features")
    given = parser.parse_args()
    with parse_cluster(given.cluster).connected():  # once for all that follows
        places = {"cluster": given.cluster, "feature_store": given.feature_store}
        fitted = hs.ImageClassifier(given.model, weights=given.weights, train="head", **places)
        fitted.fit(hs.read_images(given.photos))
        print(f"accuracy {fitted.evaluation_.top1}, report: {fitted.save(given.out) / 'report.html'}")
        images = hs.read_images(given.new, labels=False)
        with PredictionTable(k=5) as table:
            for part in predict_in_parts(fitted.classifier_, images, cluster=given.cluster):
                table.add(part)
            table.write(given.out / "predictions.csv")
        print(f"{table.images:,} images: {given.out / 'predictions.csv'}")


if __name__ == "__main__":
    main()
