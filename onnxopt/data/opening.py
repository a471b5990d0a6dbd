"""What `--data` may name, and which reader reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from onnxopt.data.dataset import DataSet, data_set
from onnxopt.data.folder import LIST, Folder
from onnxopt.data.function import Function
from onnxopt.data.npz import Npz
from onnxopt.data.spec import ValueSpec
from onnxopt.errors import BadData

_SUPPORTED = f"an .npz, a folder of .npy or .raw files with an {LIST}, or module:function"


def open_data(spec: str | Path, inputs: Sequence[ValueSpec]) -> DataSet:
    """Open a data set for a model's inputs. It is streamed, never loaded whole.

    Args:
        spec: a path to an `.npz` (arrays by input name, first axis samples; others are extras), to a folder with an
            `input_list.txt` or to that list, or `module:function` yielding dicts.
        inputs: what the model takes, as `inputs_of` tells.

    Raises:
        BadData: there is nothing such, it cannot be read, holds no samples, or does not fit; the text names the input,
            what was expected and what was found.
    """
    path = Path(spec)
    if path.name == LIST and path.is_file():
        path = path.parent
    if path.is_dir():
        if not (path / LIST).exists():
            raise BadData(f"{path} has no {LIST}; folders of images are not read yet: give {_SUPPORTED}")
        folder = Folder(path, inputs)
        return data_set(str(path), inputs, folder.samples, folder.length)
    if path.exists():
        if path.suffix != ".npz":
            raise BadData(f"{path} is not data that is read here: give {_SUPPORTED}")
        npz = Npz(path, inputs)
        return data_set(str(path), inputs, npz.samples, npz.length)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", str(spec)):
        return data_set(str(spec), inputs, Function(str(spec)).samples)
    raise BadData(f"there is no data at {spec}: give {_SUPPORTED}")
