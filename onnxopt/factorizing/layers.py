"""The layers that may be factorized, and what they see on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnxopt.activations.second_order import SecondOrder
from onnxopt.factorizing.low_rank import Floats
from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.linear.layer import Layer, read_layer
from onnxopt.linear.layer_weights import Selection, layer_weights
from onnxopt.linear.match import Gate, NoMatch, as_float64
from onnxopt.linear.setting import Setting


@dataclass(frozen=True)
class Seen:
    """A layer as a matrix, and the second moments of what it is multiplied with."""

    layer: Layer
    weights: Floats
    """[group, output, weight], `alpha` multiplied in."""
    moments: Floats
    """[group, weight, weight]: the covariance where the layer can have a bias, which takes the mean of the error.
    Shrunk towards even ones, the more the fewer positions were seen of so many inputs."""
    mean: Floats | None
    """[group, weight]; None where it cannot."""

    @classmethod
    def of(cls, layer: Layer, seen: SecondOrder) -> Seen:
        """What was gathered of a layer.

        Raises:
            NoMatch: Nothing was.
        """
        if not seen.positions:
            raise NoMatch("no data came")
        canonical = layer.canonical(layer.weight.read()).astype(np.float64) * layer.alpha
        has_bias = layer.node.op != "MatMul"
        weights = canonical.reshape(*canonical.shape[:2], -1)
        moments = _shrunk(seen.moments(centered=has_bias), seen.positions)
        return cls(layer, weights, moments, seen.mean if has_bias else None)

    @property
    def bias(self) -> Floats | None:
        """Of each output, `beta` multiplied in."""
        if self.layer.bias is None:
            return None
        bias = self.layer.beta * as_float64(self.layer.bias).reshape(-1)
        return np.asarray(np.broadcast_to(bias, (self.layer.outputs,)))

    def corrected(self, error: Floats) -> Floats | None:
        """The bias that makes up for the mean of the error of the weights, [group, output, weight]; None for none."""
        bias = self.bias
        if self.mean is None:
            return bias
        mean = (error @ self.mean[:, :, np.newaxis]).reshape(-1)
        if bias is None and not mean.any():
            return None
        return np.asarray(mean if bias is None else bias + mean)


def find_layers(
    edit: Edit,
    ops: Sequence[str],
    selection: Selection,
    setting: Setting,
    gate: Gate,
    require: Callable[[Edit, Layer], bool],
) -> Iterator[Layer]:
    """The layers of the main graph with a constant weight of their own that are selected.

    Args:
        edit: Of the main graph.
        ops: Conv, Gemm, MatMul: some of them.
        selection: Which are asked for.
        setting: What is certain of shapes.
        gate: Takes the reasons why a layer is left alone.
        require: Says whether a layer is of the kind at all, and raises NoMatch for the reason why it is left alone.
    """
    for weight in layer_weights(edit.main, ops):
        if not selection.takes(weight):
            continue
        for node in weight.readers:
            layer = _read(edit, node, setting, gate, require)
            if layer is not None:
                yield layer


def _read(edit: Edit, node: Node, setting: Setting, gate: Gate, require: Callable[[Edit, Layer], bool]) -> Layer | None:
    try:
        layer = read_layer(node, edit.main.opset, setting)
        if not require(edit, layer):
            return None
        _require_own(edit, layer)
    except NoMatch as no:
        gate.refuse(str(no), node)
        return None
    return layer


def _require_own(edit: Edit, layer: Layer) -> None:
    node = layer.node
    weight, data = node.inputs[1], node.inputs[0]
    if edit.scope_of(node) is not edit.main:
        raise NoMatch("it is in a subgraph or function")
    if edit.sole_reader(weight) is not node:
        raise NoMatch(f"its weight '{weight.name}' is read by others too")
    if data.producer is None and data not in edit.main.inputs:
        raise NoMatch(f"its data '{data.name}' are constant")
    if not np.isfinite(layer.weight.read().astype(np.float32)).all():
        raise NoMatch(f"its weight '{weight.name}' holds NaN or infinity")


def _shrunk(moments: Floats, positions: int) -> Floats:
    """Moments as they may be of data that were not seen, as Ledoit and Wolf 2004 shrink them: (1 - p) M + p mean(M) I.

    n samples of d numbers span n directions at most, and what they do not show would cost nothing: 256 samples say next
    to nothing of 1,280 inputs. p = d / (d + n).
    """
    size = moments.shape[-1]
    share = size / (size + positions)
    mean = np.trace(moments, axis1=-2, axis2=-1)[:, np.newaxis, np.newaxis] / size
    return np.asarray((1 - share) * moments + share * mean * np.eye(size))


def is_factor(edit: Edit, layer: Layer) -> bool:
    """Whether a layer and its neighbour are a product of low rank already, with nothing in between.

    To cut one of them once more would add to the error of the first cut.
    """
    node = layer.node
    before, after = node.inputs[0].producer, edit.sole_reader(node.outputs[0])
    return _are_product(edit, before, node) or _are_product(edit, node, after)


def _are_product(edit: Edit, first: Node | None, second: Node | None) -> bool:
    if first is None or second is None or len(first.inputs) != 2 or edit.sole_reader(first.outputs[0]) is not second:
        return False
    return first.is_op("Conv", "Gemm", "MatMul") and second.inputs[0] is first.outputs[0] and second.is_op(first.op)
