"""A classifier as one file for another runtime, which takes images and returns calibrated probabilities."""
