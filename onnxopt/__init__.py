"""onnxopt: a compiler for trained models."""
