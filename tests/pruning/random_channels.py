"""Random small image networks of all operators that channels are followed through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from onnxopt import ir
from tests.pruning.channel_models import model

SIZE = 4
"""Height and width of all images."""


@dataclass
class Network:
    """A network that is being written."""

    draw: st.DrawFn
    lines: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    count: int = 0

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def weight(self, *shape: int, kind: str = "w") -> str:
        name = f"{kind}{len(self.weights)}"
        self.weights.append(" ".join([name, *map(str, shape)]))
        return name

    def node(self, op: str, *inputs: str, attrs: str = "") -> str:
        name = self.name()
        self.lines.append(f"{name} = {op} {f'<{attrs}>' if attrs else ''} ({', '.join(inputs)})")
        return name

    def integers(self, *values: int) -> str:
        name = self.name()
        self.lines.append(f"let int64[{len(values)}] {name} = [{', '.join(map(str, values))}]")
        return name

    def conv(self, data: str, channels: int, outputs: int, group: int = 1) -> str:
        kernel = self.draw(st.sampled_from([1, 3]))
        pads = kernel // 2
        weight = self.weight(outputs, channels // group, kernel, kernel)
        bias = [self.weight(outputs)] if self.draw(st.booleans()) else []
        return self.node("Conv", data, weight, *bias, attrs=f"group = {group}, pads = [{pads}, {pads}, {pads}, {pads}]")


Block = Callable[[Network, str, int], tuple[str, int]]


def dense(net: Network, x: str, channels: int) -> tuple[str, int]:
    outputs = net.draw(st.sampled_from([4, 6, 8, 12]))
    return net.conv(x, channels, outputs), outputs


def depthwise(net: Network, x: str, channels: int) -> tuple[str, int]:
    times = net.draw(st.sampled_from([1, 2]))
    return net.conv(x, channels, channels * times, channels), channels * times


def grouped(net: Network, x: str, channels: int) -> tuple[str, int]:
    return net.conv(x, channels, channels, 2), channels


def transposed(net: Network, x: str, channels: int) -> tuple[str, int]:
    group = net.draw(st.sampled_from([1, 2, channels]))
    weight = net.weight(channels, 6 if group == 1 else channels // group, 3, 3)
    y = net.node("ConvTranspose", x, weight, attrs=f"group = {group}, pads = [1, 1, 1, 1]")
    return y, 6 if group == 1 else channels


def activation(net: Network, x: str, channels: int) -> tuple[str, int]:
    op = net.draw(st.sampled_from(["Relu", "Sigmoid", "HardSwish", "Elu", "PRelu", "Exp", "Softplus"]))
    return (net.node(op, x, net.weight(channels, 1, 1)) if op == "PRelu" else net.node(op, x)), channels


def normalized(net: Network, x: str, channels: int) -> tuple[str, int]:
    op = net.draw(st.sampled_from(["BatchNormalization", "InstanceNormalization", "GroupNormalization"]))
    scale, shift = net.weight(channels), net.weight(channels)
    if op == "BatchNormalization":
        return net.node(op, x, scale, shift, net.weight(channels), net.weight(channels, kind="var")), channels
    attrs = "num_groups = 2" if op == "GroupNormalization" else ""
    return net.node(op, x, scale, shift, attrs=attrs), channels


def residual(net: Network, x: str, channels: int) -> tuple[str, int]:
    branch = net.conv(net.node("Relu", x), channels, channels)
    return net.node(net.draw(st.sampled_from(["Add", "Mul", "Max"])), x, branch), channels


def inverted(net: Network, x: str, channels: int) -> tuple[str, int]:
    wide = net.node("Clip", net.conv(x, channels, 12))
    deep = net.node("Relu", net.conv(wide, 12, 12, 12))
    return net.node("Add", net.conv(deep, 12, channels), x), channels


def excited(net: Network, x: str, channels: int) -> tuple[str, int]:
    mean = net.node("GlobalAveragePool", x)
    squeezed = net.node("Relu", net.node("Conv", mean, net.weight(4, channels, 1, 1)))
    gate = net.node("Sigmoid", net.node("Conv", squeezed, net.weight(channels, 4, 1, 1), net.weight(channels)))
    return net.node("Mul", x, gate), channels


def branched(net: Network, x: str, channels: int) -> tuple[str, int]:
    one, two = net.conv(x, channels, 4), net.conv(x, channels, 6)
    parts, total = net.draw(st.sampled_from([([x, one, two], channels + 10), ([one, two], 10), ([two, one, two], 16)]))
    return net.node("Concat", *parts, attrs="axis = 1"), total


def divided(net: Network, x: str, channels: int) -> tuple[str, int]:
    first = net.draw(st.integers(1, channels - 1))
    a, b = net.name(), net.name()
    sizes = net.integers(first, channels - first)
    net.lines.append(f"{a}, {b} = Split <axis = 1> ({x}, {sizes})")
    parts = net.draw(st.permutations([net.node("Relu", a), b]))
    return net.node("Concat", *parts, attrs="axis = 1"), channels


def sliced(net: Network, x: str, channels: int) -> tuple[str, int]:
    start = net.draw(st.integers(0, channels - 2))
    end = net.draw(st.integers(start + 2, channels))
    return net.node("Slice", x, net.integers(start), net.integers(end), net.integers(1)), end - start


def gathered(net: Network, x: str, channels: int) -> tuple[str, int]:
    which = net.draw(st.lists(st.integers(-channels, channels - 1), min_size=4, max_size=8))
    return net.node("Gather", x, net.integers(*which), attrs="axis = 1"), len(which)


def shuffled(net: Network, x: str, channels: int) -> tuple[str, int]:
    apart = net.node("Reshape", x, net.integers(-1, 2, channels // 2, SIZE, SIZE))
    turned = net.node("Transpose", apart, attrs="perm = [0, 2, 1, 3, 4]")
    return net.node("Reshape", turned, net.integers(-1, channels, SIZE, SIZE)), channels


def rearranged(net: Network, x: str, channels: int) -> tuple[str, int]:
    mode = net.draw(st.sampled_from(["DCR", "CRD"]))
    deep = net.node("SpaceToDepth", x, attrs="blocksize = 2")
    return net.node("DepthToSpace", deep, attrs=f'blocksize = 2, mode = "{mode}"'), channels


def pooled(net: Network, x: str, channels: int) -> tuple[str, int]:
    op = net.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    return net.node(op, x, attrs="kernel_shape = [3, 3], pads = [1, 1, 1, 1]"), channels


def attending(net: Network, x: str, channels: int) -> tuple[str, int]:
    """Two heads over the positions."""
    tokens = net.node("Transpose", net.node("Reshape", x, net.integers(0, channels, -1)), attrs="perm = [0, 2, 1]")
    split, places = net.integers(-1, SIZE * SIZE, 2, 4), []
    for perm in ("0, 2, 1, 3", "0, 2, 3, 1", "0, 2, 1, 3"):
        made = net.node("MatMul", tokens, net.weight(channels, 8))
        made = net.node("Add", made, net.weight(8))
        places.append(net.node("Transpose", net.node("Reshape", made, split), attrs=f"perm = [{perm}]"))
    query, key, value = places
    found = net.node("MatMul", net.node("Softmax", net.node("MatMul", query, key), attrs="axis = -1"), value)
    merged = net.node("Reshape", net.node("Transpose", found, attrs="perm = [0, 2, 1, 3]"), net.integers(0, 0, 8))
    out = net.node("MatMul", merged, net.weight(8, channels))
    image = net.node("Transpose", net.node("Add", out, tokens), attrs="perm = [0, 2, 1]")
    return net.node("Reshape", image, net.integers(0, 0, SIZE, SIZE)), channels


BLOCKS: tuple[Block, ...] = (
    *(dense, depthwise, grouped, transposed, activation, normalized, residual, inverted, excited, branched, divided),
    *(sliced, gathered, shuffled, rearranged, pooled, attending),
)
_EVEN = (grouped, shuffled, normalized, transposed)
"""They need an even number of channels."""


@st.composite
def networks(draw: st.DrawFn) -> ir.Graph:
    """A convolution, some blocks, and an end that reads the channels."""
    net = Network(draw)
    x, channels = net.conv("x", 3, 8), 8
    for block in draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5)):
        if channels % 2 and block in _EVEN:
            x, channels = dense(net, x, channels)
        x, channels = block(net, x, channels)
        if channels > 24:
            x, channels = dense(net, x, channels)
    end = draw(st.sampled_from(["conv", "features", "pooled", "sum"]))
    if end == "conv":
        y, shape = net.conv(x, channels, 5), "float[N, 5, p, q]"
    elif end == "sum":
        y, shape = net.node("ReduceSum", x, net.integers(1)), "float[N, 1, p, q]"
    else:
        x = net.node("GlobalAveragePool", x) if end == "pooled" else x
        features = channels if end == "pooled" else channels * SIZE * SIZE
        y = net.node("Gemm", net.node("Flatten", x), net.weight(features, 5), net.weight(5))
        shape = "float[N, 5]"
    body = " ".join([*net.lines, f"y = Identity ({y})"])
    return model("; ".join(net.weights), body, x=f"float[N, 3, {SIZE}, {SIZE}]", y=shape)
