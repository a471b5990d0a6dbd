"""What TensorRT's parser or builder refuses, and how it is said otherwise."""
