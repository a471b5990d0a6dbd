"""How constants are stored: equal numbers after reloading, in as few bytes as the target allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from coremltools import target as targets

from onnxopt.backends.coreml.encoders import forms
from onnxopt.backends.coreml.encoders.affine import Affine, Known
from onnxopt.backends.coreml.encoders.storing import smallest
from tests.backends.coreml.packages import Package, model, run

RANDOM = np.random.default_rng(8)
FEEDS = {"x": RANDOM.standard_normal((1, 32, 5, 5)).astype(np.float32)}
CONV = helper.make_node("Conv", ["x", "w"], ["y"])
SHAPES: tuple[dict[str, Any], dict[str, Any]] = ({"x": [1, 32, 5, 5]}, {"y": [1, 64, 3, 3]})
SCALES = RANDOM.uniform(1e-3, 2e-3, 64).astype(np.float32)


def sparse_weight(share: float) -> Any:
    weight = RANDOM.standard_normal((64, 32, 3, 3)).astype(np.float32)
    weight[RANDOM.random(weight.shape) < share] = 0
    return weight


def integers(low: int, high: int, dtype: Any = np.int8) -> Any:
    return RANDOM.integers(low, high, (64, 32, 3, 3)).astype(dtype)


def dequantized(data: Any, scale: Any, zero: Any = None, **attributes: Any) -> Any:
    """A convolution whose weight is dequantized."""
    inputs = ["q", "s"] if zero is None else ["q", "s", "z"]
    constants = {"q": data, "s": scale} | ({} if zero is None else {"z": zero})
    return model([helper.make_node("DequantizeLinear", inputs, ["w"], **attributes), CONV], *SHAPES, **constants)


def plain(weight: Any) -> Any:
    return model([CONV], *SHAPES, w=weight)


def written(given: Any, folder: Path, target: str, precision: str = "float32") -> Package:
    """A package; in float32 its outputs are onnxruntime's."""
    package = Package(given, folder / f"{len(list(folder.iterdir()))}.mlpackage", target, precision)
    found, (expected,) = package.run(FEEDS)["y"], run(given, FEEDS)
    tolerance = 1e-5 if precision == "float32" else 4e-3
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    return package


SIZE = 64 * 32 * 9
INT8 = [
    ("iOS15", "dense", 4 * SIZE),
    ("iOS16", "int8", SIZE),
    ("iOS17", "int8", SIZE),
    ("iOS18", "int8", SIZE),
]


@pytest.mark.parametrize(("target", "kind", "size"), INT8)
def test_int8_weights_are_stored_as_int8_since_ios16(target: str, kind: str, size: int, tmp_path: Path) -> None:
    package = written(dequantized(integers(-127, 128), SCALES, axis=0), tmp_path, target)
    assert dict(package.storing.kinds) == {kind: 1}
    assert size <= package.weight_bytes < size + 1000
    assert bool(package.storing.notes()) == (target == "iOS15")


def test_what_a_target_cannot_store_is_said_with_its_bytes(tmp_path: Path) -> None:
    package = written(dequantized(integers(-127, 128), SCALES, axis=0), tmp_path, "iOS15")
    (note,) = package.storing.notes()
    assert note == f"iOS15 cannot store 1 constant as int8, as iOS18 can: {3 * SIZE - 64 * 4 - 128:,} bytes more"


