"""Reducing a model and a pipeline to the smallest that still fail the same way."""
