"""The models that become Core ML packages: where they come from, and how one sample after the other is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from quantization_subjects import Subject, cache_folder, subjects  # puts fixtures/ on the path

from measure import psnr  # isort: skip
from notes import notes  # isort: skip
from prose import WINDOW, prose  # isort: skip
from real_models import RealModelUnavailable, real_model  # isort: skip
from speech import RATE, speech  # isort: skip

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Run = Callable[[Arrays], Arrays]
"""One sample: outputs by inputs, both by the names of the ONNX model."""
_RIDGE = 0.1
"""Added to the squares of the features that the head of BERT is fitted to."""
_NOTES = "StatefulPartitionedCall:1"
"""basic-pitch: how likely each key sounds, by frame."""
_VOICED = 0.5


@dataclass(frozen=True)
class Task:
    """A model with data that tell what a version of it is worth. What is not there is downloaded or made."""

    name: str
    unit: str
    """`%` of samples that are right, or `dB`, the mean PSNR."""
    find_model: Callable[[], Path]
    find_calibration: Callable[[], Path]
    """An .npz of inputs."""
    find_test: Callable[[], Path]
    """An .npz of inputs and of what must come out."""
    judge: Callable[[Run, Arrays], Iterator[float]]
    """What each of some samples of the test is worth: 100 or 0, or its PSNR."""
    samples: int
    """Of the test, to judge on: evenly spread."""
    before: str = ""
    """Passes that make the model static, where samples do not tell how."""

    def worth(self, run: Run, count: int | None = None) -> float:
        """The mean over the samples, or over fewer."""
        with np.load(self.find_test()) as stored:
            total = len(next(iter(stored.values())))
            chosen = np.linspace(0, total - 1, min(total, count or self.samples)).round().astype(np.int64)
            test = {name: stored[name][chosen] for name in stored}
        return float(np.mean(list(self.judge(run, test))))


def tasks() -> list[Task]:
    """All of them."""
    counts = {"digits_mobilenet": 200, "tinybeauty": 8, "efficientnet_lite0": 20, "ppocr_cls": 60}
    return [
        *(_of(subject, counts[subject.name]) for subject in subjects()),
        Task(
            "silero_vad",
            "%",
            lambda: real_model("silero_vad_16k_op15"),
            lambda: speech("calibration"),
            lambda: speech("test"),
            _speaks,
            937,
            "freeze-shapes{dims=batch:1,sequence:576},",
        ),
        Task(
            "basic_pitch",
            "%",
            lambda: real_model("basic_pitch"),
            lambda: notes("calibration"),
            lambda: notes("test"),
            _sounds,
            12,
            "freeze-shapes{dims=unk__749:1},",
        ),
        Task(
            "bert",
            "%",
            _bert,
            lambda: prose("calibration"),
            lambda: prose("test"),
            _is_code,
            100,
            f"freeze-shapes{{dims=batch:1,sequence:{WINDOW}}},",
        ),
    ]


def _of(subject: Subject, samples: int) -> Task:
    """A model of those that are quantized for other targets too."""

    def judge(run: Run, test: Arrays) -> Iterator[float]:
        for row, expected in zip(test[subject.input], test[subject.expected], strict=True):
            output = next(iter(run({subject.input: row[None]}).values()))
            yield float(output.argmax() == expected) * 100 if subject.unit == "%" else psnr(output, expected[None])

    found = (subject.find_model, subject.find_calibration, subject.find_test)
    return Task(subject.name, subject.unit, *found, judge, samples)


def _speaks(run: Run, test: Arrays) -> Iterator[float]:
    """Chunk after chunk, the state handed on."""
    state, rate = np.zeros((2, 1, 128), np.float32), np.asarray(RATE, np.int64)
    for chunk, voiced in zip(test["sound"], test["label"], strict=True):
        found = run({"input": chunk, "state": state, "sr": rate})
        state = found["stateN"]
        yield float((found["output"].item() > _VOICED) == bool(voiced)) * 100


def _sounds(run: Run, test: Arrays) -> Iterator[float]:
    """The key that is likeliest over the whole clip."""
    ((name, clips),) = ((name, array) for name, array in test.items() if name != "label")
    for clip, key in zip(clips, test["label"], strict=True):
        yield float(run({name: clip[None]})[_NOTES][0].mean(axis=0).argmax() == key) * 100


def _is_code(run: Run, test: Arrays) -> Iterator[float]:
    for ids, mask, label in zip(test["input_ids"], test["attention_mask"], test["label"], strict=True):
        logits = run({"input_ids": ids[None], "attention_mask": mask[None]})["logits"]
        yield float(logits.argmax() == label) * 100


def _bert() -> Path:
    """The BERT of four layers that `zoo_torch.py` exports, whose weights were drawn and never trained, with a head.

    The head tells code from prose by the mean of the last layer: a ridge regression, so that there is an accuracy.
    """
    source, path = cache_folder() / "zoo" / "bert-ts.onnx", cache_folder() / "bert-prose" / "bert_prose.onnx"
    if path.exists():
        return path
    if not source.exists():
        raise RealModelUnavailable(f"{source.name} is not there: run benchmarks/zoo_torch.py where torch is installed")
    model = onnx.load(source)
    weights, bias = _head(source)
    graph = model.graph
    graph.initializer.extend(
        [numpy_helper.from_array(weights, "head.weight"), numpy_helper.from_array(bias, "head.bias")]
    )
    mean = helper.make_node("ReduceMean", ["hidden"], ["head.mean"], axes=[1], keepdims=0)
    graph.node.extend([mean, helper.make_node("Gemm", ["head.mean", "head.weight", "head.bias"], ["logits"])])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2]))
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".part")
    onnx.save(model, made)
    made.replace(path)
    return path


def _head(bert: Path) -> tuple[Array, Array]:
    """Weights [256, 2] and biases [2] that are fitted to the training windows."""
    session = onnxruntime.InferenceSession(str(bert))
    with np.load(prose("training")) as training:
        parts = [slice(start, start + 50) for start in range(0, len(training["label"]), 50)]
        ids, masks, labels = (training[name] for name in ("input_ids", "attention_mask", "label"))
    feeds = [{"input_ids": ids[part], "attention_mask": masks[part]} for part in parts]
    features = np.concatenate([session.run(["hidden"], fed)[0].mean(axis=1) for fed in feeds]).astype(np.float64)
    mean = features.mean(axis=0)
    centred = features - mean
    squares = centred.T @ centred + _RIDGE * np.eye(centred.shape[1])
    direction = np.linalg.solve(squares, centred.T @ (labels * 2.0 - 1))
    offset = float(mean @ direction)
    weights = np.stack([-direction, direction], axis=1).astype(np.float32)
    return weights, np.array([offset, -offset], np.float32)
