"""`convert-opset`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import onnxruntime as ort
from onnx import TensorProto, defs, helper

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.proven import ProvenShapes
from onnxopt.opsets import NEWEST, OLDEST, Conversion, plan
from onnxopt.opsets.kernels import lost_version
from onnxopt.pipeline.base import Context, Pass, Preserves, describe
from onnxopt.runtime.session import NotRunnable, Session


@dataclass(frozen=True)
class ConvertOpset(Pass):
    """Bring the model to another version of the default operator set, newer or older: the same outputs, or a refusal.

    From opset 6 on, to 13 and newer ones that onnx and onnxruntime know. The main graph, its subgraphs and the local
    functions, which may be of other opsets, all come to the one that is asked for; other domains stay as they are. It
    is one rewrite: where one node cannot be converted, or it cannot be known that its outputs stay the same, the model
    stays as it was, a warning says which node and why, and `--explain convert-opset` has all of them.

    What moved from attributes to inputs moves, and back where the inputs are known; what only says a default is left
    out; Softmax, LogSoftmax and Hardmax of opset 12 and older, over several axes, become a Flatten and a Reshape around
    one over the last; Shape of a part a Slice; Upsample and Scatter what replaced them; `axis` of broadcasting
    (opset 6) an Unsqueeze. Going up asks for little: a type or a shape where an operator changed by it.

    Refused: operators that the opset has not (Gelu before 20), attributes and modes that it cannot say, types that an
    operator does not take there, or that are not known where it matters (in functions: inline them first); axes, pads,
    shapes that are computed where they have to be known; BatchNormalization and Dropout that train by the rules of
    opset 13 and older; pooling with `ceil_mode` whose windows are others since 22; the nearest sample of a Resize of
    opset 10 that shrinks; for onnxruntime, operators that it has no kernel for any more (RoiAlign of 22).

    Weights are neither read nor copied. The IR version follows: up to the one that came with the opset, and down as far
    as what else the model has allows, since older runtimes refuse a newer one.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    opset: int
    """The version of the default operator set to bring the model to."""

    def __post_init__(self) -> None:
        """Refuse an opset that cannot be converted to."""
        newest = min(NEWEST, defs.onnx_opset_version())
        if not OLDEST <= self.opset <= newest:
            raise ValueError(f"opset: models are converted to opset {OLDEST} to {newest}, not to {self.opset}")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed.

        Raises:
            BadOption: onnxruntime does not run models of this opset.
        """
        conversion = plan(graph, self.opset, lambda: ctx.analysis(ProvenShapes, graph))
        if not conversion.roots:
            return False
        _require_runtime(self.opset)
        was = graph.opset
        if ctx.target in (None, "onnx"):
            conversion.refused += _without_kernel(conversion)
        for node, reason in conversion.refused:
            ctx.refuse(reason, node or graph.name)
        if conversion.refused:
            node, reason = conversion.refused[0]
            more = f" (and {len(conversion.refused) - 1} more)" if len(conversion.refused) > 1 else ""
            where = f"{describe(node)}: " if node else ""
            ctx.warn(f"the model stays at opset {was}: {where}{reason}{more}")
            return False
        rewritten = len(conversion.drafts)
        if not ctx.allow(f"opset {was} to {self.opset}, {rewritten} nodes rewritten", graph.name):
            return False
        conversion.apply()
        for _, draft in conversion.drafts:
            ctx.touched.setdefault(draft.node, []).append(f"opset {was} to {self.opset}")
        ctx.count("nodes rewritten", rewritten)
        return True


def _without_kernel(conversion: Conversion) -> Iterator[tuple[ir.Node, str]]:
    """Nodes that onnxruntime runs and then would not."""
    for root in conversion.roots:
        for node in (node for scope in (root, *root.subgraphs(recursive=True)) for node in scope.nodes):
            if node.is_standard and (version := lost_version(node.op, root.opset, conversion.target)):
                yield node, f"onnxruntime has no kernel for version {version} of the operator"


@lru_cache(maxsize=32)
def _require_runtime(opset: int) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", [value], [output])
    imports = [helper.make_opsetid("", opset)]
    version = helper.find_min_ir_version_for(imports)
    try:
        Session(helper.make_model(graph, opset_imports=imports, ir_version=version))
    except NotRunnable as error:
        raise BadOption(f"convert-opset: onnxruntime {ort.__version__} does not run opset {opset}") from error
