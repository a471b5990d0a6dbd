"""What is read back from the disk, and what is not."""

import shutil

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are read with coremltools")

from onnxopt.backends.coreml.evaluator import NotEvaluable, load
from onnxopt.errors import BadData, BadModel
from tests.backends.coreml.programs import evaluated, mb, written

X = np.float32([0.1, 0.4, 0.5, 1.0])


def squared_and_back(x):
    """Beyond 65504 on the way, not at the end."""
    x = mb.mul(x=mb.mul(x=x, y=np.float32(400)), y=np.float32(400))
    return mb.mul(x=x, y=np.float32(1 / 160000))


def test_float32_has_the_range(tmp_path):
    (found,) = evaluated(tmp_path, squared_and_back, {"x": X})
    np.testing.assert_allclose(found, X, rtol=1e-6)


def test_float16_overflows_as_it_is_stored(tmp_path):
    (found,) = evaluated(tmp_path, squared_and_back, {"x": X}, precision="float16")
    np.testing.assert_allclose(found, [0.1, 0.4, np.inf, np.inf], rtol=2e-3)


def test_every_result_is_rounded_to_float16(tmp_path):
    def build(x):
        return mb.sub(x=mb.add(x=x, y=np.float32(1024)), y=np.float32(1024))

    (found,) = evaluated(tmp_path, build, {"x": np.float32([1.0, 0.4])}, precision="float16")
    assert found.tolist() == [1.0, 0.0]  # 1024.4 is 1024 in 11 bits


def test_a_package_can_be_run_again_and_again(tmp_path):
    evaluator = written(tmp_path, lambda x: mb.relu(x=x), {"x": X})
    for sign in (1, -1):
        (found,) = evaluator.run({"x": sign * X}).values()
        np.testing.assert_array_equal(found, np.maximum(sign * X, 0))


def test_inputs_are_looked_at(tmp_path):
    evaluator = written(tmp_path, lambda x: mb.relu(x=x), {"x": X})
    with pytest.raises(BadData, match="needs the input 'x'"):
        evaluator.run({})
    with pytest.raises(BadData, match="takes no input 'z'"):
        evaluator.run({"x": X, "z": X})
    with pytest.raises(BadData, match=r"shape \[2\]; the package takes \[4\]"):
        evaluator.run({"x": X[:2]})


def test_what_cannot_be_evaluated_is_named(tmp_path):
    boxes, scores = np.zeros((1, 4, 8), np.float32), np.zeros((1, 3, 8), np.float32)

    def build(boxes, scores):
        return mb.non_maximum_suppression(boxes=boxes, scores=scores, iou_threshold=0.5, max_boxes=2)

    evaluator = written(tmp_path, build, {"boxes": boxes, "scores": scores})
    with pytest.raises(NotEvaluable, match=r"non_maximum_suppression .* cannot be evaluated here"):
        evaluator.run({"boxes": boxes, "scores": scores})


def test_no_package_is_no_package(tmp_path):
    with pytest.raises(BadModel, match="is not there"):
        load(tmp_path / "a.mlpackage")
    (tmp_path / "b.mlpackage").mkdir()
    with pytest.raises(BadModel, match="is no package"):
        load(tmp_path / "b.mlpackage")


@pytest.mark.parametrize("part", ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "weights"])
def test_a_damaged_package_is_told(tmp_path, part):
    weight = np.ones((64, 64), np.float32)
    written(tmp_path, lambda x: mb.matmul(x=x, y=weight), {"x": np.ones((1, 64), np.float32)})
    package = tmp_path / "0.mlpackage"
    if part == "weights":
        shutil.rmtree(package / "Data/com.apple.CoreML/weights")
    else:
        path = package / part
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadModel, match="damaged"):
        load(package)


def test_an_older_kind_of_model_is_told(tmp_path):
    import coremltools as ct
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", datatypes.Array(4))])
    builder.add_activation("relu", "RELU", "x", "y")
    ct.models.MLModel(builder.spec, skip_model_load=True).save(str(tmp_path / "old.mlpackage"))
    with pytest.raises(BadModel, match="no ML Program"):
        load(tmp_path / "old.mlpackage")
