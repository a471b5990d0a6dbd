"""Whether torch can read an exported program without unpickling anything or running code that is in it.

`torch.export.load` (2.13) falls back to `weights_only=False` where a safe load fails, unpickles constants of classes of
their own, loads compiled libraries that AOTInductor put into the archive, and hands expressions to sympy, which
evaluates them as Python. Hence the list of what may be in it, and `safe_loading` while it is read.
"""

from __future__ import annotations

import ast
import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel, BadOption

_SAFE_LOADING = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""What makes every `torch.load` one of tensors alone, whatever its caller asks for (torch/serialization.py)."""

_ENTRIES = re.compile(
    r"(data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/\w+_config\.json|models/\w+\.json"
    r"|data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id))"
)
"""What `torch.export.save` writes of a program without objects of its own."""
_SYMBOL = re.compile(r"[a-z]{1,8}\d+")
_FUNCTION = re.compile(r"[A-Z][A-Za-z]*")
_ARITHMETIC = (
    ast.Expression, ast.keyword, ast.Load, ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


@contextmanager
def safe_loading() -> Iterator[None]:
    """Let no `torch.load` unpickle anything but tensors."""
    before = os.environ.get(_SAFE_LOADING)
    os.environ[_SAFE_LOADING] = "1"
    try:
        yield
    finally:
        del os.environ[_SAFE_LOADING]
        if before is not None:
            os.environ[_SAFE_LOADING] = before


def require_no_code(path: Path) -> None:
    """Refuse an exported program that torch could not read without running what is in it.

    Raises:
        BadOption: It has other entries than tensors, or expressions that are none of sizes.
        BadModel: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if not _ENTRIES.fullmatch(entry.partition("/")[2]):
                    raise BadOption(_refusal(path, f"has an entry '{entry}'"))
                if re.search(r"/models/\w+\.json$", entry):
                    for text in _expressions(json.loads(archive.read(entry))):
                        if not _is_of_sizes(text):
                            raise BadOption(_refusal(path, f"has an expression '{text[:60]}'"))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BadModel(f"{path}: a damaged exported program: {error}") from error


def _refusal(path: Path, what: str) -> str:
    return (
        f"{path} {what}, which torch reads by running code: give --trust-pickle if you trust where it is from, or save "
        "the program without it"
    )


def _is_of_sizes(text: str) -> bool:
    """Whether an expression is made of symbols, integers, and functions such as `FloorDiv`, and of nothing else.

    What torch writes is sympy's `srepr`: `Mul(Integer(2), Symbol('s0', positive=True, integer=True))`.
    """
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(_is_harmless(node) for node in ast.walk(tree))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return bool(_SYMBOL.fullmatch(node.id) or _FUNCTION.fullmatch(node.id))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and bool(_FUNCTION.fullmatch(node.func.id))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int)) or (
            isinstance(node.value, str) and bool(_SYMBOL.fullmatch(node.value))
        )
    return isinstance(node, _ARITHMETIC)


def _expressions(tree: Any) -> Iterator[str]:
    """Every value of `expr_str`, which torch gives to sympy."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            pending += node.values()
            if isinstance(text := node.get("expr_str"), str):
                yield text
        elif isinstance(node, list):
            pending += node
