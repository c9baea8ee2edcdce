"""The stages as functions: check, fit, predict, evaluate, report. Files in, files out.

The command line, :class:`headstart.ImageClassifier` and a server are faces of these, and hold no logic of their own.
"""
