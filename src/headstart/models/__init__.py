"""Pretrained networks, cut where training starts, and what runs the frozen part."""
