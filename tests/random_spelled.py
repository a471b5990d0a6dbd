"""Random nodes for `random_graphs`: activations and normalizations as exporters spell them, right or almost.

Constants are sometimes slightly wrong, interiors have other readers sometimes, operands stand in any order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.random_chains import reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.random_scopes import Scope
    from tests.random_values import Value


def _near(scope: Scope, number: float) -> float:
    """The number, mostly."""
    return number * scope.random.choice([1.001, 2.0, -1.0]) if scope.chance(0.04) else number


def activation(scope: Scope) -> None:
    value = scope.pick(dtypes=("float32", "float32", "float16", "float64"))
    if value is None or (scope.opset < 9 and value.dtype != "float32"):
        return
    before = len(scope.made)
    scope.random.choice(ACTIVATIONS)(scope, value)
    _share(scope, before)


def _share(scope: Scope, before: int) -> None:
    """Let somebody else read what is computed on the way, now and then."""
    inner = [v for v in scope.made[before:-1] if v.is_float]
    if inner and scope.chance(0.12):
        scope.apply("Mul", scope.random.choice(inner), 2)


def _half_times(scope: Scope, x: Value, twice: Value) -> None:
    """x twice / 2."""
    form = scope.random.randrange(4)
    if form == 0:
        scope.apply("Mul", scope.apply("Mul", x, twice), _near(scope, 0.5))
    elif form == 1:
        scope.apply("Mul", scope.apply("Mul", x, _near(scope, 0.5)), twice)
    elif form == 2:
        scope.apply("Mul", x, scope.apply("Mul", twice, 0.5))
    else:
        scope.apply("Div", scope.apply("Mul", x, twice), 2.0)


def _gelu(scope: Scope, x: Value) -> None:
    if scope.opset < 9 or x.dtype == "float64":
        return
    root = _near(scope, math.sqrt(2))
    inner = scope.apply("Div", x, root) if scope.chance(0.5) else scope.apply("Mul", x, 1 / root)
    _half_times(scope, x, scope.apply("Add", scope.add("Erf", [inner], inner), _near(scope, 1.0)))


def _gelu_tanh(scope: Scope, x: Value) -> None:
    if x.dtype != "float32":
        return
    cube = scope.apply("Pow", x, 3.0) if scope.chance(0.5) else scope.apply("Mul", scope.apply("Mul", x, x), x)
    line = scope.apply("Add", x, scope.apply("Mul", cube, _near(scope, 0.044715)))
    tanh = scope.add("Tanh", [scope.apply("Mul", line, math.sqrt(2 / math.pi))], line)
    _half_times(scope, x, scope.apply("Add", tanh, 1.0))


def _clip(scope: Scope, x: Value, low: float, high: float) -> Value:
    if scope.opset < 11:
        return scope.add("Clip", [x], x, min=float(low), max=float(high))
    return scope.add("Clip", [x, scope.constant(low, x.dtype), scope.constant(high, x.dtype)], x)


def _hard_swish(scope: Scope, x: Value) -> None:
    ramp = _clip(scope, scope.apply("Add", x, _near(scope, 3.0)), 0, _near(scope, 6.0))
    form = scope.random.randrange(3)
    if form == 0:
        scope.apply("Div", ramp, 6.0)
    elif form == 1:
        scope.apply("Mul", x, scope.apply("Div", ramp, 6.0))
    else:
        scope.apply("Div", scope.apply("Mul", x, ramp), _near(scope, 6.0))


def _silu(scope: Scope, x: Value) -> None:
    inner = x if scope.chance(0.7) else scope.apply("Mul", x, 1.702)
    scope.apply("Mul", x, scope.add("Sigmoid", [inner], inner))


def _mish(scope: Scope, x: Value) -> None:
    if scope.chance(0.5):
        plus = scope.add("Softplus", [x], x)
    else:
        plus = scope.add("Log", [scope.apply("Add", scope.add("Exp", [x], x), _near(scope, 1.0))], x)
    scope.apply("Mul", x, scope.add("Tanh", [plus], plus))


def _sigmoid(scope: Scope, x: Value) -> None:
    below = scope.apply("Add", scope.add("Exp", [scope.add("Neg", [x], x)], x), _near(scope, 1.0))
    one = scope.scalar(1.0, x.dtype)
    scope.apply("Div", one if scope.chance(0.6) else x, below)


def _bounded(scope: Scope, x: Value) -> None:
    """Max, Min and Where: Relu, Clip, LeakyRelu, PRelu."""
    if scope.opset < 9 or x.dtype == "float16":
        return
    form = scope.random.randrange(5)
    if form == 0:
        scope.apply("Max", x, _near(scope, 0.0))
    elif form == 1:
        scope.apply("Min", scope.apply("Max", x, -0.5), 0.75)
    elif form == 2:
        scope.apply("Max", x, scope.apply("Mul", x, scope.random.choice([0.1, 0.5, 1.0, 2.0])))
    elif form == 3 and x.dtype == "float32":
        positive = scope.apply("Greater", x, 0.0)
        scope.add("Where", [positive, x, scope.apply("Mul", x, 0.1)], x)
    else:
        negative = scope.add("Relu", [scope.add("Neg", [x], x)], x)
        scope.apply("Sub", scope.add("Relu", [x], x), scope.apply("Mul", negative, 0.25))


ACTIVATIONS: tuple[Callable[[Scope, Value], None], ...] = (
    _gelu, _gelu, _gelu_tanh, _hard_swish, _silu, _mish, _sigmoid, _bounded, _bounded,
)  # fmt: skip


def norm(scope: Scope) -> None:
    """A normalization, spelled out."""
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float32", "float32", "float16", "float64"))
    if value is None or 0 in value.shape or scope.opset < 8:
        return
    before = len(scope.made)
    scope.random.choice(NORMS)(scope, value)
    _share(scope, before)


def _mean(scope: Scope, value: Value, count: int) -> Value:
    """Over the last axes."""
    axes = list(range(len(value.shape) - count, len(value.shape)))
    if scope.chance(0.5) and scope.model.from_the_end:
        axes = list(range(-count, 0))
    like = (value.dtype, (*value.shape[:-count], *[1] * count))
    if scope.opset >= 18:
        return scope.add("ReduceMean", [value, scope.ints(*axes)], like)
    return scope.add("ReduceMean", [value], like, axes=axes, keepdims=1)


def _square(scope: Scope, value: Value) -> Value:
    if scope.chance(0.5) and value.dtype == "float32":
        return scope.apply("Pow", value, _near(scope, 2.0))
    return scope.apply("Mul", value, value)


def _over_root(scope: Scope, above: Value, below: Value) -> Value:
    root = scope.add("Sqrt", [below], below)
    if scope.chance(0.7):
        return scope.apply("Div", above, root)
    return scope.apply("Mul", above, scope.add("Reciprocal", [root], root))


def _scaled(scope: Scope, value: Value, count: int) -> None:
    """With a scale and bias of the last axes, or of the channels, mostly."""
    shape = [dim for dim in value.shape[-count:] if isinstance(dim, int)]
    if len(value.shape) > 2 and scope.chance(0.3):
        shape = [dim if isinstance(dim := value.shape[1], int) else 1, *[1] * (len(value.shape) - 2)]
    if len(shape) == count or len(shape) == len(value.shape) - 1:
        if scope.chance(0.8):
            value = scope.apply("Mul", value, scope.weights(*shape, dtype=value.dtype, low=0.5, high=2))
        if scope.chance(0.8):
            scope.apply("Add", value, scope.weights(*shape, dtype=value.dtype))


def _axes_count(scope: Scope, value: Value) -> int:
    return 1 if len(value.shape) < 4 or scope.chance(0.5) else 2


def _moments(scope: Scope, x: Value) -> None:
    """LayerNormalization; InstanceNormalization over two spatial axes."""
    count = _axes_count(scope, x)
    apart = scope.apply("Sub", x, _mean(scope, x, count))
    variance = _mean(scope, _square(scope, apart), count)
    _scaled(scope, _over_root(scope, apart, scope.apply("Add", variance, _near(scope, 1e-5))), count)


def _root_mean_square(scope: Scope, x: Value) -> None:
    count = _axes_count(scope, x)
    _scaled(scope, _over_root(scope, x, scope.apply("Add", _mean(scope, _square(scope, x), count), 1e-6)), count)


def _softmax(scope: Scope, x: Value) -> None:
    axis = scope.random.randrange(len(x.shape))
    shifted = scope.apply("Sub", x, reduced(scope, "ReduceMax", x, axis, 1)) if x.dtype != "float16" else x
    e = scope.add("Exp", [shifted], x)
    total = reduced(scope, "ReduceSum", e, axis if scope.chance(0.95) else 0, 1)
    if scope.chance(0.7):
        scope.apply("Div", e, total)
    else:
        scope.apply("Sub", shifted, scope.add("Log", [total], total))


def _unit_length(scope: Scope, x: Value) -> None:
    length = reduced(scope, "ReduceL2", x, len(x.shape) - 1, 1)
    scope.apply("Div", x, scope.apply("Max", length, 1e-12) if x.dtype == "float32" else length)


def _groups(scope: Scope, x: Value) -> None:
    """nn.GroupNorm of torch."""
    channels, sizes = x.shape[1], x.shape[2:]
    if len(x.shape) < 3 or x.dtype != "float32" or not isinstance(channels, int) or channels % 2:
        return
    if not all(isinstance(dim, int) for dim in sizes):
        return
    total = channels * math.prod(dim for dim in sizes if isinstance(dim, int))
    grouped = scope.add("Reshape", [x, scope.ints(0, 2, -1)], (x.dtype, (x.shape[0], 2, total // 2)))
    scale, bias = scope.constant([1.0, _near(scope, 1.0)]), scope.constant([0.0, 0.0])
    normal = scope.add("InstanceNormalization", [grouped, scale, bias], grouped, epsilon=1e-5)
    lead = 0 if isinstance(x.shape[0], str) else x.shape[0]
    back = scope.ints(lead, *[dim for dim in x.shape[1:] if isinstance(dim, int)])
    value = scope.add("Reshape", [normal, back], x)
    shape = [channels, *[1] * len(sizes)]
    value = scope.apply("Mul", value, scope.weights(*shape, low=0.5, high=2))
    scope.apply("Add", value, scope.weights(*shape))


def _average(scope: Scope, x: Value) -> None:
    """The mean over all of an image."""
    if len(x.shape) == 4:
        _mean(scope, x, 2)


NORMS = (_moments, _moments, _moments, _root_mean_square, _softmax, _unit_length, _groups, _average)
