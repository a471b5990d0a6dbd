"""Stands in for a target's engine: python benchmarks/strict_engine.py MODEL ends with 3 where it takes no such model.

It takes no Gemm without a bias. A model that it cannot read ends it with 1, as an uncaught exception does.
"""

from __future__ import annotations

import sys

import onnx

_REFUSED = 3


def main() -> None:
    """Look at the model."""
    model = onnx.load(sys.argv[1], load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "Gemm" and len(node.input) < 3:
            print(f"{node.name}: a Gemm needs its bias")
            sys.exit(_REFUSED)


if __name__ == "__main__":
    main()
