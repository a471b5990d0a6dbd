"""What `sink-transposes` is tried on."""

from __future__ import annotations

from onnxopt import ir
from onnxopt.passes.sink_transposes import SinkTransposes
from tests.passes.checks import parse

SINK = SinkTransposes()
EXACT = SinkTransposes(exact=True)


def between(nodes: str, weights: str = "", *, opset: int = 17, out: str = "float[p,q,r]") -> ir.Graph:
    """`a` is x [n,4,5] with its last two axes exchanged; `y` is `b` with them exchanged."""
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[n,4,5] x) => ({out} y) <{weights}> {{
            s = Neg (x) a = Transpose <perm = [0, 2, 1]> (s) {nodes} y = Transpose <perm = [0, 2, 1]> (b)
        }}
    """)
