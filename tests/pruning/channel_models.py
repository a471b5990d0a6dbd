"""Small models of which channels can be removed, one for each rule, with random weights."""

from __future__ import annotations

import re

import numpy as np

from onnxopt import ir
from tests.passes.checks import parse


def model(weights: str, body: str, *, x: str = "float[N, 3, 8, 8]", y: str = "float", opset: int = 21) -> ir.Graph:
    """A graph of x to y. Weights are declared `w 8 3 3 3; b 8`; those that start with `var` are positive."""
    rng = np.random.default_rng(0)
    declared = []
    for entry in filter(None, (part.strip() for part in weights.split(";"))):
        name, *shape = entry.split()
        numbers = rng.normal(size=[int(size) for size in shape])
        if name.startswith("var"):
            numbers = np.abs(numbers) + 0.5
        values = ", ".join(f"{number:.7g}" for number in numbers.ravel())
        declared.append(f"float[{', '.join(shape)}] {name} = {{{values}}}")
    declared += [f"{kind}[{size}] {name} = {{{values}}}" for kind, size, name, values in _INTEGERS.findall(body)]
    body = _INTEGERS.sub("", body)
    constants = f"<{', '.join(declared)}>" if declared else ""
    version = 8 if opset < 21 else 10
    return parse(f'<ir_version: {version}, opset_import: ["": {opset}]> g ({x} x) => ({y} y) {constants} {{ {body} }}')


_INTEGERS = re.compile(r"let (int64|float)\[(\d+)\] (\w+) = \[([^\]]*)\]")
"""`let int64[2] axes = [1, 2]` in a body."""

FIRST = "w 8 3 3 3; b 8; "
CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b) "
LAST = "v 5 8 1 1"
"""Weights of a Conv of 8 channels to 5: `y = Conv (r, v)`."""
