"""From scikit-learn: estimators and pipelines, by skl2onnx."""
