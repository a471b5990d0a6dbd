"""Spelled-out activations and normalizations, as patterns."""
