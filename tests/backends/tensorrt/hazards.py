"""Models that TensorRT's parser and builder take without a word, and compute otherwise than they say, or in float."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

X, W = "float[1, 16, 8, 8] x", np.random.default_rng(0).integers(-99, 99, (8, 16, 3, 3)).astype(np.int8)
XD = "xq = QuantizeLinear (x, s, z) xd = DequantizeLinear (xq, s, z)"
WD = "wd = DequantizeLinear <axis = 0> (w, ws, wz)"
CONV = f"{XD} {WD} y = Conv (xd, wd)"
"""As it should be."""
SCALES = {"s": np.float32(0.03), "z": np.int8(0), "ws": np.full(8, 0.01, np.float32), "wz": np.zeros(8, np.int8)}
SIXTEEN = {"s": np.full(16, 0.03, np.float32), "z": np.zeros(16, np.int8)}
MATRIX = np.random.default_rng(1).integers(-99, 99, (64, 32)).astype(np.int8)
PRODUCT = "wd = DequantizeLinear <axis = AXIS> (w, ws, wz) y = MatMul (xd, wd)"
ROWS = "float[9, 64] x"


@dataclass(frozen=True)
class Hazard:
    """A model of one hazard."""

    body: str
    names: str
    """The node that is to be named."""
    why: str
    """A pattern of the reason."""
    weights: dict[str, Any] = field(default_factory=dict)
    inputs: str = X
    outputs: str = "float[a, b, c, d] y"
    opset: int = 21
    functions: str = ""

    @property
    def model(self) -> onnx.ModelProto:
        """Valid by onnx's checker."""
        domains = f'"" : {self.opset}, "my" : 1'
        text = f"<ir_version: 10, opset_import: [{domains}]> g ({self.inputs}) => ({self.outputs}) {{ {self.body} }}"
        found = parser.parse_model(f"{text} {self.functions}")
        for name, value in {**SCALES, "w": W, **self.weights}.items():
            if re.search(rf"\b{name}\b", self.body):
                is_proto = isinstance(value, onnx.TensorProto)
                found.graph.initializer.append(value if is_proto else numpy_helper.from_array(np.asarray(value), name))
        onnx.checker.check_model(found)
        return found


def _matrix(body: str, names: str, why: str, scales: tuple[int, ...], **weights: Any) -> Hazard:
    """A product of rows with `MATRIX`."""
    zeros = {"ws": np.full(scales, 0.01, np.float32), "wz": np.zeros(scales, np.int8)}
    return Hazard(body, names, why, {"w": MATRIX, **zeros, **weights}, ROWS, "float[9, 32] y")


def _float8(name: str) -> onnx.TensorProto:
    return onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT8E4M3FN, raw_data=b"\0")


