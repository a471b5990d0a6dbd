"""Export the torch models of the zoo, with random weights, by both of torch's exporters.

    pip install torch torchvision timm transformers onnxscript
    python benchmarks/zoo_torch.py [--only TEXT] [--again]

Needs nothing of ours, and so runs in an environment of its own. The files go to $ONNXOPT_CACHE/zoo, by default
~/.cache/onnxopt/zoo, with `exported.json` beside them: the version of torch, and what could not be exported.

Every parameter is moved a little from what its constructor gave it, but in the two called plain: trained weights are no
ones and zeros, and equal biases the exporter would share behind Identity nodes that no trained model has.
"""

# mypy: disable-error-code="import-untyped, import-not-found, misc, no-any-return, no-untyped-call"

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

BATCH, SEQUENCE, VOCABULARY = 2, 9, 2000
TORCHSCRIPT, DYNAMO = "ts", "dynamo"
_OPSETS = {TORCHSCRIPT: 17, DYNAMO: 18}
"""The last opset before TorchScript's exporter stops, and the first that the other writes."""


@dataclass(frozen=True)
class Export:
    """A model, and how it is exported."""

    name: str
    build: Callable[[], nn.Module]
    inputs: dict[str, Callable[[], Tensor]]
    axes: dict[str, dict[int, str]]
    """The symbols of the dynamic dimensions, by input."""
    outputs: tuple[str, ...] = ("y",)
    exporters: tuple[str, ...] = (TORCHSCRIPT, DYNAMO)
    opset: int | None = None
    """Instead of the exporter's own."""
    trained: bool = True
    """Whether the parameters are moved from what the constructor gave them."""


def exports() -> Iterator[Export]:
    """All of them."""
    batch = {0: "batch"}
    image = {"x": lambda: torch.randn(BATCH, 3, 224, 224)}
    for name, build in {"mobilenet_v3_small": _torchvision, "resnet18": _torchvision, "convnext_atto": _timm}.items():
        yield Export(name, lambda name=name, build=build: build(name), image, {"x": batch})
    vit = "vit_tiny_patch16_224"
    yield Export("vit_tiny", lambda: _timm(vit, fused=False), image, {"x": batch})
    one = {"x": lambda: torch.randn(1, 3, 224, 224)}
    yield Export("vit_tiny_sdpa", lambda: _timm(vit), one, {}, exporters=(TORCHSCRIPT,))

    text = {"input_ids": _tokens, "attention_mask": lambda: torch.ones(BATCH, SEQUENCE, dtype=torch.long)}
    both = {0: "batch", 1: "sequence"}
    masked = {"input_ids": both, "attention_mask": both}
    bert = ("hidden", "pooled")
    yield Export("bert", lambda: _Bert("eager"), text, masked, bert)
    yield Export("bert_sdpa", lambda: _Bert("sdpa"), text, masked, bert)
    yield Export("bert_static", lambda: _Bert("sdpa"), text, {}, bert, exporters=(TORCHSCRIPT,))
    # torch's default opset, constant sizes, and parameters as they were made: 281 and 578 nodes.
    plain: dict[str, Any] = {"exporters": (TORCHSCRIPT,), "opset": 20, "trained": False}
    yield Export("bert_plain", lambda: _Bert("sdpa"), text, {}, bert, **plain)
    yield Export("vit_plain", _Vit, one, {}, bert, **plain)
    yield Export("gpt2", _Gpt2, text, masked, ("logits",))

    features = {"x": lambda: torch.randn(BATCH, SEQUENCE, 64)}
    # TorchScript's exporter writes the sizes of the example into nn.MultiheadAttention: no other sizes run.
    yield Export("encoder", _encoder, features, {"x": both}, exporters=(DYNAMO,))
    yield Export("shape_heavy", _ShapeHeavy, features, {"x": both})
    yield Export("lstm", _Lstm, {"ids": _tokens}, {"ids": both})


def _tokens() -> Tensor:
    return torch.randint(0, VOCABULARY, (BATCH, SEQUENCE))


def _torchvision(name: str) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)()


def _timm(name: str, *, fused: bool = True) -> nn.Module:
    import timm

    model = timm.create_model(name)
    for part in model.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = fused
    return model


class _Bert(nn.Module):
    """Four layers of BertModel, and its pooler."""

    def __init__(self, attention: str) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        sizes = {"vocab_size": VOCABULARY, "hidden_size": 256, "intermediate_size": 1024}
        layers = {"num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 128}
        self.model = BertModel(BertConfig(**sizes, **layers, attn_implementation=attention))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return found.last_hidden_state, found.pooler_output


class _Vit(nn.Module):
    """The ViTModel of transformers as small as timm's vit_tiny, and its pooler."""

    def __init__(self) -> None:
        from transformers import ViTConfig, ViTModel

        super().__init__()
        sizes = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 12, "num_attention_heads": 3}
        self.model = ViTModel(ViTConfig(**sizes, attn_implementation="eager"))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(pixel_values=x)
        return found.last_hidden_state, found.pooler_output