@pytest.mark.parametrize("target", ["iOS16", "iOS18"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_zero_points_are_kept(dtype: Any, per_channel: bool, target: str, tmp_path: Path) -> None:
    low = np.iinfo(dtype).min
    scale = SCALES if per_channel else SCALES[0]
    zero = np.array(RANDOM.integers(low, low + 256, scale.shape), dtype)
    package = written(dequantized(integers(low, low + 256, dtype), scale, zero, axis=0), tmp_path, target)
    assert dict(package.storing.kinds) == {np.dtype(dtype).name: 1}


def test_the_weight_read_back_is_what_onnxruntime_dequantizes(tmp_path: Path) -> None:
    data, zero = integers(-128, 128), RANDOM.integers(-9, 9, 64).astype(np.int8)
    given = dequantized(data, SCALES, zero, axis=0)
    expected = Affine.of(data, SCALES, zero, 0, 0)
    assert expected is not None
    for target in ("iOS17", "iOS18"):
        package = written(given, tmp_path, target)
        operation = constexprs(package)[0]
        np.testing.assert_array_equal(operation.materialized_val_inference(), expected.dense())
    weight = model([given.graph.node[0]], {}, {"w": [64, 32, 3, 3]}, q=data, s=SCALES, z=zero)
    np.testing.assert_array_equal(expected.dense(), run(weight, {})[0])


def constexprs(package: Package) -> list[Any]:
    """The operations that make constants, of a package as it lies on disk."""
    from coremltools.converters.mil.frontend.milproto.load import load

    weights = package.path / "Data" / "com.apple.CoreML" / "weights"
    program = load(package.spec, package.spec.specificationVersion, str(weights))
    return [each for each in program.functions["main"].operations if each.op_type.startswith("constexpr_")]


@pytest.mark.parametrize(("target", "kind", "size"), [("iOS17", "dense", 2 * SIZE), ("iOS18", "int4", SIZE / 2)])
def test_int4_in_blocks_needs_ios18(target: str, kind: str, size: float, tmp_path: Path) -> None:
    data = integers(-8, 8).astype(ml_dtypes.int4)
    scale = RANDOM.uniform(1e-3, 2e-3, (64, 4, 3, 3)).astype(np.float32)
    package = written(dequantized(data, scale, axis=1, block_size=8), tmp_path, target, "float16")
    assert dict(package.storing.kinds) == {kind: 1}
    assert size <= package.weight_bytes < size + scale.size * 2 + 1000
    assert bool(package.storing.notes()) == (target == "iOS17")


def test_int4_for_each_channel_is_int8_before_ios18(tmp_path: Path) -> None:
    given = dequantized(integers(-8, 8).astype(ml_dtypes.int4), SCALES, axis=0)
    assert dict(written(given, tmp_path, "iOS17").storing.kinds) == {"int8": 1}
    assert dict(written(given, tmp_path, "iOS18").storing.kinds) == {"int4": 1}


def test_uint4_with_zero_points(tmp_path: Path) -> None:
    zero = RANDOM.integers(0, 16, 64).astype(ml_dtypes.uint4)
    given = dequantized(integers(0, 16, np.uint8).astype(ml_dtypes.uint4), SCALES, zero, axis=0)
    assert dict(written(given, tmp_path, "iOS18").storing.kinds) == {"uint4": 1}


@pytest.mark.parametrize("target", ["iOS16", "iOS18"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("share", [0.3, 0.75])
def test_zeros_are_not_stored(share: float, precision: str, target: str, tmp_path: Path) -> None:
    weight = sparse_weight(share)
    package = written(plain(weight), tmp_path, target, precision)
    size = np.count_nonzero(weight) * (4 if precision == "float32" else 2) + SIZE / 8
    assert dict(package.storing.kinds) == {"sparse": 1}
    assert size <= package.weight_bytes < size + 1000


@pytest.mark.parametrize(("count", "bits"), [(2, 1), (4, 2), (8, 4), (16, 4), (64, 6), (256, 8)])
@pytest.mark.parametrize("target", ["iOS16", "iOS18"])
def test_few_values_are_a_palette(count: int, bits: int, target: str, tmp_path: Path) -> None:
    weight = RANDOM.choice(RANDOM.standard_normal(count), (64, 32, 3, 3)).astype(np.float32)
    package = written(plain(weight), tmp_path, target)
    bits = 3 if count == 8 and target == "iOS18" else bits
    assert dict(package.storing.kinds) == {f"{bits}-bit palette": 1}
    assert package.weight_bytes < SIZE * bits / 8 + 4 * 256 + 1000


def test_palettes_that_gather_reads_are_palettes(tmp_path: Path) -> None:
    """What `quantize-weights{type=palette}` writes for other targets: Gather(table, Cast(places))."""
    table = RANDOM.standard_normal(16).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["places"], ["wide"], to=6),
        helper.make_node("Gather", ["table", "wide"], ["w"]),
        CONV,
    ]
    given = model(nodes, *SHAPES, table=table, places=integers(0, 16, np.uint8))
    package = written(given, tmp_path, "iOS17")
    assert dict(package.storing.kinds) == {"4-bit palette": 1}


def test_a_table_for_each_channel_needs_ios18(tmp_path: Path) -> None:
    tables = RANDOM.standard_normal((64, 4)).astype(np.float32)
    weight = np.take_along_axis(tables, integers(0, 4).reshape(64, -1), 1).reshape(64, 32, 3, 3)
    assert dict(written(plain(weight), tmp_path, "iOS18").storing.kinds) == {"2-bit palettes": 1}
    older = written(plain(weight), tmp_path, "iOS17")
    assert dict(older.storing.kinds) == {"8-bit palette": 1}
    assert "cannot store 1 constant as 2-bit palettes" in older.storing.notes()[0]


def test_sparse_int8_and_sparse_palettes_need_ios18(tmp_path: Path) -> None:
    data = integers(-127, 128)
    data[RANDOM.random(data.shape) < 0.75] = 0
    given = dequantized(data, SCALES, axis=0)
    assert dict(written(given, tmp_path, "iOS17").storing.kinds) == {"int8": 1}
    package = written(given, tmp_path, "iOS18")
    assert dict(package.storing.kinds) == {"sparse int8": 1}
    assert package.weight_bytes < np.count_nonzero(data) + SIZE / 8 + 1500
    few = RANDOM.choice(RANDOM.standard_normal(200), (64, 32, 3, 3)).astype(np.float32)
    few[RANDOM.random(few.shape) < 0.75] = 0
    assert dict(written(plain(few), tmp_path, "iOS18").storing.kinds) == {"sparse 8-bit palette": 1}


def test_sparse_integers_with_zero_points(tmp_path: Path) -> None:
    data, zero = integers(0, 256, np.uint8), np.full(64, 100, np.uint8)
    data[RANDOM.random(data.shape) < 0.75] = 100
    package = written(dequantized(data, SCALES, zero, axis=0), tmp_path, "iOS18")
    assert dict(package.storing.kinds) == {"sparse uint8": 1}


def test_a_product_keeps_integers_that_are_transposed_for_it(tmp_path: Path) -> None:
    data = RANDOM.integers(-127, 128, (96, 48)).astype(np.int8)
    scale = RANDOM.uniform(1e-3, 2e-3, 48).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1),
        helper.make_node("Gemm", ["x", "w"], ["y"]),
    ]
    given = model(nodes, {"x": [4, 96]}, {"y": [4, 48]}, q=data, s=scale)
    package = Package(given, tmp_path / "g.mlpackage", "iOS17", "float32")
    assert dict(package.storing.kinds) == {"int8": 1}
    feeds = {"x": RANDOM.standard_normal((4, 96)).astype(np.float32)}
    np.testing.assert_allclose(package.run(feeds)["y"], run(given, feeds)[0], rtol=1e-5, atol=1e-4)


