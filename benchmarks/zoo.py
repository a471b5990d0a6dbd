"""The models that optimizers are measured on, where their files are, and what to feed them.

    python benchmarks/zoo.py [--only TEXT]

makes what is missing and prints nodes, size and path of each. The torch models are exported by `python
benchmarks/zoo_torch.py`, in an environment that has torch; all others are made or downloaded when first asked for.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import FIXTURES
from zoo_made import LIGHT, make

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Sizes = Mapping[str, int]
"""By symbol: the size of a dynamic dimension. Or by input: the number to feed a scalar."""
Fill = Callable[[np.random.Generator, tuple[int, ...], Sizes], Array]


class MissingModel(Exception):
    """A model is not there, and cannot be made here. The message has the command that makes it."""


def normal(scale: float = 1.0) -> Fill:
    """Random numbers."""
    return lambda rng, shape, _: np.asarray(rng.normal(0, scale, shape), np.float32)


def _tokens(rng: np.random.Generator, shape: tuple[int, ...], _: Sizes) -> Array:
    return rng.integers(0, 2000, shape)


def _mask(rng: np.random.Generator, shape: tuple[int, ...], _: Sizes) -> Array:
    """Ones, and at the end of some rows zeros: texts of several lengths in one batch."""
    lengths = rng.integers((shape[1] + 1) // 2, shape[1] + 1, shape[0])
    return np.asarray(np.arange(shape[1]) < lengths[:, None], np.int64)


@dataclass(frozen=True)
class Model:
    """A model of the zoo."""

    name: str
    find: Callable[[], Path]
    """Its file; made or downloaded when it is not there. Raises MissingModel."""
    bindings: tuple[Sizes, Sizes] = ({}, {})
    """Two sizes for each dynamic dimension. One without a name, or named "?", is called `input.axis`."""
    timed: Sizes | None = field(default_factory=dict)
    """The sizes at which latency is measured; None where it is not."""
    fills: Mapping[str, Fill] = field(default_factory=dict)
    """What to put into an input, where it is not random numbers of variance 1."""
    figure: str = ""
    """Which of the figures known from elsewhere (benchmarks/optimizers_figures.py) this export is nearest to."""

    def feeds(self, sizes: Sizes, seed: int = 0) -> Feeds:
        """Inputs for sizes of its dynamic dimensions; the same for the same seed."""
        import onnx

        graph = onnx.load(self.find(), load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        found: Feeds = {}
        for info in graph.input:
            if info.name in weights:
                continue
            dims = info.type.tensor_type.shape.dim
            shape = tuple(_size(info.name, axis, dim, sizes) for axis, dim in enumerate(dims))
            rng = np.random.default_rng([seed, zlib.crc32(info.name.encode())])
            found[info.name] = self.fills.get(info.name, normal())(rng, shape, sizes)
        return found


def _size(name: str, axis: int, dim: Any, sizes: Sizes) -> int:
    if dim.dim_value > 0:
        return int(dim.dim_value)
    return sizes[dim.dim_param if dim.dim_param not in ("", "?") else f"{name}.{axis}"]


def folder() -> Path:
    """Where the models are: $ONNXOPT_CACHE/zoo, by default ~/.cache/onnxopt/zoo."""
    sys.path.insert(0, str(FIXTURES))
    from real_models import cache_folder

    path: Path = cache_folder() / "zoo"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _exported(name: str) -> Path:
    path = folder() / f"{name}.onnx"
    if not path.exists():
        raise MissingModel(f"{name}: run `python benchmarks/zoo_torch.py` in an environment with torch")
    return path


def _made(name: str) -> Path:
    path = folder() / f"{name}.onnx"
    return path if path.exists() else make(name, folder())


def _downloaded(name: str) -> Path:
    sys.path.insert(0, str(FIXTURES))
    from real_models import RealModelUnavailable, real_model

    try:
        path: Path = real_model(name)
    except RealModelUnavailable as error:
        raise MissingModel(f"{name}: {error}") from error
    return path


def zoo() -> list[Model]:
    """All of them; no file is looked for yet."""
    return [*_exported_models(), *_light_models(), *_real_models(), *_large_models()]


def _exported_models() -> list[Model]:
    images: tuple[Sizes, Sizes] = ({"batch": 1}, {"batch": 3})
    text: tuple[Sizes, Sizes] = ({"batch": 1, "sequence": 16}, {"batch": 3, "sequence": 37})
    fills = {"input_ids": _tokens, "ids": _tokens, "attention_mask": _mask}
    figures = {"bert_plain-ts": "BERT", "vit_plain-ts": "ViT", "shape_heavy-ts": "shape-heavy transformer"}
    vision = ("mobilenet_v3_small", "resnet18", "convnext_atto", "vit_tiny")
    words = ("bert", "bert_sdpa", "gpt2", "encoder", "shape_heavy", "lstm")
    found = []
    for name in [f"{base}-{way}" for base in (*vision, *words) for way in ("ts", "dynamo")]:
        if name == "encoder-ts":  # benchmarks/zoo_torch.py says why
            continue
        bindings = images if name.startswith(vision) else text
        timed = {"batch": 1, "sequence": 64} if bindings is text else {"batch": 1}
        found.append(Model(name, _finder(_exported, name), bindings, timed, fills, figures.get(name, "")))
    fixed = ("vit_tiny_sdpa-ts", "bert_static-ts", "bert_plain-ts", "vit_plain-ts")
    found += [Model(name, _finder(_exported, name), fills=fills, figure=figures.get(name, "")) for name in fixed]
    found.append(Model("mobilenet_v3_small-qdq", _finder(_made, "mobilenet_v3_small-qdq"), images, {"batch": 1}))
    return found


def _light_models() -> list[Model]:
    figures = {"light_densenet121": "densenet121"}
    return [Model(name, _finder(_made, name), figure=figures.get(name, "")) for name in LIGHT]


def _real_models() -> list[Model]:
    digits = FIXTURES / "digits_mobilenet" / "digits_mobilenet.onnx"
    beauty = FIXTURES / "tinybeauty" / "tinybeauty.onnx"
    functions = FIXTURES / "torch_functions" / "torch_functions.onnx"
    speech: dict[str, Fill] = {
        "input": normal(0.1),
        "state": normal(0.3),
        "sr": lambda rng, shape, sizes: np.asarray(sizes["sr"], np.int64),
    }
    one, two = {"batch": 1}, {"batch": 2}
    lines = [{"x.0": batch, "x.2": 48, "x.3": width} for batch, width in ((1, 192), (2, 160))]
    windows = [{"unk__749": batch} for batch in (1, 2)]
    rates = ((1, 16000), (2, 8000))  # silero-vad has a branch for each; a chunk is 36 ms
    chunks = [{"input.0": b, "input.1": r * 36 // 1000, "state.1": b, "sr": r} for b, r in rates]
    fast = [{"batch": batch, "sequence": 576, "sr": 16000} for batch in (1, 2)]
    return [
        Model("digits_mobilenet", lambda: digits, (one, two), one),
        Model("tinybeauty", lambda: beauty, (one, two), one),
        Model("torch_functions", lambda: functions, (one, two), one),
        Model("ppocr_cls", _finder(_downloaded, "ppocr_cls"), (lines[0], lines[1]), lines[0]),
        Model("basic_pitch", _finder(_downloaded, "basic_pitch"), (windows[0], windows[1]), windows[0]),
        Model("silero_vad", _finder(_downloaded, "silero_vad"), (chunks[0], chunks[1]), chunks[0], speech),
        Model("silero_vad_16k_op15", _finder(_downloaded, "silero_vad_16k_op15"), (fast[0], fast[1]), fast[0], speech),
    ]


def _large_models() -> list[Model]:
    batch = {"batch": 4}
    return [
        Model("synthetic_20001", _finder(_made, "synthetic_20001"), ({"batch": 1}, batch), batch),
        Model("heavy_small", _finder(_made, "heavy_small")),
        Model("heavy", _finder(_made, "heavy"), timed=None),
    ]


def _finder(find: Callable[[str], Path], name: str) -> Callable[[], Path]:
    return lambda: find(name)


def main() -> None:
    """Make what is missing; print what is there."""
    import onnx
    from synthetic import count_nodes

    wanted = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    for model in zoo():
        if wanted not in model.name:
            continue
        try:
            path = model.find()
        except MissingModel as missing:
            print(f"{model.name:26} MISSING: {missing}")
            continue
        nodes = count_nodes(onnx.load(path, load_external_data=False).graph)
        print(f"{model.name:26} {nodes:>6,} nodes  {path.stat().st_size:>12,} bytes  {path}", flush=True)


if __name__ == "__main__":
    main()
