"""Operations against onnxruntime, numpy, and what the documentation of MIL has as examples."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

pytest.importorskip("coremltools", reason="the evaluator runs on coremltools")

from onnxopt.backends.coreml.evaluator import NotEvaluable
from tests.backends.coreml.programs import evaluated, mb

RNG = np.random.default_rng(8)
IMAGE = RNG.normal(size=(1, 4, 9, 8)).astype(np.float32)
WEIGHT = RNG.normal(size=(6, 2, 3, 3)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)
PRECISIONS = pytest.mark.parametrize(("precision", "rtol"), [("float32", 1e-5), ("float16", 4e-3)])


def in_onnxruntime(kind, inputs, **attributes):
    """The outputs of one ONNX operator."""
    names = [f"i{index}" for index in range(len(inputs))]
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in zip(names, inputs, strict=True)
    ]
    count = attributes.pop("outputs", 1)
    outputs = [helper.make_tensor_value_info(f"o{index}", TensorProto.FLOAT, None) for index in range(count)]
    node = helper.make_node(kind, names, [info.name for info in outputs], **attributes)
    graph = helper.make_graph([node], "g", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, dict(zip(names, inputs, strict=True)))


def near(found, expected, rtol):
    """Also where numbers cancel out."""
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@PRECISIONS
@pytest.mark.parametrize(
    ("asked", "attributes"),
    [
        ({"pad_type": "valid"}, {}),
        ({"pad_type": "same", "strides": [2, 2]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ({"pad_type": "same_lower", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ({"pad_type": "custom", "pad": [0, 1, 2, 3]}, {"pads": [0, 2, 1, 3]}),
        ({"pad_type": "valid", "dilations": [2, 1]}, {"dilations": [2, 1]}),
    ],
)
def test_conv(tmp_path, precision, rtol, asked, attributes):
    def build(x):
        return mb.conv(x=x, weight=WEIGHT, bias=BIAS, groups=2, **asked)

    (found,) = evaluated(tmp_path, build, {"x": IMAGE}, precision=precision)
    near(found, in_onnxruntime("Conv", [IMAGE, WEIGHT, BIAS], group=2, **attributes)[0], rtol)


def test_conv_of_weights_that_are_computed(tmp_path):
    def build(x, w):
        return mb.conv(x=x, weight=w, groups=2)

    (found,) = evaluated(tmp_path, build, {"x": IMAGE, "w": WEIGHT})
    near(found, in_onnxruntime("Conv", [IMAGE, WEIGHT], group=2)[0], 1e-5)


@PRECISIONS
@pytest.mark.parametrize(
    ("asked", "attributes"),
    [
        ({"pad_type": "valid"}, {}),
        ({"pad_type": "custom", "pad": [1, 0, 2, 1]}, {"pads": [1, 2, 0, 1]}),
        ({"pad_type": "custom", "pad": [1, 1, 1, 1], "output_shape": [1, 6, 18, 16]}, {
            "pads": [1, 1, 1, 1], "output_padding": [1, 1],
        }),
    ],
)  # fmt: skip
def test_conv_transpose(tmp_path, precision, rtol, asked, attributes):
    weight = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)

    def build(x):
        return mb.conv_transpose(x=x, weight=weight, bias=BIAS, groups=2, strides=[2, 2], **asked)

    (found,) = evaluated(tmp_path, build, {"x": IMAGE}, precision=precision)
    expected = in_onnxruntime("ConvTranspose", [IMAGE, weight, BIAS], group=2, strides=[2, 2], **attributes)[0]
    near(found, expected, rtol)


@PRECISIONS
@pytest.mark.parametrize("excludes", [True, False])
@pytest.mark.parametrize(
    ("asked", "attributes"),
    [
        ({"pad_type": "custom", "pad": [1, 0, 0, 1]}, {"pads": [1, 0, 0, 1]}),
        ({"pad_type": "custom", "pad": [1, 1, 1, 1], "ceil_mode": True}, {"pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ],
)
def test_avg_pool(tmp_path, precision, rtol, excludes, asked, attributes):
    def build(x):
        sizes = {"kernel_sizes": [3, 3], "strides": [2, 2]}
        return mb.avg_pool(x=x, exclude_padding_from_average=excludes, **sizes, **asked)

    (found,) = evaluated(tmp_path, build, {"x": IMAGE}, precision=precision)
    pads = attributes["pads"]
    attributes = {**attributes, "pads": [pads[0], pads[2], pads[1], pads[3]]}
    sizes = {"kernel_shape": [3, 3], "strides": [2, 2]}
    expected = in_onnxruntime("AveragePool", [IMAGE], count_include_pad=int(not excludes), **sizes, **attributes)[0]
    near(found, expected, rtol)


@PRECISIONS
def test_max_pool(tmp_path, precision, rtol):
    def build(x):
        return mb.max_pool(x=x, kernel_sizes=[2, 3], strides=[2, 2], pad_type="same")

    (found,) = evaluated(tmp_path, build, {"x": IMAGE}, precision=precision)
    attributes = {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    near(found, in_onnxruntime("MaxPool", [IMAGE], **attributes)[0], rtol)


@PRECISIONS
def test_normalizations(tmp_path, precision, rtol):
    gamma, beta, mean = (RNG.normal(size=4).astype(np.float32) for _ in range(3))
    variance = np.abs(gamma) + 1

    def build(x):
        common = {"x": x, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)}
        return (
            mb.batch_norm(mean=mean, variance=variance, **common),
            mb.instance_norm(**common),
            mb.local_response_norm(x=x, size=3, alpha=np.float32(0.1)),
        )

    found = evaluated(tmp_path, build, {"x": IMAGE}, precision=precision)
    parameters = [gamma, beta, mean, variance]
    near(found[0], in_onnxruntime("BatchNormalization", [IMAGE, *parameters], epsilon=1e-3)[0], rtol)
    near(found[1], in_onnxruntime("InstanceNormalization", [IMAGE, gamma, beta], epsilon=1e-3)[0], rtol)
    near(found[2], in_onnxruntime("LRN", [IMAGE], size=3, alpha=0.1)[0], rtol)


@PRECISIONS
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(tmp_path, precision, rtol, direction):
    steps, batch, size, hidden = 5, 2, 3, 4
    ways = 2 if direction == "bidirectional" else 1
    x = RNG.normal(size=(steps, batch, size)).astype(np.float32)
    w, r = (RNG.normal(size=(ways, 4 * hidden, each)).astype(np.float32) for each in (size, hidden))
    b = RNG.normal(size=(ways, 8 * hidden)).astype(np.float32)
    h, c = (RNG.normal(size=(ways, batch, hidden)).astype(np.float32) for _ in range(2))

    def in_order(array):  # ONNX has input, output, forget, cell; MIL input, forget, output, cell
        i, o, f, z = np.split(array, 4)
        return np.concatenate([i, f, o, z])

    def build(x):
        given = {}
        for way, suffix in zip(range(ways), ("", "_back"), strict=False):
            given["weight_ih" + suffix], given["weight_hh" + suffix] = in_order(w[way]), in_order(r[way])
            given["bias" + suffix] = in_order(b[way, : 4 * hidden] + b[way, 4 * hidden :])
        states = {f"initial_{key}": np.concatenate(list(value), -1) for key, value in (("h", h), ("c", c))}
        return mb.lstm(x=x, direction=direction, output_sequence=True, **states, **given)

    found = evaluated(tmp_path, build, {"x": x}, precision=precision)
    lengths = np.full(batch, steps, np.int32)
    expected = in_onnxruntime("LSTM", [x, w, r, b, lengths, h, c], direction=direction, hidden_size=hidden, outputs=3)
    near(found[0], expected[0].transpose(0, 2, 1, 3).reshape(steps, batch, -1), rtol)
    for one, other in zip(found[1:], expected[1:], strict=True):
        near(one, other.transpose(1, 0, 2).reshape(batch, -1), rtol)


def test_rnn(tmp_path):
    x = RNG.normal(size=(5, 2, 3)).astype(np.float32)
    w, r = (RNG.normal(size=(4, each)).astype(np.float32) for each in (3, 4))
    h = np.zeros((2, 4), np.float32)

    def build(x):
        return mb.rnn(x=x, initial_h=h, weight_ih=w, weight_hh=r, direction="reverse", activation="relu")

    found = evaluated(tmp_path, build, {"x": x})
    attributes = {"direction": "reverse", "hidden_size": 4, "activations": ["Relu"], "outputs": 2}
    expected = in_onnxruntime("RNN", [x, w[None], r[None]], **attributes)
    near(found[1], expected[1][0], 1e-5)
    near(found[0][0], expected[1][0], 1e-5)


@PRECISIONS
def test_gelu_and_silu(tmp_path, precision, rtol):
    x = np.linspace(-6, 6, 48, dtype=np.float32).reshape(1, 48)
    found = evaluated(tmp_path, lambda x: (mb.gelu(x=x), mb.silu(x=x)), {"x": x}, precision=precision)
    near(found[0], 0.5 * x * (1 + in_onnxruntime("Erf", [x / np.float32(np.sqrt(2))])[0]), rtol)
    near(found[1], x * in_onnxruntime("Sigmoid", [x])[0], rtol)


def test_quantize_and_dequantize(tmp_path):
    x = np.float32([[-300, -1.25, -0.75, 0.25, 0.75, 300]])
    scale, zero = np.float32(0.5), np.int8(3)

    def build(x):
        quantized = mb.quantize(input=x, scale=scale, zero_point=zero, output_dtype="int8")
        return mb.dequantize(input=quantized, scale=scale, zero_point=zero)

    (found,) = evaluated(tmp_path, build, {"x": x})
    integers = in_onnxruntime_quantized(x, scale, zero)
    np.testing.assert_array_equal(found, (integers.astype(np.float32) - zero) * scale)


def in_onnxruntime_quantized(x, scale, zero):
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    tensors = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("z", TensorProto.INT8, [], [zero]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT8, x.shape)]
    graph = helper.make_graph([node], "g", infos, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("mode", "wanted", "points"),
    [  # the examples of the documentation, of [0, 1]
        ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]),
        ("STRICT_ALIGN_CORNERS", 6, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ("OFFSET_CORNERS", 6, [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
        ("ALIGN_CORNERS", 1, [0.5]),
    ],
)
def test_sampling_modes(tmp_path, mode, wanted, points):
    def build(x):
        return mb.resize_bilinear(x=x, target_size_height=3, target_size_width=wanted, sampling_mode=mode)

    x = np.float32([[[[0, 1]]]])
    (found,) = evaluated(tmp_path, build, {"x": x})
    np.testing.assert_allclose(found[0, 0, 0], points, atol=1e-6)


def test_nearest_neighbours(tmp_path):
    def build(x):
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=np.float32(2), scale_factor_width=np.float32(1.5))

    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    (found,) = evaluated(tmp_path, build, {"x": x})
    assert found[0, 0].tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3]]


def test_an_index_out_of_bounds_is_no_result(tmp_path):
    def build(x, indices):
        return mb.gather(x=x, indices=indices)

    x = np.float32([1, 2, 3])
    (found,) = evaluated(tmp_path, build, {"x": x, "indices": np.int32([0, -1])}, target="iOS16")
    assert found.tolist() == [1, 3]
    with pytest.raises(NotEvaluable, match=r"indices go from 0 to 3, and there are 3 elements"):
        evaluated(tmp_path, build, {"x": x, "indices": np.int32([0, 3])})


@pytest.mark.parametrize("padding", ["constant", "border", "reflection", "symmetric"])
def test_resample_of_points_inside_and_outside(padding, tmp_path):
    """onnxruntime's GridSample reflects at the middles of the edge where corners are aligned, else beyond the edge."""
    grid = (RNG.random((1, 5, 3, 2)) * 4 - 2).astype(np.float32)
    aligned = padding != "symmetric"

    def build(x, points):
        return mb.resample(
            x=x, coordinates=points, sampling_mode="bilinear", padding_mode=padding, padding_value=np.float32(0),
            coordinates_mode="normalized_minus_one_to_one", align_corners=aligned,
        )  # fmt: skip

    (found,) = evaluated(tmp_path, build, {"x": IMAGE, "points": grid})
    named = {"constant": "zeros", "symmetric": "reflection"}.get(padding, padding)
    (wanted,) = in_onnxruntime("GridSample", [IMAGE, grid], padding_mode=named, align_corners=int(aligned))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_nearest_neighbour_of_which_halves_are_not_documented(tmp_path):
    def build(x, points):
        return mb.resample(
            x=x, coordinates=points, sampling_mode="nearest", padding_mode="border", padding_value=np.float32(0),
            coordinates_mode="unnormalized", align_corners=True,
        )  # fmt: skip

    with pytest.raises(NotEvaluable, match="sampling_mode is 'nearest', of which halves are not documented"):
        evaluated(tmp_path, build, {"x": IMAGE, "points": np.zeros((1, 1, 1, 2), np.float32)})
