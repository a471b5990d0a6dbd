"""Masks in a file: an `.npz` of one bool array for each weight, by the weight's name and of its shape.

`numpy.savez_compressed("m.npz", **{"conv1.weight": keep})` writes one as well.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from onnxopt.atomic import replacing
from onnxopt.errors import BadData
from onnxopt.pruning.masks import Keep, Mask, Masks

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError, NotImplementedError)
"""What zipfile and numpy raise on damaged, encrypted or unsupported members."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that equal masks make equal files."""


def save_masks(masks: Masks, path: str | Path) -> None:
    """Write masks, atomically.

    Raises:
        OnnxoptError: It cannot be written; what was there before is unchanged.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for mask in sorted(masks, key=lambda mask: mask.weight):
            info = zipfile.ZipInfo(f"{mask.weight}.npy", _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                npy.write_array(member, np.ascontiguousarray(mask.keep), allow_pickle=False)


def load_masks(path: str | Path, layers: Mapping[str, tuple[str, tuple[int, ...]]]) -> Masks:
    """Read masks. Nothing larger than the model's own weights is read.

    Args:
        path: The file.
        layers: The weights that can be pruned: of each name the layer and the shape.

    Raises:
        BadData: There is no such file, it is damaged or no file of masks, holds other than bools (pickled objects are
            never loaded), or a mask is for no weight of the model or not of its shape.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise BadData(f"{path} is no file of masks")
    masks: dict[str, Mask] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename:
                    raise BadData(f"{path}: '{name}' is no array; a file of masks holds .npy members only")
                if name in masks:
                    raise BadData(f"{path}: the mask of '{name}' is there twice")
                if name not in layers:
                    raise BadData(
                        f"{path} has a mask for '{name}', and no weight of that name can be pruned here; "
                        "masks fit the model that was written beside them"
                    )
                layer, shape = layers[name]
                with archive.open(info) as member:
                    masks[name] = Mask(name, layer, _read(member, shape, f"{path}: the mask of '{name}'"))
    except _BROKEN as error:
        raise BadData(
            f"{path} cannot be read as a file of masks: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not masks:
        raise BadData(f"{path} has no masks")
    return Masks(masks.values())


def _read(member: IO[bytes], shape: tuple[int, ...], what: str) -> Keep:
    version = npy.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise BadData(f"{what} is of NPY version {version}, and bools take none but 1.0 and 2.0")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    found, fortran, dtype = read(member)
    if dtype != np.bool_:
        raise BadData(f"{what} holds {dtype}; masks are bools, True where the weight is kept")
    if found != shape:
        raise BadData(f"{what} is of shape {list(found)}, and the weight of {list(shape)}")
    size = int(np.prod(shape, dtype=np.int64))
    data = member.read(size + 1)
    if len(data) != size:
        raise BadData(f"{what} has not the {size} bytes that its shape takes")
    keep: Keep = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C") != 0
    return np.ascontiguousarray(keep)
