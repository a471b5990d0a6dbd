"""Ensembles of decision trees (ai.onnx.ml), read, simplified and written."""
