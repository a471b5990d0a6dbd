"""Data into a kit and back by `--data`: the same arrays."""

import json

import numpy as np
import onnx
import pytest

from onnxopt.data import inputs_of, open_data
from onnxopt.errors import BadData, BadOption
from onnxopt.pipeline.backend import Refused
from tests.backends.qnn_kit import kits

LAYOUTS = pytest.mark.parametrize("layout", ["nhwc", "nchw"])
ODD = {"image": "in put/0:=x", "ids": "../../etc", "mask": "tensor '\"$(x)", "scale": "1 — é", "y": "out;rm -rf ."}


def several(count=3):
    return [
        {
            "image": np.arange(24, dtype=np.float32).reshape(2, 3, 4) * (number + 1),
            "ids": np.array([number, -(2**24), 7], np.int64),
            "mask": np.array([number % 2 == 0]),
            "scale": np.float32(number - 0.1).reshape(()),
        }
        for number in range(count)
    ]


def require_same(data, expected):
    found = list(data.samples())
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        for name, array in other.items():
            assert one[name].dtype == array.dtype and one[name].shape == array.shape
            assert one[name].tobytes() == np.ascontiguousarray(array).tobytes()


@LAYOUTS
@pytest.mark.parametrize("by_list", [False, True])
def test_one_input(tmp_path, layout, by_list):
    model, samples = kits.image(), kits.images(3)
    kits.make(model, kits.samples_for(model, samples), tmp_path / "kit", f"layout={layout}")
    read = tmp_path / "kit" / ("input_list.txt" if by_list else "")
    require_same(open_data(read, inputs_of(model)), samples)
    assert (tmp_path / "kit/input_list.txt").read_text() == "raw/00000_0.raw\nraw/00001_0.raw\nraw/00002_0.raw\n"
    stored = np.fromfile(tmp_path / "kit/raw/00001_0.raw", "<f4")
    channels_last = samples[1]["x"].transpose(1, 2, 0)
    assert np.array_equal(stored, (channels_last if layout == "nhwc" else samples[1]["x"]).ravel())


@LAYOUTS
@pytest.mark.parametrize("native", ["false", "true"])
def test_several_inputs_of_several_types(tmp_path, layout, native):
    model, samples = kits.model(kits.SEVERAL), several()
    options = f"layout={layout} native={native}"
    kits.make(model, kits.samples_for(model, samples), tmp_path / "kit", options)
    require_same(open_data(tmp_path / "kit", inputs_of(model)), samples)
    line = "image:=raw/00002_0.raw ids:=raw/00002_1.raw mask:=raw/00002_2.raw scale:=raw/00002_3.raw"
    assert (tmp_path / "kit/input_list.txt").read_text().splitlines()[2] == line
    sizes = [(tmp_path / f"kit/raw/00000_{place}.raw").stat().st_size for place in range(4)]
    assert sizes == ([96, 24, 1, 4] if native == "true" else [96, 12, 4, 4])


