"""Nodes that change nothing: one file a kind."""
