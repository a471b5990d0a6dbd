"""What the layers of a model see on data: tensors streamed batch by batch, and their second moments."""
