"""The models in a folder of snapshots."""

from __future__ import annotations

import re
from pathlib import Path

from onnxopt.errors import BadModel

_MODEL = re.compile(r"(\d{3,})-([\w-]+)\.onnx")


def snapshot_files(folder: Path) -> list[tuple[str, Path]]:
    """The name of each pass, and the model that it left; the input model first.

    Raises:
        BadModel: The folder is none, or holds no snapshots.
    """
    if not folder.is_dir():
        raise BadModel(f"{folder} is no folder: give the one that --snapshots DIR wrote")
    found = [(match, path) for path in folder.iterdir() if (match := _MODEL.fullmatch(path.name))]
    if not found:
        raise BadModel(f"{folder} holds no snapshots (000-input.onnx, ...): give the folder that --snapshots DIR wrote")
    return [(match[2], path) for match, path in sorted(found, key=lambda one: int(one[0][1]))]
