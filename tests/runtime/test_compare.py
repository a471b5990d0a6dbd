"""What counts as equal, for each promise."""

import math

import ml_dtypes
import numpy as np
import pytest

from onnxopt.runtime.compare import Difference, Tolerance, bounds, compare, worst
from onnxopt.runtime.session import Session

BITS, VALUES, ACCURACY = Tolerance.BITS, Tolerance.VALUES, Tolerance.ACCURACY


def one(expected, actual, tolerance, **options):
    (found,) = compare({"y": expected}, {"y": actual}, tolerance, **options)
    return found


def floats(*values, dtype=np.float32):
    return np.array(values, dtype)


def test_equal_is_equal_under_every_promise():
    for tolerance in Tolerance:
        found = one(floats(1, np.nan, np.inf, -0.0), floats(1, np.nan, np.inf, -0.0), tolerance)
        assert found == Difference("y", ok=True, bit_equal=True)


def test_the_largest_difference_is_measured_and_placed():
    found = one(np.array([[1, 4], [2, 8]], np.float32), np.array([[1, 4.5], [2.25, 8]], np.float32), ACCURACY)
    assert (found.ok, found.bit_equal, found.where) == (True, False, (0, 1))
    assert found.largest_absolute == 0.5
    assert found.largest_relative == 0.5 / 8
    assert found.snr == pytest.approx(10 * math.log10(85 / (0.25 + 0.0625)))


def test_bits_means_bits():
    assert not one(floats(1), floats(np.nextafter(np.float32(1), 2)), BITS).ok
    assert "0.0 and -0.0" in one(floats(0.0), floats(-0.0), BITS).reason
    quiet, other = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)
    assert one(floats(quiet), floats(other), BITS).bit_equal  # NaN is NaN


def test_values_allows_a_share_of_the_largest_magnitude():
    share, floor = bounds(2.0**-23)
    assert share == 2.0**-13
    expected = floats(1000, 0)
    assert one(expected, floats(1000, 1000 * share), VALUES).ok
    assert not one(expected, floats(1000, 1000 * share * 1.01), VALUES).ok
    assert one(floats(0, 0), floats(0, floor), VALUES).ok
    assert not one(floats(0, 0), floats(0, 2 * floor), VALUES).ok
    assert one(floats(0.0), floats(-0.0), VALUES).ok


def test_values_follows_from_the_type_and_from_what_the_model_computes_in():
    assert one(floats(1, dtype=np.float16), floats(1.01, dtype=np.float16), VALUES).ok
    assert not one(floats(1), floats(1.01), VALUES).ok
    assert one(floats(1), floats(1.01), VALUES, rounding=2.0**-10).ok
    assert not one(floats(1, dtype=np.float64), floats(1 + 1e-9, dtype=np.float64), VALUES).ok
    assert one(floats(1, dtype=ml_dtypes.bfloat16), floats(1.06, dtype=ml_dtypes.bfloat16), VALUES).ok


def test_the_bound_holds_for_the_longest_sums_we_know():
    rng = np.random.default_rng(0)
    weights, inputs = rng.standard_normal((64, 18_432), np.float32), rng.standard_normal((18_432, 16), np.float32)
    order = rng.permutation(18_432)
    found = one(weights @ inputs, weights[:, order] @ inputs[order], VALUES)
    assert found.ok
    assert found.largest_relative < bounds(2.0**-23)[0] / 10  # room for some fifty such layers


@pytest.mark.parametrize("tolerance", Tolerance)
@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        (floats(1, 2), floats(1, 2, 3), "expected float32[2], found float32[3]"),
        (floats(1), floats(1, dtype=np.float64), "expected float32[1], found float64[1]"),
        (floats(1), [floats(1)], "expected float32[1], found a sequence of 1"),
        ([floats(1)], [floats(1), floats(1)], "expected a sequence of 1, found a sequence of 2"),
        (floats(1), None, "expected float32[1], found an empty optional"),
        ({1: 0.5}, {2: 0.5}, "expected a map of 1, found a map of 1"),
        (floats(1, 2), floats(1, np.nan), "expected 2.0, found nan at [1]"),
        (floats(1, 2), floats(1, np.inf), "expected 2.0, found inf at [1]"),
    ],
)
def test_another_structure_or_a_lost_number_breaks_every_promise(expected, actual, reason, tolerance):
    found = one(expected, actual, tolerance)
    assert not found.ok
    assert found.reason == reason


def test_infinities_must_agree_in_sign_and_place():
    assert one(floats(np.inf, 1), floats(np.inf, 1), VALUES).ok
    assert one(floats(np.inf, 1), floats(-np.inf, 1), VALUES).reason == "expected inf, found -inf at [0]"
    assert not one(floats(np.nan), floats(1), VALUES).ok
    assert one(floats(np.nan), floats(1), ACCURACY).ok


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([2**62]), np.array([2**62 + 1])),
        (np.array([True]), np.array([False])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.array([1], ml_dtypes.int4), np.array([2], ml_dtypes.int4)),
    ],
)
def test_what_is_no_float_must_be_exact_unless_only_accuracy_is_promised(expected, actual):
    assert not one(expected, actual, BITS).ok
    assert not one(expected, actual, VALUES).ok
    assert one(expected, actual, ACCURACY).ok


def test_sequences_and_maps_are_compared_within():
    expected = {"s": [floats(1), floats(2)], "m": [{"cat": 0.5, "dog": 0.25}]}
    actual = {"s": [floats(1), floats(3)], "m": [{"cat": 0.5, "dog": 0.75}], "more": floats(1)}
    found = {d.output: d.ok for d in compare(expected, actual, BITS)}
    assert found == {"s[0]": True, "s[1]": False, "m[0][cat]": True, "m[0][dog]": False}


def test_a_missing_output_is_a_difference():
    (found,) = compare({"y": floats(1)}, {}, ACCURACY)
    assert str(found) == "output 'y': is missing"


def test_the_worst_is_a_broken_promise_first():
    kept = Difference("a", ok=True, largest_relative=9.0)
    broken = Difference("b", ok=False, largest_relative=0.1)
    assert worst([kept, broken]) is broken
    lost = one(np.float32([np.nan, 1]), np.float32([0, 1]), BITS)
    assert worst([broken, lost]) is lost
    assert worst([]) is None


def test_scalars_and_empty_tensors():
    assert one(np.float32(1), np.float32(1), BITS).bit_equal
    assert one(np.float32(1), np.float32(2), BITS).where == ()
    assert one(np.zeros((0, 3)), np.zeros((0, 3)), BITS).bit_equal


def test_a_real_engine_reassociates_within_the_bound():
    from onnx import parser

    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        g (float[1, 64, 16, 16] x, float[64, 64, 3, 3] w, float[64] b, float[64] m) => (float[1, 64, 14, 14] y)
        { c = Conv(x, w) y = BatchNormalization(c, m, b, b, m) }""")
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.random(i.shape, np.float32) + 0.5 for i in Session(model).inputs}
    plain, fused = (Session(model, optimize=flag).run(feeds) for flag in (False, True))
    assert all(d.ok for d in compare(plain, fused, VALUES))
