"""Masks, and what is made of them: pruned weights, removed channels, accuracy that comes back."""
