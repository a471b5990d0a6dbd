"""A folder that appears whole or not at all, and replaces only one of its own kind."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxopt.errors import BadOption, OnnxoptError

MODEL, ENCODINGS, LIST, CALIBRATION = "model.onnx", "encodings.json", "input_list.txt", "calibration_list.txt"
RAW, SCRIPT, README, BUILD = "raw", "run.sh", "README.txt", "build"
_OURS = {MODEL, f"{MODEL}.data", ENCODINGS, LIST, CALIBRATION, RAW, SCRIPT, README, BUILD, "inputs.json"}
_MARKS = {SCRIPT, "inputs.json"}
"""What a folder has to have to be taken for a kit."""
_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


def require_replaceable(path: Path) -> None:
    """Refuse a path whose content nobody meant to lose.

    Raises:
        BadOption: It is a file, or a folder that is no kit, or has more in it than a kit has.
    """
    if not path.name or path.name == "..":
        raise BadOption(f"qnn-kit={path}: name the folder that is to be made")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BadOption(f"qnn-kit writes a folder, and {path} is there and is none")
    if not path.parent.is_dir():
        raise BadOption(f"cannot write {path}: there is no folder {path.parent}")
    there = {each.name for each in path.iterdir()} if path.exists() else set()
    if there and not there >= _MARKS:
        raise BadOption(f"{path} has files in it and is no kit: name a folder that is not there, or an empty one")
    if other := sorted(there - _OURS):
        raise BadOption(f"{path} is a kit with '{other[0]}' in it, which would be lost: move that elsewhere")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that takes `path`'s place when the block ends, and is gone when the block fails.

    Raises:
        BadOption: As `require_replaceable` does.
        OnnxoptError: The folder cannot be written.
    """
    require_replaceable(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as working:
            made = Path(working) / "new"
            made.mkdir()
            yield made
            _take_place(made, path, Path(working) / "old")
    except OSError as error:
        raise OnnxoptError(f"cannot write {path}: {error.strerror or error}; what was there is unchanged") from error


def _take_place(made: Path, path: Path, old: Path) -> None:
    """One step where the system has it; else two renames, of which the first is undone where the second fails."""
    require_replaceable(path)
    if not path.exists():
        made.rename(path)
        return
    if _exchanged(made, path):
        return
    path.rename(old)
    try:
        made.rename(path)
    except BaseException:
        old.rename(path)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places at once (renameat2(2), RENAME_EXCHANGE); False where the system cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    return swap is not None and swap(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE) == 0
