"""Random layers for `random_graphs`: convolutions, pools, normalizations, and what stands next to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.random_shapes import sliced, transposed

if TYPE_CHECKING:
    from tests.random_scopes import Scope
    from tests.random_values import Shape, Value

LAYER = ("float32", "float32", "float32", "float16")


def sizes_of(value: Value) -> list[int] | None:
    sizes = [dim for dim in value.shape[1:] if isinstance(dim, int)]
    return sizes if len(sizes) == len(value.shape) - 1 and min(sizes) > 0 and math.prod(sizes) < 4000 else None


def _window(scope: Scope, sizes: list[int], most_pad: int = 2) -> tuple[dict[str, Any], list[int]] | None:
    """Attributes of a sliding window, and the sizes that it leaves."""
    rng = scope.random
    kernel = [rng.choice([1, 1, 2, 3, 3]) for _ in sizes] if rng.random() < 0.7 else [1] * len(sizes)
    strides = [rng.choice([1, 1, 2]) for _ in sizes]
    dilations = [rng.choice([1, 1, 1, 2]) for _ in sizes] if most_pad else [1] * len(sizes)
    pads = [rng.choice([0, 0, 1, 2]) if most_pad else 0 for _ in range(2 * len(sizes))]
    pads = [min(pad, kernel[i % len(sizes)] - 1) if most_pad == 1 else pad for i, pad in enumerate(pads)]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padded = [size + pads[i] + pads[i + len(sizes)] for i, size in enumerate(sizes)]
    if any(extent > size for extent, size in zip(extents, padded, strict=True)):
        return None
    left = [(size - extent) // step + 1 for size, extent, step in zip(padded, extents, strides, strict=True)]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    for name, default in (("strides", 1), ("dilations", 1), ("pads", 0)):
        if set(attrs[name]) == {default} and rng.random() < 0.5:
            del attrs[name]
    if rng.random() < 0.1 and "dilations" not in attrs:
        attrs.pop("pads", None)
        attrs["auto_pad"] = rng.choice(["SAME_UPPER", "SAME_LOWER"])
        left = [-(-size // step) for size, step in zip(sizes, strides, strict=True)]
    return attrs, left


def convolution(scope: Scope) -> None:
    value = scope.pick(ranks=(3, 4), dtypes=(scope.random.choice(LAYER),))
    if value and (sizes := sizes_of(value)):
        _convolve(scope, value, sizes)


def _convolve(scope: Scope, value: Value, sizes: list[int]) -> Value | None:
    channels, rng = sizes[0], scope.random
    window = _window(scope, sizes[1:])
    if window is None:
        return None
    attrs, left = window
    kernel = attrs["kernel_shape"]
    groups = rng.choice([g for g in (1, channels, 2) if channels % g == 0])
    out = groups * rng.choice([1, 1, 2, 3])
    bound = 1 / math.sqrt(channels // groups * math.prod(kernel))
    weight = scope.weights(out, channels // groups, *kernel, dtype=value.dtype, low=-bound, high=bound)
    bias = scope.weights(out, dtype=value.dtype) if rng.random() < 0.6 else None
    if groups > 1 or rng.random() < 0.5:
        attrs["group"] = groups
    if rng.random() < 0.3:
        del attrs["kernel_shape"]
    return scope.add("Conv", [value, weight, bias], (value.dtype, (value.shape[0], out, *left)), **attrs)


def transposed_convolution(scope: Scope) -> None:
    value = scope.pick(ranks=(3, 4), dtypes=("float32",))
    sizes = value and sizes_of(value)
    if not value or not sizes:
        return
    channels, rng = sizes[0], scope.random
    spatial = range(len(sizes) - 1)
    groups = rng.choice([g for g in (1, channels, 2) if channels % g == 0])
    kernel, strides = [rng.choice([1, 2, 3]) for _ in spatial], [rng.choice([1, 2]) for _ in spatial]
    pads = [rng.randint(0, kernel[i % len(kernel)] - 1) for i in range(2 * len(kernel))]
    extra = [rng.randint(0, step - 1) for step in strides]
    left = [strides[i] * (sizes[i + 1] - 1) + extra[i] + kernel[i] - pads[i] - pads[i + len(kernel)] for i in spatial]
    if min(left) < 1:
        return
    out = rng.choice([1, 2, 3])
    weight = scope.weights(channels, out, *kernel)
    bias = scope.weights(out * groups) if rng.random() < 0.5 else None
    attrs = {"group": groups, "strides": strides, "pads": pads, "output_padding": extra, "kernel_shape": kernel}
    scope.add("ConvTranspose", [value, weight, bias], (value.dtype, (value.shape[0], out * groups, *left)), **attrs)


def pool(scope: Scope) -> None:
    value = scope.pick(ranks=(3, 4), dtypes=("float32",))
    sizes = value and sizes_of(value)
    if not value or not sizes:
        return
    window = _window(scope, sizes[1:], most_pad=1)
    if scope.random.random() < 0.2 or window is None:
        ones = (value.dtype, (value.shape[0], sizes[0], *[1] * (len(sizes) - 1)))
        scope.add(scope.random.choice(["GlobalAveragePool", "GlobalMaxPool"]), [value], ones)
        return
    attrs, left = window
    if "dilations" in attrs:
        return
    op = scope.random.choice(["MaxPool", "AveragePool"])
    if op == "AveragePool" and scope.random.random() < 0.5:
        attrs["count_include_pad"] = 1
    scope.add(op, [value], (value.dtype, (value.shape[0], sizes[0], *left)), **attrs)


def normalization(scope: Scope) -> None:
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float64"))
    if value and isinstance(channels := value.shape[1], int):
        terms = [scope.weights(channels, dtype=value.dtype) for _ in range(3)]
        variance = scope.weights(channels, dtype=value.dtype, low=0.5, high=2)
        attrs: dict[str, Any] = {"epsilon": 1e-3} if scope.chance(0.5) else {}
        if scope.opset >= 14 and scope.chance(0.1):  # training: it normalizes by the batch
            likes: list[Value | tuple[str, Shape]] = [value, *[(value.dtype, (channels,))] * 2]
            terms = [_own(scope, channels, value.dtype, low) for low in (0.5, -1.0, -1.0)]
            variance = _own(scope, channels, value.dtype, 0.5)
            scope.add_many("BatchNormalization", [value, *terms, variance], likes, training_mode=1, **attrs)
            del scope.made[-2:]  # onnxruntime's running variance is not the same each time
        else:
            scope.add("BatchNormalization", [value, *terms, variance], value, **attrs)


def _own(scope: Scope, channels: int, dtype: str, low: float) -> Value:
    """Numbers that nobody else reads: onnxruntime overwrites those of a BatchNormalization that is training."""
    value = scope.constant(scope.model.numbers.uniform(low, 2, channels), dtype)
    scope.constants = [constant for constant in scope.constants if constant is not value]
    scope.made = [made for made in scope.made if made is not value]
    return value


def per_channel(scope: Scope) -> None:
    value = scope.pick(ranks=(2, 3, 4))
    if value and isinstance(channels := value.shape[1], int):
        op = scope.random.choice(["Mul", "Add", "Sub", "Div"])
        shape = [channels, *[1] * (len(value.shape) - 2)]
        shape = [1] * scope.random.randint(0, 1) + shape if scope.chance(0.8) else [1]
        other = scope.weights(*shape, dtype=value.dtype, low=0.5, high=2)
        pair = [value, other] if op != "Mul" and scope.chance(0.8) else [other, value]
        scope.add(op if pair[0] is value or op != "Div" else "Sub", pair, value)


def padding(scope: Scope) -> None:
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float64"))
    if value is None:
        return
    pads = [0 if i < 2 or scope.chance(0.4) else scope.random.choice([0, 1, 1, -1]) for i in range(len(value.shape))]
    more = [0 if i < 2 else scope.random.choice([0, 1]) for i in range(len(value.shape))]
    shape = tuple(d if isinstance(d, str) else d + a + b for d, a, b in zip(value.shape, pads, more, strict=True))
    fixed = all(a == b == 0 for d, a, b in zip(value.shape, pads, more, strict=True) if isinstance(d, str))
    if not fixed or any(isinstance(dim, int) and dim < 1 for dim in shape):
        return
    filled = scope.random.choice([0.0, 0.0, 0.5])
    if scope.opset < 11:
        scope.add("Pad", [value], (value.dtype, shape), pads=pads + more, value=filled)
    else:
        constant = scope.constant(filled, value.dtype) if filled or scope.chance(0.5) else None
        scope.add("Pad", [value, scope.ints(*pads, *more), constant], (value.dtype, shape))


def gemm(scope: Scope) -> None:
    value = scope.pick(ranks=(2,), dtypes=("float32", "float64"))
    if value is None or not isinstance(inner := value.shape[1], int) or inner > 400:
        return
    rng, out = scope.random, scope.random.choice([1, 3, 4, 6])
    turned = scope.chance(0.5)
    weight = scope.weights(*((out, inner) if turned else (inner, out)), dtype=value.dtype)
    bias_shape = rng.choice([(out,), (1, out), (1,), ()])
    attrs: dict[str, Any] = {"transB": 1} if turned else {}
    attrs |= {"alpha": 0.5} if scope.chance(0.3) else {}
    attrs |= {"beta": 2.0} if scope.chance(0.3) else {}
    bias = scope.weights(*bias_shape, dtype=value.dtype) if scope.opset < 11 or scope.chance(0.7) else None
    like = (value.dtype, (value.shape[0], out))
    if scope.chance(0.25):  # the data or the weight transposed by a node instead
        value = transposed(scope, value, [1, 0])
        attrs["transA"] = 1
    elif scope.chance(0.2) and "transB" in attrs:
        weight = transposed(scope, weight, [1, 0])
        del attrs["transB"]
    scope.add("Gemm", [value, weight, bias], like, **attrs)


def matmul(scope: Scope) -> None:
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float32", "float64"))
    if value is None or not isinstance(inner := value.shape[-1], int) or inner > 400:
        return
    out = scope.random.choice([1, 3, 4, 6])
    if scope.chance(0.2) and isinstance(rows := value.shape[-2], int):
        weight = scope.weights(out, rows, dtype=value.dtype)
        made = scope.add("MatMul", [weight, value], (value.dtype, (*value.shape[:-2], out, inner)))
    else:
        weight = scope.weights(inner, out, dtype=value.dtype)
        if scope.chance(0.15):
            weight = transposed(scope, scope.weights(out, inner, dtype=value.dtype), [1, 0])
        made = scope.add("MatMul", [value, weight], (value.dtype, (*value.shape[:-1], out)))
    if scope.chance(0.5) and isinstance(width := made.shape[-1], int):
        scope.apply("Add", made, scope.weights(*scope.random.choice([(width,), (1, width), (1,)]), dtype=value.dtype))


def separable(scope: Scope) -> None:
    """A depthwise convolution next to a 1x1 one, as in MobileNet, with and without what stands between."""
    value = scope.pick(ranks=(4,), dtypes=("float32",))
    sizes = value and sizes_of(value)
    if not value or not sizes or min(sizes[1:]) < 3:
        return
    channels, left = sizes[0], [size - 2 for size in sizes[1:]]
    pads = {"pads": [1, 1, 1, 1]} if scope.chance(0.5) else {}
    left = sizes[1:] if pads else left
    depthwise_first = scope.chance(0.5)
    for step in (0, 1):
        batch = value.shape[0]
        if (step == 0) == depthwise_first:
            weight = scope.weights(channels, 1, 3, 3, low=-0.3, high=0.3)
            like = (value.dtype, (batch, channels, *left))
            value = scope.add("Conv", [value, weight, _bias(scope, channels)], like, group=channels, **pads)
        else:
            out = scope.random.choice([1, 2, channels])
            weight = scope.weights(out, channels, 1, 1)
            value = scope.add("Conv", [value, weight, _bias(scope, out)], (value.dtype, (batch, out, *value.shape[2:])))
            channels = out
        if scope.chance(0.3):
            value = scope.apply("Mul", value, scope.weights(channels, 1, 1, low=0.5, high=2))


def _bias(scope: Scope, channels: int) -> Value | None:
    return scope.weights(channels) if scope.chance(0.5) else None


def splitting(scope: Scope) -> None:
    """Split in two, perhaps a convolution on each piece, perhaps joined again."""
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float32", "float64"))
    if value is None or not isinstance(size := value.shape[1], int) or size < 2:
        return
    first = scope.random.randint(1, size - 1) if scope.chance(0.5) else size // 2
    sizes = [first, size - first]
    likes = [(value.dtype, (value.shape[0], part, *value.shape[2:])) for part in sizes]
    if scope.chance(0.3):
        bounds = [(0, first), (first, size)]
        pieces = [sliced(scope, value, [1], [a], [b], None, like) for (a, b), like in zip(bounds, likes, strict=True)]
    elif scope.opset < 13:
        pieces = scope.add_many("Split", [value], likes, axis=1, split=sizes)
    else:
        pieces = scope.add_many("Split", [value, scope.ints(*sizes)], likes, axis=1)
    spatial = sizes_of(value)
    if spatial and value.dtype == "float32" and len(spatial) > 1 and scope.chance(0.6):
        state = scope.random.getstate()
        convolved = []
        for piece, part in zip(pieces, sizes, strict=True):
            scope.random.setstate(state)  # the same window for each
            convolved.append(_convolve(scope, piece, [part, *spatial[1:]]) or piece)
        pieces = convolved
    if scope.chance(0.7) and pieces[0].shape[2:] == pieces[1].shape[2:]:
        channels = sum(dim for piece in pieces if isinstance(dim := piece.shape[1], int))
        scope.add("Concat", pieces, (value.dtype, (value.shape[0], channels, *pieces[0].shape[2:])), axis=1)


def stack(scope: Scope) -> None:
    """Layers, and what may go into them, one after the other."""
    scope.is_focused = True
    steps = [convolution, convolution, normalization, per_channel, per_channel, padding]
    steps = [gemm, matmul, per_channel, normalization] if scope.chance(0.25) else steps
    for _ in range(scope.random.randint(2, 6)):
        scope.random.choice(steps)(scope)
    scope.is_focused = False
