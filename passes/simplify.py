"""`simplify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from onnxopt import ir
from onnxopt.errors import BadModel, BadOption
from onnxopt.ir.replace import inherit, replace_content
from onnxopt.ir.weights import weights
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.runtime.child import ChildFailed, run_in_child

_LIMIT = 1_900_000_000
"""Bytes of weights up to which a model can be handed over: protobuf ends at 2 GB."""
_UNLISTED_FROM = 4
"""The IR version since which an initializer need not be an input."""
_TARGET = f"{__name__}:simplified"


@dataclass(frozen=True)
class Simplify(Pass):
    """Run onnxsim (https://github.com/onnxsim/onnxsim) on the whole model, in a process of its own.

    Where onnxsim fails, crashes, takes too long, or returns a model that the ONNX checker refuses or whose inputs or
    outputs differ, the model stays as it is and a warning says why. onnxsim leaves local functions as they are, and is
    not always done after one run: `repeat{max=3}(simplify)`. All of it is one rewrite: bisecting does not look inside.
    Models with more than 1.9 GB of weights are refused. Inputs with a default value are never taken for constants.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    skip_optimizers: tuple[str, ...] = ()
    """Optimizers not to run; `onnxsim --list-default-optimizers` prints their names."""
    fold_constants: bool = True
    """Compute what depends on constants only."""
    infer_shapes: bool = True
    """Let shape inference find more to simplify, and declare what it finds."""
    max_tensor: int = 1 << 20
    """Fold no node whose output takes more bytes: onnxsim's own limit, 1.5 GB, makes small files large."""
    timeout: float = 600.0
    """Seconds after which onnxsim is stopped."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        size = sum(constant.nbytes for constant in weights(graph))
        if size > _LIMIT:
            ctx.refuse(f"{size / 1e9:.1f} GB of weights: onnxsim takes models of up to 2 GB", graph.name)
            return False
        try:
            other = self._simplified(graph)
            inherit(other, graph)
        except (ChildFailed, BadModel) as error:
            ctx.warn(f"the model stays as it was: {str(error).replace(_TARGET, 'onnxsim')}")
            return False
        if ir.to_text(other) == ir.to_text(graph):
            return False
        if not ctx.allow(f"simplified: {len(graph.nodes)} nodes became {len(other.nodes)}", graph.name):
            return False
        replace_content(graph, other)
        return True

    def _simplified(self, graph: ir.Graph) -> ir.Graph:
        model = ir.to_proto(graph)
        _list_no_initializer(model, {tensor.name for tensor in graph.inputs})
        result = run_in_child(
            _TARGET,
            model.SerializeToString(),
            timeout=self.timeout,
            skip_optimizers=self.skip_optimizers,
            fold_constants=self.fold_constants,
            infer_shapes=self.infer_shapes,
            max_tensor=self.max_tensor,
        )
        return ir.from_proto(onnx.ModelProto.FromString(result))


def _list_no_initializer(model: onnx.ModelProto, inputs: set[str]) -> None:
    """Let `inputs` be all the inputs, without defaults: onnxsim takes initializers that are inputs for constants.

    Models of IR version 3 and older list every initializer as an input; onnxsim adds some that it does not list.
    """
    listed = [info for info in model.graph.input if info.name in inputs]
    constant = [tensor for tensor in model.graph.initializer if tensor.name not in inputs]
    del model.graph.input[:], model.graph.initializer[:]
    model.graph.input.extend(listed)
    model.graph.initializer.extend(constant)
    model.ir_version = max(model.ir_version, _UNLISTED_FROM)


def simplified(
    model: bytes, *, skip_optimizers: tuple[str, ...], fold_constants: bool, infer_shapes: bool, max_tensor: int
) -> bytes:
    """What onnxsim makes of a serialized model; the child's side of `simplify`.

    Raises:
        BadOption: onnxsim has no optimizer of that name.
        BadModel: The result fails the ONNX checker.
    """
    import onnxsim
    from onnxsim import onnxsim_cpp2py_export as core

    known = core._list_optimizers() if hasattr(core, "_list_optimizers") else skip_optimizers
    for name in skip_optimizers:
        if name not in known:
            raise BadOption(f"simplify: onnxsim has no optimizer {name!r}{did_you_mean(name, known)}")
    result, ok = onnxsim.simplify(
        onnx.ModelProto.FromString(model),
        skipped_optimizers=list(skip_optimizers),
        skip_constant_folding=not fold_constants,
        skip_shape_inference=not infer_shapes,
        tensor_size_threshold=f"{max_tensor}B",
    )
    if not ok:
        raise BadModel("its result fails its own check")
    return bytes(result.SerializeToString())
