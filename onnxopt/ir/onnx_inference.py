"""onnx's own shape inference, and what it has to say."""

from __future__ import annotations

import re

from onnx import ModelProto, shape_inference

from onnxopt.errors import BadModel


def run(model: ModelProto, follow: bool) -> tuple[ModelProto, list[str]]:
    """The model with all that onnx infers, and why nothing could be inferred of single nodes.

    Raises:
        BadModel: onnx cannot process the model at all.
    """
    try:
        try:  # strict inference tells of every node that failed, but then gives nothing else
            return shape_inference.infer_shapes(model, data_prop=follow, strict_mode=True), []
        except shape_inference.InferenceError as error:
            inferred = shape_inference.infer_shapes(model, data_prop=follow, strict_mode=False)
            return inferred, _problems(str(error))
    except Exception as error:  # whatever onnx and protobuf throw at an odd model
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadModel(f"onnx's shape inference gave up on the model: {reason}") from error


def _problems(text: str) -> list[str]:
    """The lines of `[ShapeInferenceError] Inference error(s): (op_type:Relu, node name: r): [...] why`."""
    found = []
    for part in re.split(r"\n(?=\(op_type:)", text.partition("Inference error(s): ")[2] or text):
        line = " ".join(part.split())
        if "Cannot parse data from external tensors" in line:  # the skeleton's own doing; the type is inferred still
            continue
        line = re.sub(r"\(op_type:(\w+)(?:, node name: (.*?))?\): ", r"\1 \2: ", line)
        found.append(re.sub(r"\[(Shape|Type)InferenceError\] ", "", line))
    return found