@LAYOUTS
def test_odd_names_become_plain_ones_and_are_read_back(tmp_path, layout):
    model = kits.renamed(kits.model(kits.SEVERAL), ODD)
    samples = [{ODD[name]: array for name, array in sample.items()} for sample in several()]
    kits.make(model, kits.samples_for(model, samples), tmp_path / "kit", f"layout={layout}")
    require_same(open_data(tmp_path / "kit", inputs_of(model)), samples)
    made = onnx.load(tmp_path / "kit/model.onnx")
    onnx.checker.check_model(made)
    plain = [value.name for value in (*made.graph.input, *made.graph.output)]
    assert plain == ["in_put_0__x", "______etc", "tensor_____x_", "t_1____", "out_rm__rf__"]
    assert json.loads((tmp_path / "kit.json").read_text())["renamed"] == dict(zip(ODD.values(), plain, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "kit.json"]
    require_same(  # the kit's own model takes them too
        open_data(tmp_path / "kit", inputs_of(made)),
        [dict(zip(plain, sample.values(), strict=False)) for sample in samples],
    )


def test_a_plain_name_that_is_taken_gets_a_number(tmp_path):
    model = kits.renamed(kits.image(), {"x": "c.", "c": "c_"})
    kits.make(model, kits.samples_for(model, [{"c.": kits.images(1)[0]["x"]}]), tmp_path / "kit")
    assert [value.name for value in onnx.load(tmp_path / "kit/model.onnx").graph.input] == ["c__1"]


def test_a_sample_that_is_fed_whole(tmp_path):
    model = kits.quantized()
    samples = [{"x": each["x"][None]} for each in kits.images(2)]
    kits.make(model, kits.samples_for(model, samples), tmp_path / "kit")
    require_same(open_data(tmp_path / "kit", inputs_of(model)), samples)


def test_samples_are_limited_and_spread(tmp_path):
    model, samples = kits.image(), kits.images(10)
    kits.make(model, kits.samples_for(model, samples), tmp_path / "kit", "samples=2")
    require_same(open_data(tmp_path / "kit", inputs_of(model)), [samples[0], samples[5]])


def test_header_lines_name_outputs_and_are_kept_from_the_quantizer(tmp_path):
    model = kits.renamed(kits.image(), {"y": "a.b"})
    model.graph.node[0].name = "conv/0"
    options = "output-layers=conv/0 output-tensors=c,a.b"
    kits.make(model, kits.samples_for(model, kits.images(1)), tmp_path / "kit", options)
    assert (tmp_path / "kit/input_list.txt").read_text() == "#conv/0\n%c a_b\nraw/00000_0.raw\n"
    assert (tmp_path / "kit/calibration_list.txt").read_text() == "raw/00000_0.raw\n"
    require_same(open_data(tmp_path / "kit", inputs_of(model)), kits.images(1))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("output-layers=nothing", "has no operator 'nothing'"),
        ("output-tensors=nothing", "has no tensor 'nothing'"),
        ('output-tensors="a b"', "the list cannot say the name 'a b'"),
        ("samples=0", "samples is 1 or more, not 0"),
        ("hexagon=845;rm", "hexagon is a version as v65, not 845;rm"),
        ("layout=chw", "layout"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, error):
    with pytest.raises(BadOption, match=error):
        kits.make(kits.image(), kits.samples_for(kits.image(), kits.images(1)), tmp_path / "kit", options)
    assert not list(tmp_path.iterdir())


def test_no_samples_no_kit(tmp_path):
    with pytest.raises(BadOption, match=r"qnn-kit needs samples.*give --data"):
        kits.make(kits.image(), None, tmp_path / "kit")


def test_what_float32_cannot_hold_is_refused_unless_native(tmp_path):
    model, samples = kits.model(kits.SEVERAL), several(1)
    samples[0]["ids"] = np.array([0, 2**24 + 1, 2**62], np.int64)
    data = kits.samples_for(model, samples)
    with pytest.raises(BadData, match=r"input 'ids' has the value np.int64\(16777217\), and float32 cannot hold it"):
        kits.make(model, data, tmp_path / "kit")
    assert not list(tmp_path.iterdir())
    kits.make(model, data, tmp_path / "kit", "native=true")
    require_same(open_data(tmp_path / "kit", inputs_of(model)), samples)


def test_nan_in_samples_is_refused(tmp_path):
    samples = kits.images(2)
    samples[1]["x"][0, 0, 0] = np.nan
    with pytest.raises(BadData, match="input 'x' holds NaN or infinity in sample 1"):
        kits.make(kits.image(), kits.samples_for(kits.image(), samples), tmp_path / "kit")


def test_samples_of_several_shapes_are_refused(tmp_path):
    model = kits.model("g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }")
    data = kits.samples_for(model, [{"x": np.ones(size, np.float32)} for size in (3, 4)])
    with pytest.raises(BadData, match=r"input 'x' is float32\[4\] in sample 1 and float32\[3\] in the first"):
        kits.make(model, data, tmp_path / "kit")


def test_a_fixed_batch_is_refused(tmp_path):
    model = kits.model("g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    data = kits.samples_for(model, [{"x": np.ones(3, np.float32)}] * 2)
    with pytest.raises(BadData, match=r"fixed to batches of 2.*one sample at a time"):
        kits.make(model, data, tmp_path / "kit")


def test_inputs_that_are_no_numbers_are_refused_by_name(tmp_path):
    model = kits.model("g (string[N] names, float[N] x) => (float[N] y) { y = Relu(x) }")
    data = kits.samples_for(model, [{"names": np.array("a", object), "x": np.float32(1)}])
    with pytest.raises(Refused, match="input 'names': raw files are for tensors of numbers"):
        kits.make(model, data, tmp_path / "kit")


def test_the_model_has_the_shapes_of_the_samples(tmp_path):
    kits.make(kits.image(), kits.samples_for(kits.image(), kits.images(1)), tmp_path / "kit")
    (value,) = onnx.load(tmp_path / "kit/model.onnx").graph.input
    assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == [1, 3, 4, 5]
