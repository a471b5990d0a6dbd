"""Operations that coremltools has no value inference for, or one that is not what its documentation says."""

from onnxopt.backends.coreml.evaluator.handlers import (  # noqa: F401
    arranging,
    convolution,
    elementwise,
    indexing,
    normalization,
    pooling,
    quantization,
    recurrent,
    resampling,
    resizing,
)
