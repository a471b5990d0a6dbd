"""Scaling of channels between layers that leaves what a float graph computes as it is, and quantizes better."""
