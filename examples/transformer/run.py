"""A BERT of four layers from torch, fused and in int8, beside onnxruntime's own optimizer of transformers.

    python examples/transformer/run.py [--out DIR] [--seconds S] [--mlflow URI]

Batch and sequence stay of any size. onnxruntime.transformers fuses into operators of onnxruntime's own, which no other
engine runs; ours writes standard ONNX. Both are then quantized dynamically. Needs onnxopt[torch].
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.commands import Workflow, benched, shown_size

BERT = "examples.transformer.bert:drawn"
FUSED = "convert-opset{opset=20},O3"
"""Opset 20 has Gelu."""
QUANTIZED = "quantize-dynamic,quantize-weights{include=Gather}"
AXES = ("--dynamic", "input_ids=0:batch,1:sequence", "--dynamic", "attention_mask=0:batch,1:sequence")
SEQUENCE, VOCABULARY, WIDTH, HEADS = 64, 2000, 256, 4
NAMES = ("lowered", "O3", "onnxruntime.transformers", "O3, quantize-dynamic", "theirs, quantize_dynamic")


def main() -> None:
    """Run the commands, compare, tell."""
    work = Workflow.of(__file__, __doc__)
    texts = work.store("texts.npz", _texts(work.samples or 16))
    bert, fused, quantized = (work.folder / f"{name}.onnx" for name in ("bert", "fused", "int8"))
    data = ("--data", texts, "--no-provenance")
    work.run("lower", BERT, "-o", bert, "--exporter", "torchscript", "--opset", 17, *AXES, "--output-names", "hidden")
    work.run("run", bert, "--passes", FUSED, *data, "--verify-each", "-o", fused)
    work.run("run", fused, "--passes", QUANTIZED, *data, "-o", quantized)
    theirs, theirs_quantized = _by_onnxruntime(work.folder, bert)
    models = [bert, fused, theirs, quantized, theirs_quantized]
    bench = work.bench(*models, "--data", texts, "--metric", "snr")
    table = [
        ["", "size", "nodes", "operators of one engine", "SNR to what was lowered", "ms: median, p90", "times as fast"]
    ]
    own = [_own_operators(model) for model in models]
    told = zip(NAMES, models, bench["models"], own, benched(bench).values(), strict=True)
    for name, model, each, alone, took in told:
        table.append([name, shown_size(model), str(each["nodes"]), str(alone), _decibel(each), *took])
    sizes = {name: model.stat().st_size for name, model in zip(NAMES, models, strict=True)}
    figures = {"bytes": sizes, "models": dict(zip(NAMES, bench["models"], strict=True))}
    work.keep({**figures, "own": dict(zip(NAMES, own, strict=True)), "bench": bench}, table)


def _texts(count: int) -> dict[str, Any]:
    """Texts of random words, of which a part is padding."""
    random = np.random.default_rng(0)
    lengths = random.integers(SEQUENCE // 2, SEQUENCE + 1, count)
    mask = (np.arange(SEQUENCE)[None] < lengths[:, None]).astype(np.int64)
    return {"input_ids": random.integers(0, VOCABULARY, mask.shape) * mask, "attention_mask": mask}


def _by_onnxruntime(folder: Path, model: Path) -> tuple[Path, Path]:
    """What its optimizer of transformers makes, and that quantized by its `quantize_dynamic`."""
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    fused, quantized = folder / "theirs.onnx", folder / "theirs.int8.onnx"
    optimize_model(str(model), model_type="bert", num_heads=HEADS, hidden_size=WIDTH).save_model_to_file(str(fused))
    # It cannot tell what types its own operators give out.
    quantize_dynamic(fused, quantized, per_channel=True, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return fused, quantized


def _own_operators(model: Path) -> int:
    """Nodes that only onnxruntime has."""
    return sum(node.domain == "com.microsoft" for node in onnx.load(model).graph.node)


def _decibel(told: Any) -> str:
    value = float(told["accuracy"]["model"])
    return "bit-equal" if math.isinf(value) else f"{value:.0f} dB"


if __name__ == "__main__":
    main()
