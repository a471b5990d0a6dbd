"""A DLC from the outside: it is a zip file, whose CRCs are all zero."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel

_MOST_METADATA = 1 << 20
"""Bytes of a part that is read as JSON; more is none of theirs."""


def inspect_dlc(path: Path) -> dict[str, Any]:
    """Its parts with their sizes in bytes, and what its metadata say of the converter.

    What the graph inside is made of lies in a format of Qualcomm's own; the sidecar has that.

    Raises:
        BadModel: It is no zip file, or no DLC.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {part.filename: part.file_size for part in archive.infolist()}
            texts = [_read(archive, part) for part in archive.infolist() if "metadata" in part.filename]
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BadModel(f"{path} is no DLC: {error}") from error
    if "model" not in parts and not any(name.startswith("model") for name in parts):
        raise BadModel(f"{path} is no DLC: it holds {', '.join(parts) or 'nothing'}")
    return {"kind": "DLC", "bytes": path.stat().st_size, "parts": parts, **_converter(texts)}


def _read(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> str:
    """A part as text. The CRC that the file gives is 0 whatever it holds: it is not compared."""
    part.CRC = None  # type: ignore[assignment]  # what zipfile takes as: do not check
    with archive.open(part) as file:
        return file.read(_MOST_METADATA).decode(errors="replace")


def _converter(texts: list[str]) -> dict[str, Any]:
    """Who made it, when, and with which version."""
    found: dict[str, Any] = {}
    for text in texts:
        found |= _told(text)
    return found


def _told(text: str) -> dict[str, Any]:
    """What one part of the metadata says; another version of theirs may say nothing that is known here."""
    try:
        metadata = json.loads(text)
        told = {"written": str(metadata["header"]["timestamp"])}
        if made := metadata.get("dlcGenerationInfo"):
            told["converter version"] = str(made[0]["converterCommand"]["converterVersion"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return told


def inspect_context(path: Path) -> dict[str, Any]:
    """A context binary: its format is Qualcomm's own, so that nothing is told but its size.

    Raises:
        BadModel: It cannot be read, or is empty.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}") from error
    if not size:
        raise BadModel(f"{path} is no context binary: it is empty")
    return {"kind": "HTP context binary, by its name", "bytes": size}
