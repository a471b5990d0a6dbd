"""Layers that compute y = W x + b (Conv, ConvTranspose, Gemm, MatMul), and the algebra that merges what is linear."""
