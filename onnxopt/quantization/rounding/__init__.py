"""Rounding of weights layer by layer, against what the float layers give out on calibration data."""
