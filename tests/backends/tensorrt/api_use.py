"""What our code calls of NVIDIA's bindings, read from its source: `Builder.create_network`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

BACKEND = Path(__file__).parents[3] / "backends/tensorrt"
RECEIVERS = {
    "vendor.py": {
        "trt": "",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
        "tensor": "ITensor",
    },
    "running.py": {
        "trt": "",
        "_trt": "",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "_engine": "ICudaEngine",
        "_context": "IExecutionContext",
    },
}
"""The classes of what the modules that import the bindings keep in variables of these names."""
GUARDED = {
    "ComputeCapability",
    "ComputeCapability.__members__",
    "ComputeCapability.__members__.items",
    "IBuilderConfig.get_compute_capability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}
"""What only TensorRT-RTX has: the code asks with hasattr before."""


def used() -> set[str]:
    """Every name of the bindings that we use, from the module downwards."""
    return {name for file, receivers in RECEIVERS.items() for name in _used(BACKEND / file, receivers)}


def importers() -> set[str]:
    """The files that keep what they import in a variable `trt`."""
    return {path.name for path in BACKEND.glob("*.py") if "trt: Any = importlib.import_module(" in path.read_text()}


def has(module: object, name: str) -> bool:
    """Whether the bindings have it."""
    for part in name.split("."):
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True


def _used(path: Path, receivers: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            parts = _parts(node)
            if len(parts) > 1 and parts[0] in receivers:
                owner = receivers[parts[0]]
                # of an object the first attribute: what it gives is of another class
                yield f"{owner}.{parts[1]}" if owner else ".".join(parts[1:])


def _parts(node: ast.expr) -> list[str]:
    """`self._engine.name` as [_engine, name]; nothing for what is not a chain of names."""
    if isinstance(node, ast.Name):
        return [node.id]
    if not isinstance(node, ast.Attribute):
        return []
    before = _parts(node.value)
    return [node.attr] if before == ["self"] else [*before, node.attr] if before else []
