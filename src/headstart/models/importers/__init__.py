"""Importers of networks from other frameworks: Keras and TF Hub files, ONNX and SavedModels."""