IN_NOTES = {
    "uint8 with zero point 0": Hazard(CONV, "QuantizeLinear -> xq", "uint8", {"z": np.uint8(0)}),
    "no zero point": Hazard(
        CONV.replace("(x, s, z)", "(x, s)").replace("(xq, s, z)", "(xq, s)"),
        "QuantizeLinear -> xq",
        "no zero point is written",
    ),
    "data alone": Hazard(f"{XD} y = Conv (xd, f)", "Conv -> y", "'f' is not quantized", {"f": W.astype(np.float32)}),
    "weights alone": Hazard(f"{WD} y = Conv (x, wd)", "Conv -> y", "'x' is not quantized"),
    "per-channel activations": Hazard(
        CONV.replace("QuantizeLinear (x", "QuantizeLinear <axis = 1> (x").replace("(xq, ", "<axis = 1> (xq, "),
        "Conv -> y",
        "scale for each channel",
        SIXTEEN,
    ),
    "weight axis of Conv": Hazard(
        CONV.replace("axis = 0", "axis = 1"),
        "Conv -> y",
        "along axis 1: runs in float; quantize along axis 0",
        {"ws": SIXTEEN["s"], "wz": SIXTEEN["z"]},
    ),
    "weight axis of MatMul": _matrix(
        f"{XD} {PRODUCT.replace('AXIS', '0')}",
        "MatMul -> y",
        "along axis 0: runs in float; quantize along axis 1",
        (64,),
    ),
}
"""What the field's rules tell of."""
IN_FLOAT = {
    "a scale that is no scalar": Hazard(
        CONV, "Conv -> y", r"shape \[1\]: runs in float; requantize", {"s": SIXTEEN["s"][:1], "z": SIXTEEN["z"][:1]}
    ),
    "a Relu between": Hazard(f"{XD} {WD} r = Relu (xd) y = Conv (r, wd)", "Conv -> y", "'r' is not quantized"),
    "a Pad that is no part of a Conv": Hazard(
        f"{XD} {WD} p = Pad (xd, pads) m = MaxPool <kernel_shape = [2, 2]> (p) y = Conv (m, wd)",
        "Conv -> y",
        "'m' is not quantized",
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "a Concat of two scales": Hazard(
        f"{XD} {WD} uq = QuantizeLinear (x, u, z) ud = DequantizeLinear (uq, u, z) c = Concat <axis = 2> (xd, ud) "
        "y = Conv (c, wd)",
        "Conv -> y",
        "'c' is not quantized",
        {"u": np.float32(0.05)},
    ),
    "one of two activations": Hazard(
        f"{XD} y = MatMul (xd, k)",
        "MatMul -> y",
        "'k' is not quantized",
        {},
        f"{ROWS}, float[64, 4] k",
        "float[9, 4] y",
    ),
    "ConvTranspose": Hazard(
        f"{XD} wd = DequantizeLinear <axis = 1> (w, ws, wz) y = ConvTranspose (xd, wd)",
        "ConvTranspose -> y",
        "keep-float=ConvTranspose",
        {"w": W.transpose(1, 0, 2, 3).copy()},
    ),
    "in a subgraph": Hazard(
        f"""y = If (c) <then_branch = t () => (float[a, b, c, d] u) {{ {XD} u = Conv (xd, f) }},
            else_branch = e () => (float[a, b, c, d] v) {{ v = Conv (x, f) }}>""",
        "Conv -> u",
        "'f' is not quantized",
        {},
        f"{X}, bool c, float[8, 16, 3, 3] f",
    ),
}
"""What was found beside, by the types in the builder's report."""
MISREAD = {
    "blocks beside integers": _matrix(
        f"{XD} wd = DequantizeLinear <axis = 0, block_size = 32> (w, ws, wz) y = MatMul (xd, wd)",
        "MatMul -> y",
        "in blocks: is silently wrong",
        (2, 32),
    ),
    "an infinite scale": Hazard(CONV, "QuantizeLinear -> xq", "a scale is inf", {"s": np.float32(np.inf)}),
    "a scale without a reciprocal": Hazard(CONV, "QuantizeLinear -> xq", "no reciprocal", {"s": np.float32(1e-40)}),
    "float8 that does not saturate": Hazard(
        "xq = QuantizeLinear <saturate = 0> (x, s, z) y = DequantizeLinear (xq, s, z)",
        "QuantizeLinear -> xq",
        "saturate=0 is silently taken for 1",
        {"z": _float8("z")},
    ),
    "arithmetic on integers": Hazard(
        "xq = QuantizeLinear (x, s, z) a = Add (xq, xq) y = Cast <to = 1> (a)", "Add -> a", "integers of 'xq'"
    ),
    "quantized by a function": Hazard(
        "y = my.Rounded (x, s, z)",
        "function my.Rounded",
        "inline-functions",
        {"z": np.uint8(0)},
        functions="""<domain: "my", opset_import: ["" : 21]> Rounded (a, s, z) => (b) {
            q = QuantizeLinear (a, s, z) b = DequantizeLinear (q, s, z) }""",
    ),
    "a namesake": Hazard("y = my.Relu (x)", "Relu -> y", "taken for ONNX's Relu; rename"),
    "a function of a taken name": Hazard(
        "y = my.Relu (x)",
        "Relu -> y",
        "taken for ONNX's Relu; inline-functions",
        functions="""<domain: "my", opset_import: ["" : 21]> Relu (a) => (b) { b = Exp (a) }""",
    ),
    "Trilu by default": Hazard("y = Trilu (x)", "Trilu -> y", "write upper=1"),
    "a seed": Hazard("r = RandomNormalLike <seed = 3.0> (x) y = Add (x, r)", "RandomNormalLike -> r", "its seed"),
    "a large double": Hazard(
        "c = Cast <to = 1> (d) y = Add (x, c)", "Cast -> c", r"1e\+300 .* clamped", {"d": np.float64(1e300)}
    ),
    "an input of doubles": Hazard(
        "y = Cast <to = 1> (x)", "input 'x'", "silently float32", {}, X.replace("float", "double")
    ),
    "an output of doubles": Hazard(
        "y = Cast <to = 11> (x)", "output 'y'", "silently float32", {}, X, "double[a, b, c, d] y"
    ),
    "an input with a default": Hazard(
        "y = Add (x, v)", "input 'v'", "default value", {"v": np.float32([1])}, f"{X}, float[1] v"
    ),
    "an input that is an output": Hazard(
        "y = Relu (x)", "output 'x'", "the engine calls __x", {}, X, f"float[a, b, c, d] y, {X}"
    ),
    "an output twice": Hazard(
        "y = Relu (x)", "output 'y'", "listed 2 times", {}, X, "float[a, b, c, d] y, float[a, b, c, d] y"
    ),
}
"""What is computed, or named, otherwise."""
HAZARDS = {**IN_NOTES, **IN_FLOAT, **MISREAD}

FINE = {
    "as it should be": Hazard(CONV, "", ""),
    "scales of float16": Hazard(
        CONV,
        "",
        "",
        {"s": np.float16(0.03), "ws": np.full(8, 0.01, np.float16)},
        X.replace("float", "float16"),
        "float16[a, b, c, d] y",
    ),
    "weights without a zero point": Hazard(CONV.replace("(w, ws, wz)", "(w, ws)"), "", ""),
    "a type without a zero point": Hazard(
        CONV.replace("QuantizeLinear (x, s, z)", "QuantizeLinear <output_dtype = 3> (x, s)", 1), "", ""
    ),
    "a MaxPool, a Slice, a Concat and a Pad between": Hazard(
        f"""{XD} {WD} m = MaxPool <kernel_shape = [2, 2]> (xd) t = Slice (m, two, nine, two)
            c = Concat <axis = 2> (t, t) p = Pad (c, pads) y = Conv (p, wd)""",
        "",
        "",
        {"two": np.array([2]), "nine": np.array([9]), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "a weight that is moved": Hazard(
        f"{XD} v = DequantizeLinear <axis = 1> (w, ws, wz) r = Reshape (v, k) wd = Transpose <perm = [1, 0, 2, 3]> (r) "
        "y = Conv (xd, wd)",
        "",
        "",
        {"w": W.transpose(1, 0, 2, 3).reshape(16, 8, 9).copy(), "k": np.array([16, 8, 3, 3])},
    ),
    "scales of rows": _matrix(
        "xq = QuantizeLinear <axis = 0> (x, s, z) xd = DequantizeLinear <axis = 0> (xq, s, z) "
        f"{PRODUCT.replace('AXIS', '1')}",
        "",
        "",
        (32,),
        s=np.full(9, 0.03, np.float32),
        z=np.zeros(9, np.int8),
    ),
    "a scale that is no scalar, of a MatMul": _matrix(
        f"{XD} {PRODUCT.replace('AXIS', '1')}", "", "", (32,), s=np.float32([0.03]), z=np.int8([0])
    ),
    "one block": _matrix(
        f"{XD} wd = DequantizeLinear <axis = 0, block_size = 64> (w, ws, wz) y = MatMul (xd, wd)", "", "", (1, 32)
    ),
    "float8 weights alone": Hazard(
        "wq = QuantizeLinear (f, s, z) wd = DequantizeLinear (wq, s, z) y = MatMul (x, wd)",
        "",
        "",
        {"z": _float8("z"), "f": MATRIX * np.float32(0.01)},
        ROWS,
        "float[9, 32] y",
    ),
    "integers handed on": Hazard(
        f"xq = QuantizeLinear (x, s, z) t = Relu (xq) xd = DequantizeLinear (t, s, z) {WD} y = Conv (xd, wd)", "", ""
    ),
    "Gelu of onnxruntime": Hazard("y = Gelu (x)", "", ""),
}
"""What the builder takes, and computes in integers where it has any: of these nothing is refused."""

TAKEN_FOR = {
    "uint8 with zero point 0": Hazard(CONV, "", ""),
    "no zero point": Hazard(
        CONV.replace("(x, s, z)", "<output_dtype = 3> (x, s)").replace("(xq, s, z)", "(xq, s)"), "", ""
    ),
    "float8 that does not saturate": Hazard(
        "xq = QuantizeLinear (x, s, z) y = DequantizeLinear (xq, s, z)", "", "", {"z": _float8("z")}
    ),
    "a namesake": Hazard("y = Relu (x)", "", ""),
    "a function of a taken name": Hazard("y = Relu (x)", "", ""),
    "Trilu by default": Hazard("y = Trilu <upper = 0> (x)", "", ""),
    "a seed": Hazard("r = RandomNormalLike <seed = 4.0> (x) y = Add (x, r)", "", ""),
}
"""Other models, of which the builder makes the same engines."""
