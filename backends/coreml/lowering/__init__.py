"""What lowers an ONNX tensor graph to MIL: one file per family of operators in `families`."""
