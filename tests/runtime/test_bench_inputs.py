"""What models are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from onnxopt.data import inputs_of, open_data
from onnxopt.errors import BadModel, BadOption
from onnxopt.runtime.bench_inputs import batch_of, bench_inputs, shown_inputs
from onnxopt.runtime.session import Session

X = np.arange(20, dtype=np.float32).reshape(5, 4)


def model(path: Path, shape: str = "N, 4", name: str = "x", kind: str = "float") -> Path:
    text = f"g ({kind}[{shape}] {name}) => ({kind}[{shape}] y) {{ y = Neg({name}) }}"
    text = f'<ir_version: 8, opset_import: ["": 17]> {text}'
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def inputs(*models: Path, data: Path | None = None, batch: int | None = None, **dims: int) -> list[list[np.ndarray]]:
    specs = inputs_of(onnx.load(models[0]))
    samples = None if data is None else open_data(data, specs)
    found = bench_inputs(models, [Session(each) for each in models], samples, batch, dims)
    return [[next(iter(fed.values())) for fed in feeds] for feeds in found]


@pytest.mark.parametrize(("batch", "shape"), [(None, (1, 4)), (1, (1, 4)), (8, (8, 4))])
def test_a_dynamic_first_axis_is_the_batch(tmp_path: Path, batch: int | None, shape: tuple[int, ...]) -> None:
    ((fed,),) = inputs(model(tmp_path / "m.onnx"), batch=batch)
    assert fed.shape == shape
    ((unnamed,),) = inputs(model(tmp_path / "u.onnx", "?, 4"), batch=batch)
    assert unnamed.shape == shape


def test_other_dynamic_axes_are_given_by_name(tmp_path: Path) -> None:
    ((fed,),) = inputs(model(tmp_path / "m.onnx", "N, T"), batch=2, T=7)
    assert fed.shape == (2, 7)


def test_a_static_first_axis_takes_its_own_size_only(tmp_path: Path) -> None:
    fixed = model(tmp_path / "fixed.onnx", "3, 4")
    assert inputs(fixed)[0][0].shape == inputs(fixed, batch=3)[0][0].shape == (3, 4)
    with pytest.raises(BadOption, match=r"--batch 2: the first axis of .*fixed\.onnx is static: input 'x' is \[3, 4\]"):
        inputs(fixed, batch=2)


def test_samples_are_batched_and_come_again_where_they_are_few(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    (fed,) = inputs(model(tmp_path / "m.onnx"), data=tmp_path / "d.npz")
    assert [each.tolist() for each in fed] == [[row.tolist()] for row in X[:4]]  # four sets at most
    (fed,) = inputs(model(tmp_path / "m.onnx"), data=tmp_path / "d.npz", batch=8)
    assert [each.tolist() for each in fed] == [np.concatenate([X, X[:3]]).tolist()]


def test_samples_for_a_fixed_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X[:4])
    fixed = model(tmp_path / "fixed.onnx", "2, 4")
    assert [each.tolist() for each in inputs(fixed, data=tmp_path / "d.npz")[0]] == [X[:2].tolist(), X[2:4].tolist()]
    with pytest.raises(BadOption, match=r"--batch 4: .* takes 2 of the samples of .* at a time"):
        inputs(fixed, data=tmp_path / "d.npz", batch=4)


def test_models_of_the_same_inputs_run_on_the_same(tmp_path: Path) -> None:
    one, half = model(tmp_path / "m.onnx"), model(tmp_path / "half.onnx", kind="float16")
    first, other = inputs(one, half, batch=2)
    assert other[0].dtype == np.float16 and np.array_equal(other[0], first[0].astype(np.float16))


def test_a_model_of_other_inputs_has_its_own(tmp_path: Path) -> None:
    one, other = model(tmp_path / "m.onnx"), model(tmp_path / "o.onnx", "N, 7", "v")
    assert [feeds[0].shape for feeds in inputs(one, other, batch=2)] == [(2, 4), (2, 7)]
    np.savez(tmp_path / "d.npz", x=X)
    with pytest.raises(BadModel, match=r"o\.onnx takes v float32\[N, 7\], which .*d\.npz does not suit"):
        inputs(one, other, data=tmp_path / "d.npz")


def test_how_inputs_are_told() -> None:
    assert shown_inputs({"x": X, "k": [X]}) == "x float32[5, 4], k"
    assert batch_of([]) == 1