class _Gpt2(nn.Module):
    """Four layers of GPT2LMHeadModel, without a cache. Without a mask, TorchScript's exporter lacks aten::diff."""

    def __init__(self) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        sizes = {"vocab_size": VOCABULARY, "n_embd": 256, "n_layer": 4, "n_head": 4, "n_positions": 128}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, attn_implementation="eager", use_cache=False))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


class _ShapeHeavy(nn.Module):
    """Causal blocks that take every size from the tensor at hand, as much written code does."""

    def __init__(self, layers: int = 4, heads: int = 4, width: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.blocks = nn.ModuleList()
        for _ in range(layers):
            parts = {"norm": nn.LayerNorm(width), "mixed": nn.Linear(width, 3 * width), "out": nn.Linear(width, width)}
            parts |= {"second": nn.LayerNorm(width), "up": nn.Linear(width, 128), "down": nn.Linear(128, width)}
            self.blocks.append(nn.ModuleDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block["out"](self._attend(block["mixed"](block["norm"](x))))
            hidden = block["second"](x).view(-1, x.size(2))
            hidden = block["down"](nn.functional.gelu(block["up"](hidden)))
            x = x + hidden.view(x.size(0), x.size(1), x.size(2))
        return x

    def _attend(self, mixed: Tensor) -> Tensor:
        width = mixed.size(2) // 3
        mixed = mixed.view(mixed.size(0), mixed.size(1), 3, self.heads, width // self.heads)
        query, key, value = (part.transpose(1, 2) for part in mixed.unbind(2))
        scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
        here, there = (torch.arange(scores.size(-1), device=mixed.device) for _ in range(2))
        later = (there[None, :] > here[:, None])[None, None].expand(scores.size(0), self.heads, -1, -1)
        scores = scores.masked_fill(later, -1e9).softmax(-1)
        found = (scores @ value).transpose(1, 2).contiguous()
        return found.view(found.size(0), found.size(1), found.size(2) * found.size(3))


class _Lstm(nn.Module):
    """Embeddings, two bidirectional layers, a classifier for every position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.recurrent = nn.LSTM(64, 128, 2, batch_first=True, bidirectional=True)
        self.output = nn.Linear(256, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.output(self.recurrent(self.embedding(ids))[0])


def _as_if_trained(model: nn.Module) -> nn.Module:
    normalizations = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        if normalizations:  # with the statistics of other data, what depends on the image fades from layer to layer
            for part in normalizations:
                part.momentum = None
            model.train()(torch.randn(8, 3, 224, 224))
    return model.eval()


def _export(export: Export, exporter: str, path: Path) -> None:
    torch.manual_seed(0)
    built = export.build()
    model = _as_if_trained(built) if export.trained else built.eval()
    given = tuple(make() for make in export.inputs.values())
    options: dict[str, Any] = {"input_names": list(export.inputs), "output_names": list(export.outputs)}
    if exporter == DYNAMO:
        dims = {symbol: torch.export.Dim(symbol) for axes in export.axes.values() for symbol in axes.values()}
        shapes = [{axis: dims[s] for axis, s in export.axes.get(name, {}).items()} for name in export.inputs]
        options |= {"dynamic_shapes": tuple(shapes), "external_data": False, "verbose": False}
    elif export.axes:
        first = next(iter(export.axes.values()))
        kept = {name: first if name != "pooled" else {0: "batch"} for name in export.outputs}
        options |= {"dynamic_axes": {**export.axes, **kept}}
    opset = export.opset or _OPSETS[exporter]
    torch.onnx.export(model, given, path, dynamo=exporter == DYNAMO, opset_version=opset, **options)
    _without_traces(path)


def _without_traces(path: Path) -> None:
    """Remove the notes of the exporter, whose stack traces name files of the machine."""
    loaded = onnx.load(path)
    values = [*loaded.graph.input, *loaded.graph.output, *loaded.graph.value_info, *loaded.graph.node]
    for noted in (loaded, loaded.graph, *values):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    onnx.save(loaded, path)


def main() -> None:
    """Export what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--again", action="store_true", help="export also what is there")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    folder = Path(os.environ.get("ONNXOPT_CACHE") or Path.home() / ".cache" / "onnxopt") / "zoo"
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "exported.json"
    known: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    for export in exports():
        for exporter in export.exporters:
            name = f"{export.name}-{exporter}"
            path = folder / f"{name}.onnx"
            if given.only not in name or (path.exists() and not given.again):
                continue
            known[name] = {"torch": torch.__version__, "opset": export.opset or _OPSETS[exporter]}
            try:
                with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
                    _export(export, exporter, path)
            except Exception as error:  # noqa: BLE001  whatever an exporter raises is what is told
                path.unlink(missing_ok=True)
                known[name]["failed"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            record.write_text(json.dumps(known, indent=2))
            print(name, known[name].get("failed") or f"{path.stat().st_size:,} bytes", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
