"""What a model declares about its inputs and outputs."""

import numpy as np
from onnx import TensorProto, helper, parser

from onnxopt.data import inputs_of, outputs_of
from onnxopt.data.spec import show_shape, spec_of


def test_shapes_keep_symbols_and_tell_unknown_from_scalar():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        g (float[N, 3, ?] x, int64 s, float[] u, bfloat16[2] w) => (float[N, 3, ?] y) { y = Relu(x) }""")
    shapes = {spec.name: spec.shape for spec in inputs_of(model)}
    assert shapes == {"x": ("N", 3, None), "s": (), "u": None, "w": (2,)}
    assert str(outputs_of(model)[0]) == "float32[N, 3, ?]"
    assert show_shape(None) == "[...]"


def test_a_negative_size_means_unknown():
    assert spec_of(helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 3])).shape == (None, 3)


def test_containers_hold_specs():
    tensor = helper.make_tensor_type_proto(TensorProto.INT64, ["N"])
    nested = helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor))
    spec = spec_of(helper.make_value_info("o", nested))
    assert (spec.kind, spec.of.kind, spec.of.of.kind) == ("optional", "sequence", "tensor")
    assert (spec.dtype, spec.shape) == (np.dtype("int64"), ("N",))
    assert str(spec) == "optional(sequence(int64[N]))"
