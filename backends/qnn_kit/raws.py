"""Samples as raw files, the list that names them, and the note by which they are read back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxopt.backends.qnn_kit.place import CALIBRATION, LIST, RAW
from onnxopt.data import DataSet, require_finite
from onnxopt.data.layout import Sample, given
from onnxopt.data.raw_input import NOTE, RawInput, is_storable, note_of
from onnxopt.data.spec import Array, ValueSpec, show_shape
from onnxopt.errors import BadData

_IMAGE = 4
"""Axes of what a layout is for: batch, channels, height, width."""
_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Header:
    """The lines of a list that name what the tools shall give out."""

    layers: Sequence[str]
    tensors: Sequence[str]

    def lines(self) -> list[str]:
        """`#` and layers, `%` and tensors; none where nothing is named."""
        return [mark + " ".join(names) for mark, names in (("#", self.layers), ("%", self.tensors)) if names]


@dataclass(frozen=True)
class RawFiles:
    """What was written."""

    inputs: tuple[RawInput, ...]
    shapes: Mapping[str, tuple[int, ...]]
    """By the input's name in the model as it was: the shape to feed, batch 1."""
    samples: int

    @property
    def images(self) -> list[str]:
        """Names in the list of the inputs that the layout is for."""
        return [each.name for each in self.inputs if len(self.shapes[each.of]) == _IMAGE]

    @property
    def others(self) -> list[str]:
        """Names in the list of other inputs with so many axes that one might be taken for channels."""
        return [each.name for each in self.inputs if len(self.shapes[each.of]) not in (0, 1, 2, _IMAGE)]


@dataclass(frozen=True)
class RawWriter:
    """How samples are to lie."""

    layout: str
    """`nhwc`: inputs with four axes are written with channels last; `nchw`: as they are."""
    native: bool
    """In the inputs' own types, not float32."""
    limit: int
    names: Mapping[str, str]
    """Names in the list by those of the model, where they differ."""

    def write(self, folder: Path, data: DataSet, inputs: Sequence[ValueSpec], header: Header) -> RawFiles:
        """Write `raw/`, `input_list.txt` and `inputs.json` into a folder.

        Raises:
            BadData: The model takes more than one sample at a time, or a sample cannot be written.
        """
        if (data.layout.batch or 1) != 1:
            raise BadData(
                f"{data.source}: the model is fixed to batches of {data.layout.batch}, and Qualcomm's quantizer takes "
                "one sample at a time: fix the batch to 1 (freeze-shapes)"
            )
        chosen = require_finite(data.spread(self.limit))
        samples = chosen.samples()
        first = next(samples)
        taken = [self._input(data, spec, first) for spec in inputs]
        shapes = {each.of: each.shape if each.of in data.layout.whole else (1, *each.shape) for each in taken}
        (folder / RAW).mkdir()
        lines = list(self._lines(folder, taken, itertools.chain([first], samples), chosen))
        named = header.lines()
        (folder / LIST).write_text("\n".join((*named, *lines)) + "\n", "utf-8")
        if named:
            (folder / CALIBRATION).write_text("\n".join(lines) + "\n", "utf-8")
        (folder / NOTE).write_text(note_of(taken), "utf-8")
        return RawFiles(tuple(taken), shapes, len(lines))

    def _input(self, data: DataSet, spec: ValueSpec, first: Sample) -> RawInput:
        sample = _sample(spec, data, first)
        rank = sample.ndim if spec.name in data.layout.whole else sample.ndim + 1
        axes = list(range(sample.ndim))
        if self.layout == "nhwc" and rank == _IMAGE:
            axes.append(axes.pop(-3))
        stored = spec.dtype if self.native and spec.dtype is not None else _FLOAT
        if not is_storable(stored) or not is_storable(sample.dtype):
            raise BadData(f"{data.source}: input '{spec.name}' is {spec}, and raw files are for numbers of whole bytes")
        name = self.names.get(spec.name, spec.name)
        return RawInput(name, spec.name, sample.shape, tuple(axes), stored, sample.dtype)

    def _lines(
        self, folder: Path, inputs: Sequence[RawInput], samples: Iterator[Sample], data: DataSet
    ) -> Iterator[str]:
        """The list's lines; the files are written on the way, named by number: names of tensors make no paths."""
        specs = {spec.name: spec for spec in data.layout.inputs}
        for number, sample in enumerate(samples):
            entries = []
            for place, each in enumerate(inputs):
                array = _sample(specs[each.of], data, sample)
                if array.shape != each.shape or array.dtype != each.dtype:
                    raise BadData(
                        f"{data.source}: input '{each.of}' is {array.dtype}{show_shape(array.shape)} in sample "
                        f"{number} and {each.dtype}{show_shape(each.shape)} in the first: a kit is for one shape"
                    )
                file = f"{RAW}/{number:05}_{place}.raw"
                stored = each.written(array)
                stored.astype(stored.dtype.newbyteorder("<")).tofile(folder / file)
                if stored.size and each.read(folder / file).tobytes() != np.ascontiguousarray(array).tobytes():
                    raise BadData(f"input '{each.of}' does not read back as sample {number} of {data.source} was")
                entries.append(file if len(inputs) == 1 else f"{each.name}:={file}")
            yield " ".join(entries)


def _sample(spec: ValueSpec, data: DataSet, sample: Sample) -> Array:
    return np.asarray(given(spec, sample, data.source))
