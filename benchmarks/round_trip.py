"""Load and save of every model in the `onnx` wheel gives an equal ModelProto: field for field, order aside.

    python benchmarks/round_trip.py [--json]

The models are those of the conformance tests (node, simple, pytorch-converted, pytorch-operator, light) and every other
.onnx file of the wheel's test data. Each goes through files, as it is and as a copy of the graph. "Field for field"
includes the presence of empty fields; the order of what is found by name (initializers, value infos, attributes,
metadata) does not count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import conformance_cases
import onnx
from onnx import ModelProto
from reporting import Report, arguments, tick
from same_model import difference

from onnxopt import ir
from onnxopt.errors import OnnxoptError

_SHOWN = 10
"""Faults that are printed."""


def main() -> None:
    """Run them all and report."""
    given = arguments(__doc__).parse_args()
    report = Report(1, "load and save of every model in the onnx wheel gives an equal ModelProto")
    counts: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, model in _models():
            tick(f"{kind} {name}")
            fault = _fault(model, Path(folder))
            counts.setdefault(kind, []).append(bool(fault))
            if fault and len(report.notes) < _SHOWN:
                report.notes.append(f"{kind} {name}: {fault}")
    report.rows = [("models", "number", "differ"), *((kind, str(len(f)), str(sum(f))) for kind, f in counts.items())]
    total, faults = sum(map(len, counts.values())), sum(map(sum, counts.values()))
    report.headline = f"{faults} of {total} differ"
    report.figures = {"models": total, "differ": faults}
    report.require("every model comes back equal", faults == 0)
    report.print_and_exit(as_json=given.json)


def _models() -> Iterator[tuple[str, str, ModelProto]]:
    for case in conformance_cases.cases({pair for pair in conformance_cases.names() if pair[0] == "node"}):
        yield "node tests", case.name, case.model
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for path in sorted(folder.rglob("*.onnx")):
        name = path.relative_to(folder)
        yield f"files, {name.parts[0]}", str(name), ModelProto.FromString(path.read_bytes())


def _fault(model: ModelProto, folder: Path) -> str:
    given, saved = folder / "given.onnx", folder / "saved.onnx"
    given.write_bytes(model.SerializeToString())
    try:
        graph = ir.load(given)
        for what, this in (("", graph), ("its copy: ", graph.copy())):
            ir.save(this, saved, sync=False)
            found = difference(model, ModelProto.FromString(saved.read_bytes()))
            if found:
                return f"{what}{found}"
    except OnnxoptError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
