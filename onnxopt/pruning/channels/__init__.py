"""Channels, neurons and attention heads that go together, and what is left of a model without some of them."""
