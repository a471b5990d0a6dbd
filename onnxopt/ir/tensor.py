"""Tensors: graphsurgeon's classes, compared and hashed by identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ValueInfoProto

from onnxopt.ir import dtypes
from onnxopt.ir.links import Linked, Links
from onnxopt.ir.values import Array, MappedValues, SharedValues, Values, read_only

Dim = int | str | None
Shape = list[Dim]


class Tensor(Linked, gs.Tensor):  # type: ignore[misc]
    """What `Variable` and `Constant` share. Two tensors are equal only if they are the same object."""

    name: str
    inputs: Links
    """Nodes that produce it: none, or one."""
    outputs: Links
    """Nodes that read it, once per use, those in subgraphs included."""
    info: ValueInfoProto | None = None
    """What the file declared of it, kept for the fields that have no attribute here (denotations, nested types)."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def producer(self) -> Any:
        """The node that produces it, or None."""
        return self.inputs[0] if self.inputs else None

    @property
    def metadata_props(self) -> dict[str, str]:
        """Metadata of the value info or initializer."""
        props: dict[str, str] = self.__dict__.setdefault("_metadata_props", {})
        return props

    doc_string: str = ""

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Any:
        return self.copy()


class Variable(Tensor, gs.Variable):  # type: ignore[misc]
    """A tensor that is known only when the model runs."""

    dtype: dtypes.DType | None
    shape: Shape | None
    """A number, a symbol, or None for each dimension; None as a whole where even the rank is unknown."""
    type: str | None
    """`tensor_type`, `sequence_type`, `optional_type`, `map_type`, `sparse_tensor_type`; None where undeclared."""
    default: Constant | None = None
    """The value that a graph input takes when the caller gives none (an initializer listed as input, IR >= 4)."""

    def __init__(
        self,
        name: str,
        dtype: Any = None,
        shape: Sequence[Dim] | None = None,
        type: str | None = "tensor_type",
    ) -> None:
        self.__dict__.update(  # at once: a model makes very many of these
            name=name, inputs=Links(self, "outputs"), outputs=Links(self, "inputs"), dtype=as_dtype(dtype),
            shape=None if shape is None else list(shape), type=type,
        )  # fmt: skip

    @staticmethod
    def empty() -> Variable:
        """The tensor that stands for an omitted optional input or output."""
        return Variable("")

    def to_constant(self, values: Array | Values, export_dtype: Any = None, data_location: Any = None) -> Constant:
        """Turn this very object into a Constant; all its links stay."""
        for field in ("dtype", "shape", "type", "default"):
            self.__dict__.pop(field, None)
        self.__class__ = Constant
        constant: Constant = self
        constant.__dict__.update(_values=values, data_location=data_location, _export_dtype=export_dtype)
        return constant

    def to_variable(self, dtype: Any = None, shape: Sequence[Dim] | None = None) -> Variable:
        """This very object, with another dtype or shape where one is given."""
        self.dtype = as_dtype(dtype) or self.dtype
        self.shape = self.shape if shape is None else list(shape)
        return self

    def copy(self) -> Variable:
        """A copy without links."""
        twin = Variable(self.name, self.dtype, self.shape, self.type)
        _copy_facts(self, twin)
        if self.default is not None:
            twin.default = self.default.copy()
        return twin


class Constant(Tensor, gs.Constant):  # type: ignore[misc]
    """A tensor whose value is known."""

    _values: Array | Values
    _export_dtype: Any

    def __init__(self, name: str, values: Array | Values, data_location: Any = None, export_dtype: Any = None) -> None:
        if not isinstance(values, (np.ndarray, gs.ir.tensor.LazyValues)):
            raise TypeError(f"the values of constant '{name}' must be a numpy array, not {type(values).__name__}")
        if isinstance(values, np.ndarray) and not dtypes.is_known(values.dtype):
            raise TypeError(f"constant '{name}': ONNX has no element type for numpy's {values.dtype}")
        self.__dict__.update(
            name=name, inputs=Links(self, "outputs"), outputs=Links(self, "inputs"), _values=values,
            data_location=data_location, _export_dtype=export_dtype,
        )  # fmt: skip

    def read(self) -> Array:
        """The value, read-only, memory-mapped where it lies in a file. Reading does not mark it as changed."""
        if isinstance(self._values, Values):
            return self._values.read()
        if not isinstance(self._values, np.ndarray):
            return np.asarray(self.values)
        return read_only(self._values)

    @property
    def dtype(self) -> dtypes.DType:
        """Element type."""
        return np.dtype(self._values.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return tuple(self._values.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the value takes in a model file, strings apart; 0 for those."""
        return dtypes.stored_bytes(dtypes.to_onnx(self.dtype), math.prod(self.shape)) or 0

    @property
    def is_stored(self) -> bool:
        """Whether the value still lies in the file that it came from."""
        return isinstance(self._values, MappedValues)

    @property
    def is_new(self) -> bool:
        """Whether the value is an array of a pass's making, and not what a file says."""
        return not isinstance(self._values, Values) or isinstance(self._values, SharedValues)

    def to_constant(self, values: Array | Values, export_dtype: Any = None, data_location: Any = None) -> Constant:
        """This very object, with other values."""
        self._values, self._export_dtype, self.data_location = values, export_dtype, data_location
        return self

    def to_variable(self, dtype: Any = None, shape: Sequence[Dim] | None = None) -> Variable:
        """Turn this very object into a Variable; all its links stay."""
        dtype = as_dtype(dtype) or self.dtype
        shape = list(self.shape if shape is None else shape)
        for field in ("_values", "data_location", "_export_dtype"):
            self.__dict__.pop(field, None)
        self.__class__ = Variable
        variable: Variable = self
        variable.__dict__.update(dtype=dtype, shape=shape, type="tensor_type")
        return variable

    def copy(self) -> Constant:
        """A copy without links. The values are shared until one of the two asks for an array to write into."""
        if isinstance(self._values, np.ndarray):
            self._values = SharedValues(self._values)
        twin = Constant(self.name, self._values, self.data_location, self._export_dtype)
        _copy_facts(self, twin)
        return twin


def as_dtype(dtype: Any) -> dtypes.DType | None:
    """A numpy dtype from a dtype, a scalar type or a `TensorProto.DataType`; None stays None."""
    if isinstance(dtype, int):
        return dtypes.to_numpy(dtype)
    return None if dtype is None else np.dtype(dtype)


def _copy_facts(source: Tensor, twin: Tensor) -> None:
    if source.info is not None:
        twin.info = source.info
    if "_metadata_props" in source.__dict__:
        twin.metadata_props.update(source.metadata_props)
    if source.doc_string:
        twin.doc_string = source.doc_string
