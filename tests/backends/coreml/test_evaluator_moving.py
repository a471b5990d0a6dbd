"""Operations that move, sort and scatter, and blocks that are run when they are wanted."""

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="the evaluator runs on coremltools")

from onnxopt.backends.coreml.evaluator import NotEvaluable
from tests.backends.coreml.programs import evaluated, mb

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_concat_interleaves(tmp_path):
    """The example of the documentation."""
    one, other = np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([[7, 8], [9, 10], [11, 12]])

    def build(x, y):
        return mb.concat(values=[x, y], axis=0, interleave=True)

    (found,) = evaluated(tmp_path, build, {"x": one, "y": other})
    assert found.tolist() == [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]


def test_scatter(tmp_path):
    """The example of the documentation."""
    data, updates = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[5, 6, 7], [8, 9, 10]])

    def build(data, updates):
        return mb.scatter(data=data, indices=np.int32([1, 0]), updates=updates, axis=0, mode="add")

    (found,) = evaluated(tmp_path, build, {"data": data, "updates": updates})
    assert found.tolist() == [[9, 11, 13], [9, 11, 13]]


def test_scatter_adds_up_what_goes_to_one_place(tmp_path):
    def build(x):
        return (
            mb.scatter_nd(data=x, indices=np.int32([[0, 1], [0, 1]]), updates=np.float32([10, 20]), mode="add"),
            mb.scatter_along_axis(
                data=x, indices=np.int32([[0, 0, 0, 0]]), updates=np.float32([[9, 0, 9, 0]]), axis=0, mode="max"
            ),
        )

    added, most = evaluated(tmp_path, build, {"x": X})
    assert added[0].tolist() == [0, 31, 2, 3]
    assert most[0].tolist() == [9, 1, 9, 3]


def test_two_updates_of_one_place_have_no_order(tmp_path):
    def build(x):
        return mb.scatter_nd(data=x, indices=np.int32([[0, 1], [0, 1]]), updates=np.float32([10, 20]), mode="update")

    with pytest.raises(NotEvaluable, match="which one stays"):
        evaluated(tmp_path, build, {"x": X})


def test_gather_nd_with_batches(tmp_path):
    def build(x):
        return mb.gather_nd(x=x, indices=np.int32([[0], [3], [1]]), batch_dims=1)

    (found,) = evaluated(tmp_path, build, {"x": X})
    assert found.tolist() == [0, 7, 9]


def test_cumsum_exclusive_and_reverse(tmp_path):
    def build(x):
        return mb.cumsum(x=x, axis=1, exclusive=True, reverse=True)

    (found,) = evaluated(tmp_path, build, {"x": X})
    assert found[0].tolist() == [6, 5, 3, 0]


def test_band_part_leaves_no_nan(tmp_path):
    x = np.full((2, 2), np.inf, np.float32)
    (found,) = evaluated(tmp_path, lambda x: mb.band_part(x=x, lower=-1, upper=0), {"x": x})
    assert found.tolist() == [[np.inf, 0], [np.inf, np.inf]]


def test_topk_has_equal_elements_in_their_order(tmp_path):
    x = np.float32([[1, 3, 3, 2, 3]])
    values, indices = evaluated(tmp_path, lambda x: mb.topk(x=x, k=4), {"x": x})
    assert values.tolist() == [[3, 3, 3, 2]]
    assert indices.tolist() == [[1, 2, 4, 3]]


def test_slices(tmp_path):
    def build(x):
        return (
            mb.slice_by_index(x=x, begin=[2, 3], end=[0, 0], stride=[-1, -2], end_mask=[False, True]),
            mb.slice_by_index(x=x, begin=[-1, 1], end=[0, 3], squeeze_mask=[True, False]),
        )

    backwards, last = evaluated(tmp_path, build, {"x": X})
    np.testing.assert_array_equal(backwards, X[2:0:-1, 3::-2])
    np.testing.assert_array_equal(last, X[-1, 1:3])


def test_reverse_sequence(tmp_path):
    def build(x):
        return mb.reverse_sequence(x=x, lengths=np.int32([2, 4, 1]), seq_axis=1, batch_axis=0)

    (found,) = evaluated(tmp_path, build, {"x": X})
    assert found.tolist() == [[1, 0, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]


def test_space_and_depth(tmp_path):
    x = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)

    def build(x):
        return (
            mb.space_to_depth(x=mb.depth_to_space(x=x, block_size=2), block_size=2),
            mb.pixel_unshuffle(x=mb.pixel_shuffle(x=x, upscale_factor=2), downscale_factor=np.uint32(2)),
            mb.pixel_shuffle(x=x, upscale_factor=2),
        )

    *same, shuffled = evaluated(tmp_path, build, {"x": x})
    for each in same:
        np.testing.assert_array_equal(each, x)
    assert shuffled[0, 0, :2, :2].tolist() == [[0, 16], [32, 48]]


@pytest.mark.parametrize(("first", "expected"), [(1.0, 2.0), (-1.0, -3.0)])
def test_cond(tmp_path, first, expected):
    def build(x):
        positive = mb.greater(x=mb.reduce_max(x=x), y=np.float32(0))
        return mb.cond(
            pred=positive,
            _true_fn=lambda: mb.mul(x=x, y=np.float32(2)),
            _false_fn=lambda: mb.mul(x=x, y=np.float32(3)),
        )

    (found,) = evaluated(tmp_path, build, {"x": np.float32([first])})
    assert found.tolist() == [expected]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_while_loop(tmp_path, precision):
    def build(x):
        def still(count, _value):
            return mb.less(x=count, y=np.int32(5))

        def step(count, value):
            return mb.add(x=count, y=np.int32(1)), mb.add(x=value, y=x)

        return mb.while_loop(_cond=still, _body=step, loop_vars=(np.int32(0), mb.mul(x=x, y=np.float32(0))))[1]

    (found,) = evaluated(tmp_path, build, {"x": np.float32([1, 2])}, precision=precision)
    assert found.tolist() == [5, 10]
