"""The targets, one file or folder each."""