def test_float16_keeps_integers_whose_scales_it_holds(tmp_path: Path) -> None:
    package = written(dequantized(integers(-127, 128), SCALES, axis=0), tmp_path, "iOS17", "float16")
    assert dict(package.storing.kinds) == {"int8": 1}


def test_float16_drops_integers_whose_scales_it_does_not_hold(tmp_path: Path) -> None:
    given = dequantized(integers(-127, 128), SCALES * np.float32(1e-3), axis=0)
    package = Package(given, tmp_path / "p.mlpackage", "iOS17", "float16")
    assert dict(package.storing.kinds) == {"dense": 1}
    (note,) = package.storing.notes()
    assert "too small for float16" in note
    assert "precision=float32" in note


def test_one_small_channel_does_not_cost_the_integers_of_the_others() -> None:
    scale = SCALES.copy()
    scale[3] = 1e-7
    affine = Affine.of(integers(-127, 128), scale, None, 0, 0)
    assert affine is not None
    assert affine.in_dtype(np.dtype(np.float16)) is not None


def test_nothing_is_done_to_what_would_not_become_smaller() -> None:
    for array in (RANDOM.standard_normal((64, 64)), np.ones((2, 2))):
        assert smallest(array.astype(np.float32), None, targets.iOS18).kind == "dense"


def test_numbers_of_another_constant_are_not_taken_for_integers() -> None:
    affine = Affine.of(integers(-127, 128), SCALES, None, 0, 0)
    assert affine is not None
    near = affine.dense()
    near[-1, -1, -1, -1] += 1e-6
    assert Known([affine]).find(near) is None
    assert Known([affine]).find(affine.dense().transpose(1, 0, 2, 3)) is not None


def test_rows_of_integers_are_found_in_any_order_and_in_part() -> None:
    """As the gates of an LSTM, which MIL has in another order, and each direction in a constant of its own."""
    affine = Affine(integers(-127, 128)[:2, :, :, 0].reshape(2, 32, 3), SCALES.reshape(2, 32, 1))
    gates = np.roll(affine.dense()[1], 8, axis=0)
    found = Known([affine]).find(gates.astype(np.float16))
    assert found is not None and found.axis == 0
    np.testing.assert_array_equal(found.dense(), gates)
    gates[3, 1] += 1e-3
    assert Known([affine]).find(gates) is None


def test_the_gates_of_an_lstm_are_stored_as_integers(tmp_path: Path) -> None:
    data = {name: RANDOM.integers(-127, 128, (2, 64, 16)).astype(np.int8) for name in ("wq", "rq")}
    scales = {name: RANDOM.uniform(1e-3, 2e-3, (2, 64, 1)).astype(np.float32) for name in ("ws", "rs")}
    nodes = [
        *(helper.make_node("DequantizeLinear", [f"{n}q", f"{n}s"], [n], axis=2, block_size=16) for n in ("w", "r")),
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=16, direction="bidirectional"),
    ]
    given = model(nodes, {"x": [5, 1, 16]}, {"y": [5, 2, 1, 16]}, **data, **scales)
    package = Package(given, tmp_path / "m.mlpackage", "iOS17", "float32")
    assert package.storing.kinds == {"int8": 4}
    feeds = {"x": RANDOM.standard_normal((5, 1, 16)).astype(np.float32)}
    np.testing.assert_allclose(package.run(feeds)["y"], run(given, feeds)[0], rtol=1e-4, atol=1e-5)


def test_places_are_packed_lowest_bit_first() -> None:
    np.testing.assert_array_equal(forms.packed(np.array([1, 2, 3, 0, 3], np.uint8), 2), [0b00111001, 0b11])
