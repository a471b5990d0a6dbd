"""`onnxopt lower`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.cli import given
from onnxopt.cli.sources import TrustPickle
from onnxopt.errors import BadOption

if TYPE_CHECKING:
    from onnxopt.frontends.wanted import Example

_TORCH, _SKLEARN = "Of torch", "Of scikit-learn"


def lower(
    source: Annotated[
        str,
        typer.Argument(
            help="An exported program (.pt2), TorchScript, a skops or joblib file, an ONNX model, or module:function.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Write the ONNX model here.", metavar="FILE", readable=False)
    ],
    opset: Annotated[
        int | None, typer.Option(help="Of the default domain; what the exporter writes.", metavar="N", min=1)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Samples to compare on, too: as for `run`, by the names of the inputs.", metavar="D"),
    ] = None,
    trust_pickle: TrustPickle = False,
    exporter: Annotated[
        str,
        typer.Option(
            help="dynamo, torchscript, or auto: dynamo, and torchscript where it fails.",
            metavar="E",
            rich_help_panel=_TORCH,
        ),
    ] = "auto",
    dynamic: Annotated[
        list[str] | None,
        typer.Option(
            help="Axes of any size, such as x=0:batch,1:length; repeatable.",
            metavar="INPUT=AXIS:NAME",
            rich_help_panel=_TORCH,
        ),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="What a file without inputs takes, such as x=float32[1,3,224,224]; repeatable, in order.",
            metavar="NAME=TYPE",
            rich_help_panel=_TORCH,
        ),
    ] = None,
    input_names: Annotated[
        str | None, typer.Option(help="Of the inputs, in order.", metavar="A,B", rich_help_panel=_TORCH)
    ] = None,
    output_names: Annotated[
        str | None, typer.Option(help="Of the outputs, in order.", metavar="A,B", rich_help_panel=_TORCH)
    ] = None,
    keep_batchnorm: Annotated[
        bool,
        typer.Option("--keep-batchnorm", help="Leave BatchNormalization as it is.", rich_help_panel=_TORCH),
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(help="Of the rows: float32, or float64; float32.", metavar="T", rich_help_panel=_SKLEARN),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that it may take.", metavar="S", min=1.0)] = 1800.0,
    json: given.Json = False,
) -> None:
    """Write a model of another framework as ONNX, and compare it with that framework.

    `module:function` is imported from the working directory and called: it returns an nn.Module in eval mode and its
    example inputs (a tensor, a tuple, or a dict by name), or a fitted estimator, alone or with rows.

    Outputs are compared on the example inputs and on random ones, where axes given as dynamic have other sizes too; a
    difference beyond rounding is an error. Nothing is unpickled without --trust-pickle.

    An ONNX model is normalized: `onnxopt passes normalize` says how.

    Exit status: 0 written, 1 it gives other outputs, 2 wrong use or bad input.
    """
    from onnxopt import ir
    from onnxopt.cli.console import note, print_json, print_view, warn
    from onnxopt.frontends.lowering import lower as lower_source
    from onnxopt.frontends.wanted import DTYPES, EXPORTERS, Wanted
    from onnxopt.pipeline.suggest import did_you_mean
    from onnxopt.report.lowering import lowering_json, lowering_view
    from onnxopt.report.units import size

    for flag, value, known in (("exporter", exporter, EXPORTERS), ("dtype", dtype or DTYPES[0], DTYPES)):
        if value not in known:
            hint = did_you_mean(value, known)
            raise BadOption(f"--{flag} {value}: there is no such{hint}; it is one of {', '.join(known)}")
    given.require_writable(output)
    wanted = Wanted(
        opset=opset,
        data=data,
        trust_pickle=trust_pickle,
        exporter=exporter,
        dynamic=_dynamic(dynamic or ()),
        input_names=_names("--input-names", input_names),
        output_names=_names("--output-names", output_names),
        examples=tuple(_example(text) for text in input_ or ()),
        keep_batchnorm=keep_batchnorm,
        dtype=dtype,
    )
    lowered = lower_source(source, output, wanted, timeout)
    graph = ir.load(output)
    warn(lowered.notes)
    facts = {"source": source, "output": output, **lowering_json(lowered, graph)}
    print_json(facts) if json else print_view(lowering_view(source, facts))
    note(f"wrote {output}, {size(output.stat().st_size)}")


def _dynamic(texts: Sequence[str]) -> dict[str, dict[int, str]]:
    """Symbols of axes by input, from `INPUT=AXIS:NAME,AXIS:NAME`.

    Raises:
        BadOption: Not of that form, or twice the same input.
    """
    found: dict[str, dict[int, str]] = {}
    for text in texts:
        name, _, axes = text.rpartition("=")
        pairs = [re.fullmatch(r"(\d+):([A-Za-z_]\w*)", part.strip()) for part in axes.split(",")]
        if not name or None in pairs:
            raise BadOption(f"--dynamic {text}: give it as INPUT=AXIS:NAME, such as x=0:batch,2:height")
        if name in found:
            raise BadOption(f"--dynamic {text}: {name} is given twice")
        found[name] = {int(pair[1]): pair[2] for pair in pairs if pair}
    return found


def _example(text: str) -> Example:
    """An input from `NAME=DTYPE[SIZE,SIZE]`.

    Raises:
        BadOption: Not of that form.
    """
    from onnxopt.frontends.wanted import Example

    found = re.fullmatch(r"([^=]+)=(\w+)\[([\d,\s]*)\]", text)
    if not found:
        raise BadOption(f"--input {text}: give it as NAME=TYPE, such as x=float32[1,3,224,224]")
    return Example(found[1], found[2], tuple(int(part) for part in found[3].split(",") if part.strip()))


def _names(flag: str, text: str | None) -> tuple[str, ...]:
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise BadOption(f"{flag} {text}: give each one name, separated by commas")
    return names
