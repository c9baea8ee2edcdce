"""Peer: cleanlab on given features, as its tutorials describe it. Runs in an environment of its own.

python cleanlab_labels.py GIVEN.npz LISTED.npy
"""

from __future__ import annotations

import sys

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

given = np.load(sys.argv[1])
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
probabilities = cross_val_predict(model, given["vectors"], given["targets"], cv=5, method="predict_proba")
np.save(sys.argv[2], find_label_issues(given["targets"], probabilities, return_indices_ranked_by="self_confidence"))
