"""One layer as two smaller ones: low rank found on what the layer sees on calibration data."""
