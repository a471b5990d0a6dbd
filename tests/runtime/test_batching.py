"""Frames in groups of N or T: in order, each with its own exception, never more than may wait.

Nothing here is true because time passed: threads are held by events, and where a time matters the clock is ours.
"""

import threading
from concurrent.futures import CancelledError

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import parser

import onnxopt
from onnxopt.errors import OnnxoptError
from onnxopt.runtime.batching import Batcher, BatcherClosed
from onnxopt.runtime.stacking import stacked

NEVER = 1e9
"""Milliseconds: a group is due by its size alone."""
PATIENCE = 60
"""Seconds after which a test that hangs fails."""


class Gate:
    """A function of frames that notes its groups, and runs none before it is opened."""

    def __init__(self, is_open=True):
        self.groups, self.opened, self.entered = [], threading.Event(), threading.Event()
        if is_open:
            self.opened.set()

    def __call__(self, frames):
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        self.groups.append(list(frames))
        return [frame * 10 for frame in frames]


def results(futures):
    return [future.result(PATIENCE) for future in futures]


def test_groups_are_of_n_frames_and_results_in_their_order():
    gate = Gate()
    with Batcher(gate, size=4, milliseconds=NEVER) as batcher:
        assert results([batcher.submit(n) for n in range(8)]) == [n * 10 for n in range(8)]
    assert gate.groups == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_lonely_frame_is_run_when_its_time_is_up():
    with Batcher(Gate(), size=1000, milliseconds=1) as batcher:
        assert batcher.submit(7).result(PATIENCE) == 70


def test_the_time_counts_from_the_first_frame_of_a_group():
    """The second group is due already when the thread comes to it: it does not wait anew."""
    gate, now = Gate(is_open=False), [0.0]
    with Batcher(gate, size=2, milliseconds=3_600_000, pending=8, clock=lambda: now[0]) as batcher:
        futures = [batcher.submit(0), batcher.submit(1)]
        assert gate.entered.wait(PATIENCE)
        futures.append(batcher.submit(2))
        now[0] = 3601.0
        gate.opened.set()
        assert results(futures) == [0, 10, 20]
    assert gate.groups == [[0, 1], [2]]


def test_frames_that_came_meanwhile_are_grouped():
    gate = Gate(is_open=False)
    with Batcher(gate, size=3, milliseconds=0, pending=10) as batcher:
        futures = [batcher.submit(0)]
        assert gate.entered.wait(PATIENCE)
        futures += [batcher.submit(n) for n in range(1, 6)]
        gate.opened.set()
        assert results(futures) == [0, 10, 20, 30, 40, 50]
    assert gate.groups == [[0], [1, 2, 3], [4, 5]]


