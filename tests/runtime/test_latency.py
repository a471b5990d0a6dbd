from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import onnx.parser
import pytest

from onnxopt.runtime.latency import Paired, Ratio, Timed, interleaved, latency_ratios
from onnxopt.runtime.session import NotRunnable, Session


def test_the_interval_of_a_median_is_two_order_statistics() -> None:
    ratio = Ratio(tuple(float(value) for value in range(25, 0, -1)))
    assert ratio.median == 13
    assert ratio.interval == (8, 19)  # ranks 8 and 18 of 25, rounded outwards (Conover, table A3: 8 and 18)


def test_few_values_give_no_more_than_their_range() -> None:
    assert Ratio((1.0, 3.0, 2.0)).interval == (1.0, 3.0)


def model(layers: int) -> onnx.ModelProto:
    nodes = "\n".join(f"x{n + 1} = MatMul(x{n}, x{n})" for n in range(layers))
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[96,96] x0) => (float[96,96] x{layers}) {{ {nodes} }}'
    )


def test_a_model_of_many_times_the_work_takes_longer() -> None:
    feeds = {"x0": np.full((96, 96), 0.01, np.float32)}
    itself, longer = latency_ratios([Session(model(2)), Session(model(30))], [feeds], rounds=7)
    assert set(itself.values) == {1.0}
    assert longer.median > 2  # fifteen times the multiplications; a round that something else disturbs may say less


def test_inputs_that_do_not_suit_are_the_models_fault() -> None:
    session = Session(model(1))
    with pytest.raises(NotRunnable, match="x0"):
        latency_ratios([session, session], [{"x0": np.zeros((2, 2), np.float32)}])


def test_the_statistics_are_those_of_all_runs() -> None:
    timed = Timed(((4.0, 1.0), (3.0, 2.0), (5.0, 9.0)))
    runs = [4.0, 1.0, 3.0, 2.0, 5.0, 9.0]
    assert timed.runs.tolist() == runs and timed.medians == (2.5, 2.5, 7.0)
    assert (timed.mean, timed.least) == (4.0, 1.0)
    assert timed.std == pytest.approx(statistics.stdev(runs))
    assert timed.percentile(50) == statistics.median(runs)
    assert timed.percentile(90) == pytest.approx(7.0)  # halfway between the 5th and the 6th: rank 1 + 0.9 * 5
    assert timed.percentile(99) == pytest.approx(8.8)


def test_the_spread_is_half_of_what_lies_between_the_deciles_of_rounds() -> None:
    assert Timed(tuple((float(value),) for value in range(10, 21))).spread == pytest.approx((19 - 11) / 2 / 15)
    assert Timed(((2.0, 2.0), (1.0, 3.0))).spread == 0  # runs that differ within rounds that do not


def paired(*generations: Sequence[float]) -> Paired:
    return Paired(tuple(Ratio(tuple(each)) for each in generations))


STILL = paired([0.999, 1.0, 1.001] * 9, [1.0] * 27, [1.001] * 27)


@pytest.mark.parametrize(
    ("ratios", "is_beyond"),
    [
        ([[0.5] * 9] * 3, True),
        ([[1.02] * 9] * 3, True),
        ([[1.008] * 9] * 3, False),  # a hundredth is nothing, however still the machine is
        ([[1.05] * 9, [1.04] * 9, [0.99] * 9], False),  # the sessions do not agree
        ([[1.05] * 9, [1.04] * 9, [1.004] * 9], False),
    ],
)
def test_what_is_a_difference_on_a_still_machine(ratios: list[list[float]], is_beyond: bool) -> None:
    assert paired(*ratios).is_beyond(STILL) is is_beyond


def test_noise_is_what_the_same_model_differs_by() -> None:
    unlucky = paired([1.04] * 9, [1.0] * 9, [1.0] * 9)  # the memory that one session got is worth 4 %
    assert unlucky.extent == pytest.approx(math.log(1.04))
    assert not paired([1.03] * 9, [1.03] * 9, [1.03] * 9).is_beyond(unlucky)
    assert paired([0.95] * 9, [0.95] * 9, [0.95] * 9).is_beyond(unlucky)
    wild = paired([0.6, 1.0, 1.7] * 9)  # rounds that say nothing: the interval of their median is what counts
    assert wild.extent == pytest.approx(math.log(1.7)) and not paired([0.7] * 9).is_beyond(wild)


def test_all_models_run_in_every_round_after_a_run_that_does_not_count() -> None:
    calls: list[str] = []
    one, other = interleaved([[lambda: calls.append("a")], [lambda: calls.append("b")]], rounds=6, seconds=0.0)
    assert len(one.rounds) == len(other.rounds) == 5  # the fewest, since the time was over at once
    counted = sum(map(len, one.rounds))
    assert calls.count("a") == counted + len(one.rounds) + 2  # one before each round, two before the first
