"""Dependencies point one way, and the core knows no pass and no backend by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors"}, {"atomic", "strict_json"}, {"ir"}, {"data"}, {"runtime"}, {"folding"}, {"linear", "opsets"},
    {"layout", "activations"}, {"pipeline"}, {"rules", "quantization", "pruning", "factorizing", "trees"},
    {"passes", "backends", "frontends"}, {"report"}, {"api", ""}, {"engine"}, {"cli"}, {"__main__"},
]  # fmt: skip
"""Each may import those before it, and itself. The empty name is the package: onnxopt/__init__.py."""
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}


def modules() -> Iterator[tuple[str, Path]]:
    """The layer and the file of every module."""
    for folder, prefix in ((ROOT / "onnxopt", ""), (ROOT / "passes", "passes"), (ROOT / "backends", "backends")):
        for path in sorted(folder.rglob("*.py")):
            parts = (prefix, *path.relative_to(folder).parts) if prefix else path.relative_to(folder).parts
            if prefix or parts[0] not in ("passes", "backends"):
                yield parts[0].removesuffix(".py").removeprefix("__init__"), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import that is done when the program runs, inside functions too."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        pending += ast.iter_child_nodes(node)


def target(name: str) -> str:
    """The layer that an import of ours leads to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else ""


def test_every_module_has_its_place() -> None:
    assert not {str(path) for layer, path in modules() if layer not in LEVEL}, "say in LAYERS where they stand"


def test_dependencies_point_one_way() -> None:
    wrong = []
    for layer, path in modules():
        for line, name in imports(path):
            package = name.split(".")[0]
            other = target(name)
            if package == "onnxopt" and other != layer and LEVEL[other] >= LEVEL[layer]:
                wrong.append(f"{path}:{line}: '{layer}' may not import '{name}'")
            elif package in ("passes", "backends"):
                wrong.append(f"{path}:{line}: import onnxopt.{package}")
    assert not wrong


def test_no_module_names_a_pass_or_a_backend() -> None:
    """The registry finds them. What passes share is a layer below; only a backend may be several files."""
    wrong = []
    for layer, path in modules():
        for line, name in imports(path):
            package, kind, module, *_ = [*name.split("."), "", ""]
            is_own = layer == kind == "backends"
            if package == "onnxopt" and kind in ("passes", "backends") and module and not is_own:
                wrong.append(f"{path}:{line} imports {name}")
    assert not wrong


def test_this_test_sees_what_it_should() -> None:
    found = {name for _, name in imports(ROOT / "onnxopt" / "ir" / "graph.py")}
    assert "onnxopt.ir.copying.copy_graph" in found  # inside a function
    assert {"ir", "cli", "passes", "backends", "errors", ""} <= {layer for layer, _ in modules()}