def test_an_exception_goes_to_the_frame_that_it_belongs_to():
    def run(frames):
        return [100 // frame for frame in frames]

    with Batcher(run, size=4, milliseconds=NEVER) as batcher:
        one, two, three, four = (batcher.submit(n) for n in (1, 0, 2, 4))
        assert results([one, three, four]) == [100, 50, 25]
        with pytest.raises(ZeroDivisionError):
            two.result(PATIENCE)
        assert results([batcher.submit(n) for n in (1, 1, 1, 1)]) == [100] * 4  # and the thread lives on


def test_a_function_that_loses_frames_is_told_of():
    with Batcher(lambda frames: [], size=2, milliseconds=NEVER) as batcher:
        futures = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(ValueError, match="1 frames were run, and 0 results came back"):
            futures[1].result(PATIENCE)


def test_no_more_frames_wait_than_may():
    gate = Gate(is_open=False)
    with Batcher(gate, size=1, milliseconds=0, pending=2) as batcher:
        futures = [batcher.submit(0)]
        assert gate.entered.wait(PATIENCE)  # so that it is none of those that wait
        futures += [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(TimeoutError, match="2 frames are waiting"):
            batcher.submit(3, timeout=0)
        blocked = threading.Thread(target=lambda: futures.append(batcher.submit(4)))
        blocked.start()
        gate.opened.set()
        blocked.join(PATIENCE)
        assert results(futures) == [0, 10, 20, 40]


def test_closing_runs_what_was_taken_and_takes_no_more():
    gate = Gate()
    batcher = Batcher(gate, size=100, milliseconds=NEVER)
    futures = [batcher.submit(n) for n in range(3)]
    batcher.close()
    batcher.close()
    assert [future.done() for future in futures] == [True] * 3 and results(futures) == [0, 10, 20]
    with pytest.raises(BatcherClosed, match="takes no more frames"):
        batcher.submit(3)


def test_a_block_that_fails_drops_what_is_not_begun():
    gate, futures = Gate(is_open=False), []

    def fail():
        with Batcher(gate, size=1, milliseconds=0) as batcher:
            futures.append(batcher.submit(0))
            assert gate.entered.wait(PATIENCE)
            futures.append(batcher.submit(1))
            futures[1].add_done_callback(lambda _: gate.opened.set())
            raise KeyError("the block")

    with pytest.raises(KeyError):
        fail()
    assert futures[0].result(PATIENCE) == 0
    with pytest.raises(CancelledError):
        futures[1].result(PATIENCE)


def test_closing_wakes_who_waits_for_room():
    gate, seen = Gate(is_open=False), []
    batcher = Batcher(gate, size=1, milliseconds=0, pending=1)
    batcher.submit(0)
    assert gate.entered.wait(PATIENCE)
    batcher.submit(1)

    def submit():
        with pytest.raises(BatcherClosed):
            batcher.submit(2)
        seen.append("woken")

    blocked, closing = threading.Thread(target=submit), threading.Thread(target=batcher.close)
    blocked.start()
    closing.start()
    blocked.join(PATIENCE)
    gate.opened.set()
    closing.join(PATIENCE)
    assert seen == ["woken"]


def test_the_thread_of_a_batcher_cannot_wait_for_itself():
    caught, done = [], threading.Event()

    def again(_):
        try:
            for n in range(2):
                batcher.submit(n)
        except RuntimeError as error:
            caught.append(str(error))
        done.set()

    gate = Gate(is_open=False)
    with Batcher(gate, size=1, milliseconds=0, pending=1) as batcher:
        batcher.submit(1).add_done_callback(again)
        gate.opened.set()
        assert done.wait(PATIENCE)
    assert caught == ["the batcher's own thread gives it a frame while its queue is full"]


def test_map_keeps_the_order_and_does_not_run_ahead():
    taken = []

    def source():
        for n in range(50):
            taken.append(n)
            yield n

    with Batcher(Gate(), size=4, milliseconds=0, pending=4) as batcher:
        found = batcher.map(source())
        assert next(found) == 0 and len(taken) <= 8
        assert list(found) == [n * 10 for n in range(1, 50)]


def test_map_raises_in_turn_and_cancels_the_rest():
    def run(frames):
        return [100 // frame for frame in frames]

    with Batcher(run, size=2, milliseconds=NEVER) as batcher:
        found = batcher.map([1, 2, 0, 4])
        assert [next(found), next(found)] == [100, 50]
        with pytest.raises(ZeroDivisionError):
            next(found)


def test_many_threads_get_their_own_results():
    found = {}

    def ask(batcher, start):
        found[start] = results([batcher.submit(n) for n in range(start, start + 50)])

    with Batcher(Gate(), size=7, milliseconds=0, pending=9) as batcher:
        threads = [threading.Thread(target=ask, args=(batcher, start)) for start in range(0, 400, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert found == {start: [n * 10 for n in range(start, start + 50)] for start in range(0, 400, 50)}


@pytest.mark.parametrize("wrong", [{"size": 0}, {"pending": 0}, {"milliseconds": -1}, {"milliseconds": float("nan")}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="a batcher has"):
        Batcher(Gate(), **wrong)


@pytest.fixture
def model(tmp_path):
    """A path, and samples of it with the outputs that onnxruntime gives one by one."""

    def made(batch):
        graph = f"g (float[{batch}, 4] x) => (float[{batch}, 3] y) {{ y = MatMul(x, w) }}"
        found = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {graph}')
        weights = np.random.default_rng(0).integers(-9, 9, (4, 3)).astype(np.float32)
        found.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
        onnx.save(found, tmp_path / "m.onnx")
        samples = [{"x": np.random.default_rng(n).integers(-9, 9, 4).astype(np.float32)} for n in range(7)]
        return tmp_path / "m.onnx", samples, [sample["x"] @ weights for sample in samples]

    return made


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_a_model_runs_in_batches_open_or_fixed(model, batch):
    path, samples, expected = model(batch)
    with onnxopt.Batcher.of_model(path, size=4, milliseconds=0) as batcher:
        for outputs, wanted in zip(batcher.map(samples), expected, strict=True):
            np.testing.assert_array_equal(outputs["y"], wanted)


def test_a_session_of_onnxruntime_runs_once_for_a_group(model):
    path, samples, expected = model("N")

    class Counting:
        def __init__(self):
            self.session, self.shapes = ort.InferenceSession(path), []

        def run(self, feeds):
            self.shapes.append(feeds["x"].shape)
            return {"y": self.session.run(None, feeds)[0]}

    counting = Counting()
    with Batcher.of_model(counting, size=7, milliseconds=NEVER) as batcher:
        found = results([batcher.submit(sample) for sample in samples])
    assert counting.shapes == [(7, 4)]
    np.testing.assert_array_equal([each["y"] for each in found], expected)
    np.testing.assert_array_equal([each["y"] for each in stacked(counting.session)(samples)], expected)


def test_a_frame_of_another_shape_fails_alone(model):
    path, samples, expected = model("N")
    with Batcher.of_model(path, size=3, milliseconds=NEVER) as batcher:
        futures = [batcher.submit(frame) for frame in (samples[0], {"x": np.zeros(5, np.float32)}, samples[1])]
        np.testing.assert_array_equal(results(futures[::2])[1]["y"], expected[1])
        with pytest.raises(OnnxoptError, match="x"):
            futures[1].result(PATIENCE)


def test_an_output_that_is_no_batch_is_refused():
    found = parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> g (float[N, 4] x) => (float y) { y = ReduceSum<keepdims = 0>(x) }'
    )
    run = stacked(ort.InferenceSession(found.SerializeToString()))
    with pytest.raises(OnnxoptError, match=r"output 'y' is \[\] for a batch of 2"):
        run([{"x": np.ones(4, np.float32)}] * 2)
