"""The JSON beside an artifact that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxopt import strict_json
from onnxopt.atomic import replacing
from onnxopt.errors import BadModel


def sidecar_path(artifact: Path) -> Path:
    """`PATH.json`, for a folder too: beside it."""
    return artifact.with_name(artifact.name + ".json")


def write_sidecar(artifact: Path, facts: Mapping[str, Any]) -> None:
    """Write it, atomically.

    Raises:
        OnnxoptError: It cannot be written.
    """
    with replacing(sidecar_path(artifact)) as file:
        file.write(f"{strict_json.dumps(facts)}\n".encode())


def read_sidecar(artifact: Path) -> dict[str, Any] | None:
    """What it says; None where there is none.

    Raises:
        BadModel: It is no JSON object.
    """
    if not artifact.name:  # `.` or `/`
        return None
    path = sidecar_path(artifact)
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadModel(f"{path} cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadModel(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadModel(f"{path} is not the sidecar of an artifact: it holds no JSON object")
    return found


def artifact_bytes(artifact: Path) -> int:
    """Of the file, or of all files in the folder."""
    if artifact.is_dir():
        return sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file())
    return artifact.stat().st_size
