"""What a source is, by its first bytes and the names of its zip entries: nothing is unpickled or imported for that."""

from __future__ import annotations

import enum
import re
import zipfile
from pathlib import Path

from onnxopt.errors import BadModel

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""torch.save's magic number as a pickle has it (torch/serialization.py, `MAGIC_NUMBER`), before PyTorch 1.6."""
_PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""The opcode PROTO of a pickle, and its versions (pickletools)."""
_COMPRESSED = (b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18", b"\x78\x01", b"\x78\x5e", b"\x78\x9c")
"""What joblib compresses its pickles with: gzip, bzip2, xz, lzma, lz4, zlib (joblib/compressor.py)."""


class Kind(enum.Enum):
    """What a model can be lowered from; the value is what messages call it."""

    ONNX = "an ONNX model"
    PROGRAM = "an exported program of torch"
    TORCHSCRIPT = "a TorchScript file"
    TORCH_PICKLE = "a pickle of torch"
    SKOPS = "a skops file of scikit-learn"
    PICKLE = "a pickle, as joblib writes them"
    FUNCTION = "a function"

    @property
    def is_pickle(self) -> bool:
        """Whether opening it runs whatever code its author put into it."""
        return self in (Kind.TORCHSCRIPT, Kind.TORCH_PICKLE, Kind.PICKLE)


def kind_of(source: str | Path) -> Kind:
    """What `source` is.

    A file counts before `module:function`. What is nothing else is left to the reader of ONNX models, which says what
    is wrong with it.

    Raises:
        BadModel: It is a file of some other kind, with the remedy where there is one.
    """
    path = Path(source)
    if not path.exists():
        return Kind.FUNCTION if _FUNCTION.fullmatch(str(source)) else Kind.ONNX
    if not path.is_file():
        return Kind.ONNX
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return Kind.ONNX
    if start.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    if start.startswith(_PICKLED):
        return Kind.TORCH_PICKLE if _TORCH_LEGACY in start else Kind.PICKLE
    return Kind.PICKLE if start.startswith(_COMPRESSED) else Kind.ONNX


def _kind_of_archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise BadModel(f"{path}: a damaged zip archive: {error}") from error
    inner = {entry.partition("/")[2] for entry in entries}
    if "schema.json" in entries:
        return Kind.SKOPS
    if "archive_format" in inner or "serialized_exported_program.json" in entries:
        return Kind.PROGRAM
    if "constants.pkl" in inner and any(entry.startswith("code/") for entry in inner):
        return Kind.TORCHSCRIPT
    if "data.pkl" in inner:
        return Kind.TORCH_PICKLE
    raise BadModel(
        f"{path}: a zip archive that is none of these: an exported program (.pt2), TorchScript, torch.save, skops"
    )
