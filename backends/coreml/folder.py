"""A package is a folder: it appears whole, and is told by what it holds."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from onnxopt.errors import OnnxoptError

_MANIFEST = "Manifest.json"
"""Has new UUIDs every time that the same package is written."""


def place(made: Path, path: Path) -> None:
    """Move a package to where it belongs; what was there is removed only when the new one is there.

    Args:
        made: The new one, in a folder of its own on the same file system, which is removed by the caller.
        path: Where it belongs.

    Raises:
        OnnxoptError: It cannot be moved; what was there before is there.
    """
    old = made.parent / "old"
    try:
        if path.exists() or path.is_symlink():
            path.replace(old)
        made.replace(path)
    except OSError as error:
        if old.exists():
            with contextlib.suppress(OSError):
                old.replace(path)
        raise OnnxoptError(f"cannot write {path}: {error.strerror}; what was there before is unchanged") from error


def digest(package: Path) -> str:
    """SHA-256 of all files with their names, in order, but for the manifest: equal for equal packages."""
    found = hashlib.sha256()
    for file in sorted(each for each in package.rglob("*") if each.is_file() and each.name != _MANIFEST):
        name = file.relative_to(package).as_posix().encode()
        found.update(len(name).to_bytes(8, "little") + name + file.stat().st_size.to_bytes(8, "little"))
        with file.open("rb") as content:
            while piece := content.read(1 << 20):
                found.update(piece)
    return found.hexdigest()
