"""Weights that were left over, fitted to what the original model's layers give out on calibration data."""
