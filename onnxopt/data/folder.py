"""A folder of `.npy` and `.raw` files with an `input_list.txt` as Qualcomm's SNPE and QNN tools read it.

One line is one sample: `name:=path name2:=path2`, or a bare path where the model has one input. Lines that begin with
`#` or `%` name outputs for those tools, and are skipped. Paths are relative to the folder. `.raw` is float32, row by
row, in the shape of the model's input; an `inputs.json` in the folder may say otherwise (`onnxopt.data.raw_input`), as
the folders of `--emit qnn-kit` do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onnxopt.data.layout import Sample
from onnxopt.data.raw_input import inputs_in
from onnxopt.data.spec import Array, ValueSpec, show_shape
from onnxopt.errors import BadData

LIST = "input_list.txt"


class Folder:
    """The samples that the list in a folder names; one file each input and sample, read or mapped when its turn comes.

    Raises:
        BadData: no list; a line names an unknown input, or a file that is not there, outside the folder, or of
            another format.
    """

    def __init__(self, path: Path, inputs: Sequence[ValueSpec]) -> None:
        self._path = path
        self._inputs = {spec.name: spec for spec in inputs}
        told = inputs_in(path)
        self._raw = {name: each for each in told for name in (each.of, each.name) if name in self._inputs}
        self._renamed = {each.name: each.of for each in told if each.of in self._inputs}
        try:
            lines = (path / LIST).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(f"{path} needs a readable {LIST}, one line a sample: {error}") from error
        self._lines = [
            self._parsed(number, line)
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith(("#", "%"))
        ]
        self.length = len(self._lines)

    def samples(self) -> Iterator[Sample]:
        """Start a pass over the lines of the list."""
        for files in self._lines:
            yield {name: self._read(name, file) for name, file in files.items()}

    def _read(self, name: str, file: Path) -> Array:
        raw = self._raw.get(name)
        return _read(file, self._inputs[name]) if raw is None or file.suffix != ".raw" else raw.read(file)

    def _parsed(self, number: int, line: str) -> dict[str, Path]:
        where = f"{self._path / LIST}, line {number}"
        files = {}
        for entry in line.split():
            name, assigned, file = entry.rpartition(":=")
            if not assigned:
                if len(self._inputs) != 1:
                    raise BadData(
                        f"{where}: the model has {len(self._inputs)} inputs, so write name:=path, not '{entry}'"
                    )
                name = next(iter(self._inputs))
            name = name if name in self._inputs else self._renamed.get(name, name)
            if name not in self._inputs:
                raise BadData(f"{where}: the model has no input '{name}'; it has: {', '.join(self._inputs)}")
            files[name] = self._inside(where, file)
        if missing := sorted(set(self._inputs) - set(files)):
            raise BadData(f"{where}: no file for input '{missing[0]}'")
        return files

    def _inside(self, where: str, file: str) -> Path:
        found = (self._path / file).resolve()
        if not found.is_relative_to(self._path.resolve()):
            raise BadData(f"{where}: '{file}' lies outside the folder; move the data into it")
        if found.suffix not in (".npy", ".raw"):
            raise BadData(f"{where}: '{file}' is neither .npy nor .raw")
        if not found.is_file():
            raise BadData(f"{where}: there is no file '{file}'")
        return found


def _read(file: Path, spec: ValueSpec) -> Array:
    try:
        if file.suffix == ".npy":
            return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        numbers = np.memmap(file, np.dtype("<f4"), "r")
    except (OSError, ValueError, EOFError) as error:
        raise BadData(f"{file} cannot be read for input '{spec.name}': {error}") from error
    if spec.dtype != np.float32:
        raise BadData(f"{file}: .raw is float32, but input '{spec.name}' takes {spec}; save .npy")
    return np.asarray(numbers).reshape(_raw_shape(file, numbers.size, spec))


def _raw_shape(file: Path, size: int, spec: ValueSpec) -> tuple[int, ...]:
    """The shape of a sample of so many numbers: the input's without its batch axis, or all of it."""
    for shape in ((spec.shape or ())[1:], spec.shape or ()):
        sizes = [dim for dim in shape if isinstance(dim, int)]
        if len(sizes) == len(shape) and math.prod(sizes) == size:
            return tuple(sizes)
    raise BadData(
        f"{file} holds {size} float32, which is no sample of input '{spec.name}' {show_shape(spec.shape)}; "
        "for dimensions that the model leaves open save .npy"
    )
