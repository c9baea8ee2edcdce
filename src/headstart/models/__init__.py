"""Pretrained backbones: the catalog, weights, importers for other frameworks, and the cut into prefix and tail."""
