"""Inference: engines that run frozen networks, and the pipeline from images to results."""
