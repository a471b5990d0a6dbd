"""Passes, the text and objects of a pipeline, the manager that runs it, and the instruments that watch."""
