"""Passes tried on an open graph, and undone."""
