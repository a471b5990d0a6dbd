"""The samples of a kit are what the SDK calibrates on: never those that models are judged on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser

import onnxopt
from onnxopt.data import inputs_of, open_data
from onnxopt.pipeline.backend import Emission

MODEL = """<ir_version: 8, opset_import: ["" : 17]> m (float[1, 2] x) => (float[1, 2] y) { y = Abs(x) }"""


def test_evaluation_data_do_not_get_into_a_kit(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MODEL)
    calibration, evaluation = tmp_path / "calibration.npz", tmp_path / "evaluation.npz"
    np.savez(calibration, x=np.full((3, 2), 1, np.float32))
    np.savez(evaluation, x=np.full((3, 2), 2, np.float32))
    result = onnxopt.run(model, "eliminate-identities", data=calibration, target="qnn-kit")
    judged = open_data(evaluation, inputs_of(model))
    result.write(None, [Emission.parse(f"qnn-kit={tmp_path / 'kit'}")], {}, judged)
    raws = sorted((tmp_path / "kit").rglob("*.raw"))
    assert raws and all(np.fromfile(path, np.float32).tolist() == [1, 1] for path in raws)
