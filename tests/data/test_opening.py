"""Data sets of every kind: what they yield, and how they refuse what does not fit."""

import gc
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from onnxopt.data import ValueSpec, open_data, require_finite
from onnxopt.errors import BadData


def tensor(name, shape, dtype="float32"):
    return ValueSpec(name, "tensor", np.dtype(dtype), shape)


X = tensor("x", ("N", 3))
IDS = tensor("ids", ("N",), "int64")


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **arrays)
        return path

    return write


def floats(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


# --- batches


def test_samples_are_stacked_as_many_as_asked_for(npz):
    data = open_data(npz(x=floats(5, 3), ids=np.arange(5)), [X, IDS])
    assert data.length == 5
    batches = list(data.batches(2))
    assert [feeds["x"].shape for feeds in batches] == [(2, 3), (2, 3), (1, 3)]
    np.testing.assert_array_equal(np.concatenate([feeds["x"] for feeds in batches]), floats(5, 3))
    np.testing.assert_array_equal(np.concatenate([feeds["ids"] for feeds in batches]), np.arange(5))


def test_data_can_be_read_again(npz):
    data = open_data(npz(x=floats(5, 3)), [X])
    for _ in range(2):
        assert sum(len(feeds["x"]) for feeds in data.batches(2)) == 5


def test_a_fixed_batch_groups_the_samples_itself(npz):
    data = open_data(npz(x=floats(4, 3)), [tensor("x", (2, 3))])
    assert [feeds["x"].shape for feeds in data.batches(1)] == [(2, 3), (2, 3)]


def test_samples_with_all_axes_are_fed_whole_one_at_a_time(npz):
    state, rate = tensor("state", (2, 1, 4)), tensor("rate", (), "int64")
    data = open_data(npz(x=floats(3, 3), state=floats(3, 2, 1, 4), rate=np.arange(3)), [X, state, rate])
    batches = list(data.batches(8))
    assert [feeds["state"].shape for feeds in batches] == [(2, 1, 4)] * 3
    assert [feeds["x"].shape for feeds in batches] == [(1, 3)] * 3
    assert [feeds["rate"].item() for feeds in batches] == [0, 1, 2]


def test_take_is_the_first_samples_in_whole_batches(npz):
    path = npz(x=floats(6, 3))
    assert sum(len(feeds["x"]) for feeds in open_data(path, [X]).take(4).batches(3)) == 4
    taken = open_data(path, [tensor("x", (2, 3))]).take(3)
    assert taken.length == 4
    assert [len(feeds["x"]) for feeds in taken.batches()] == [2, 2]
    assert open_data(path, [X]).take(99).length == 6


def test_spread_is_evenly_over_all_samples_in_whole_batches(npz):
    rows = np.arange(20, dtype=np.float32).repeat(3).reshape(20, 3)
    data = open_data(npz(x=rows), [X])
    assert [feeds["x"][0, 0] for feeds in data.spread(4).batches()] == [0, 5, 10, 15]
    assert [feeds["x"][0, 0] for feeds in data.spread(8).batches()] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert (data.spread(4).length, data.spread(15).length, data.spread(99).length) == (4, 15, 20)
    fixed = open_data(npz(x=rows), [tensor("x", (2, 3))]).spread(3)
    assert fixed.length == 4 and [feeds["x"][:, 0].tolist() for feeds in fixed.batches()] == [[0, 5], [10, 15]]


def test_labels_stream_beside_the_inputs_when_asked_for(npz):
    names = np.array(["zero", "one"])
    data = open_data(npz(x=floats(5, 3), labels=np.arange(5), names=names), [X])
    assert data.extras == ("labels",)  # the names are not one a sample
    assert [feeds["labels"].tolist() for feeds in data.batches(3, extras=["labels"])] == [[0, 1, 2], [3, 4]]
    assert set(next(data.batches(3))) == {"x"}
    with pytest.raises(BadData, match="has no array 'targets'; it has: labels"):
        next(data.batches(3, extras=["targets"]))


def test_types_that_numpy_cannot_name_and_strings(npz):
    specs = [tensor("b", ("N", 2), ml_dtypes.bfloat16), tensor("s", ("N",), "object")]
    data = open_data(npz(b=np.ones((3, 2), ml_dtypes.bfloat16), s=np.array(["a", "bc", ""])), specs)
    (feeds,) = data.batches(3)
    assert feeds["b"].dtype == ml_dtypes.bfloat16
    assert feeds["s"].dtype == object
    assert feeds["s"].tolist() == ["a", "bc", ""]


# --- what does not fit


@pytest.mark.parametrize(
    ("inputs", "arrays", "error"),
    [
        ([X], {"y": floats(2, 3)}, "has no input 'x'; it has: y"),
        ([X], {"x": floats(2, 4)}, r"input 'x' takes float32\[N, 3\], a sample is float32\[4\]"),
        ([X], {"x": floats(2, 3).astype(float)}, r"input 'x' takes float32\[N, 3\], a sample is float64\[3\]"),
        ([X], {"x": floats(2, 3, 1, 1)}, r"a sample is float32\[3, 1, 1\]"),
        ([X], {"x": floats(2)}, r"a sample is float32\[\]"),
        ([X], {"x": floats(0, 3)}, "holds no samples"),
        ([X], {"x": np.float32(1)}, "every input needs one entry a sample"),
        ([X, IDS], {"x": floats(2, 3), "ids": np.arange(3)}, r"'x' is \[2, 3\] and 'ids' \[3\]"),
        ([tensor("x", (2, 3))], {"x": floats(5, 3)}, "holds 5 samples; the model is fixed to batches of 2"),
        ([tensor("x", (2, 3)), tensor("z", (1, 3))], {"x": floats(4, 3), "z": floats(4, 3)}, "take 1 and 2 samples"),
        ([X], {"x": np.asfortranarray(floats(2, 3))}, "Fortran order .*ascontiguousarray"),
        ([X], {"x": floats(2, 3), "labels": np.array([{}, []], object)}, "'labels' cannot be read: .*pickled"),
        ([X], {}, "has no input 'x'; it has: nothing"),
    ],
)
def test_what_does_not_fit_is_refused_when_opened(npz, inputs, arrays, error):
    with pytest.raises(BadData, match=error) as refusal:
        open_data(npz(**arrays), inputs)
    assert "\n" not in str(refusal.value)


def test_nan_is_refused_where_it_matters(npz):
    x = floats(5, 3)
    x[3, 1] = np.nan
    data = open_data(npz(x=x, ids=np.arange(5)), [X, IDS])
    assert len(list(data.batches(5))) == 1
    with pytest.raises(BadData, match="input 'x' holds NaN or infinity in sample 3"):
        list(require_finite(data).batches(2))
    assert len(list(require_finite(data.take(3)).batches(1))) == 3


# --- npz


def test_a_large_npz_is_streamed(npz):
    x = np.zeros((2000, 3, 64, 64), np.float32)  # 98 MB that compress to nothing
    path = npz(x=x)
    del x
    gc.collect()
    tracemalloc.start()
    seen = sum(len(feeds["x"]) for feeds in open_data(path, [tensor("x", ("N", 3, 64, 64))]).batches(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 2000
    assert peak < 4_000_000


def header(shape, dtype="<f4"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("member", "error"),
    [
        (header((5, 3)) + bytes(59), r"float32\[5, 3\] does not take the 59 bytes"),
        (header((5, -3)) + bytes(60), "does not take|negative"),
        (header((1, 1 << 29)), "does not take the 0 bytes"),
        (b"no array at all", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_an_array_that_contradicts_itself_is_refused(tmp_path, member, error):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(BadData, match=error):
        open_data(path, [X])


def test_one_huge_sample_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxopt.data.npz.LARGEST_SAMPLE", 1 << 20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1, 1 << 19), np.float32))
    with pytest.raises(BadData, match=r"one sample of .* takes 2097152 bytes"):
        open_data(path, [tensor("x", ("N", "L"))])


def test_damage_is_found_when_it_is_met(npz):
    path = npz(x=np.random.default_rng(0).standard_normal((5000, 3), np.float32))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(BadData, match=r"array 'x' cannot be read|cannot be read"):
        list(open_data(path, [X]).batches(64))


# --- folders


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        floats(3).tofile(tmp_path / f"{i}.raw")
        np.save(tmp_path / f"{i}.npy", np.array(i))

    def write(text):
        (tmp_path / "input_list.txt").write_text(text)
        return tmp_path

    return write


def test_a_list_with_names(folder):
    path = folder("#out\n%other\nx:=0.raw ids:=0.npy\n\nids:=2.npy  x:=./2.raw\n")
    data = open_data(path, [X, IDS])
    assert data.length == 2
    (feeds,) = data.batches(2)
    np.testing.assert_array_equal(feeds["x"], [[0, 1, 2], [0, 1, 2]])
    assert feeds["ids"].tolist() == [0, 2]


def test_a_bare_path_is_the_only_input(folder):
    (feeds,) = open_data(folder("0.raw\n1.raw\n"), [X]).batches(8)
    assert feeds["x"].shape == (2, 3)


def test_raw_files_may_hold_the_whole_input(folder):
    data = open_data(folder("0.raw\n1.raw\n"), [tensor("x", (3, 1))])
    assert [feeds["x"].shape for feeds in data.batches()] == [(3, 1), (3, 1)]


@pytest.mark.parametrize(
    ("text", "inputs", "error"),
    [
        ("# nothing\n", [X], "holds no samples"),
        ("0.raw\n", [X, IDS], "line 1: the model has 2 inputs, so write name:=path, not '0.raw'"),
        ("x:=0.raw\n", [X, IDS], "line 1: no file for input 'ids'"),
        ("y:=0.raw\n", [X], "line 1: the model has no input 'y'; it has: x"),
        ("\n9.raw\n", [X], "line 2: there is no file '9.raw'"),
        ("../secret.raw\n", [X], "lies outside the folder"),
        ("/etc/passwd\n", [X], "lies outside the folder"),
        ("link.raw\n", [X], "lies outside the folder"),
        ("input_list.txt\n", [X], "neither .npy nor .raw"),
        ("0.raw\n", [tensor("x", ("N", 4))], "holds 3 float32, which is no sample of input 'x'"),
        ("0.raw\n", [tensor("x", ("N", "L"))], "that the model leaves open save .npy"),
        ("0.raw\n", [tensor("x", ("N", 3), "int64")], r"\.raw is float32, but input 'x' takes int64"),
        ("pickled.npy\n", [X], "cannot be read for input 'x'"),
        ("short.npy\n", [X], "cannot be read for input 'x'"),
    ],
)
def test_a_bad_list_names_its_line(folder, tmp_path, text, inputs, error):
    (tmp_path.parent / "secret.raw").write_bytes(bytes(12))
    (tmp_path / "link.raw").symlink_to(tmp_path.parent / "secret.raw")
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes(header((1000, 3)))
    with pytest.raises(BadData, match=error):
        open_data(folder(text), inputs)


# --- functions


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working directory."""
    monkeypatch.chdir(tmp_path)
    names = iter(range(100))

    def write(body):
        name = f"user_data_{tmp_path.name}_{next(names)}"
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\ndef samples():\n    {body}\n")
        return f"{name}:samples"

    return write


def test_a_function_yields_samples(module):
    spec = module("yield from ({'x': np.full(3, i, 'f4'), 'label': i} for i in range(5))")
    data = open_data(spec, [X])
    assert data.length is None
    assert data.extras == ("label",)
    for _ in range(2):
        batches = list(data.batches(2, extras=["label"]))
        assert [feeds["x"].shape for feeds in batches] == [(2, 3), (2, 3), (1, 3)]
        assert batches[2]["label"].tolist() == [4]


def test_a_function_may_yield_ready_feeds_and_sequences(module):
    sequence = ValueSpec("s", "sequence", np.dtype("f4"), None, ValueSpec("s"))
    spec = module("return [{'x': np.ones((4, 3), 'f4'), 's': [np.ones(2, 'f4')]}] * 2")
    batches = list(open_data(spec, [X, sequence]).batches(2))
    assert [feeds["x"].shape for feeds in batches] == [(4, 3)] * 2
    assert len(batches[0]["s"]) == 1


def test_a_fixed_batch_that_cannot_be_filled_is_found_at_the_end(module):
    data = open_data(module("return [{'x': np.ones(3, 'f4')}] * 5"), [tensor("x", (2, 3))])
    with pytest.raises(BadData, match="fixed to batches of 2, 1 samples are left over"):
        list(data.batches())


def test_each_sample_is_checked(module):
    data = open_data(module("yield {'x': np.ones(3, 'f4')}; yield {'x': np.ones(4, 'f4')}"), [X])
    with pytest.raises(BadData, match=r"a sample is float32\[4\]"):
        list(data.batches())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("yield 3", "must yield dicts by input name, it yielded int"),
        ("yield {'y': 3}", "has no input 'x'; it has: y"),
        ("raise KeyError('boom')\n    yield", "raised KeyError: 'boom'"),
        ("return 3", "raised TypeError"),
        ("return []", "holds no samples"),
    ],
)
def test_a_function_that_fails_is_named(module, body, error):
    with pytest.raises(BadData, match=error):
        open_data(module(body), [X])


# --- what there is to open


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("nothing.npz", "there is no data at nothing.npz: give an .npz, a folder"),
        ("no_such_module_anywhere:samples", "cannot be imported: ModuleNotFoundError"),
        ("numpy:no_such_function", "cannot be imported: AttributeError"),
        ("photos", "has no input_list.txt; folders of images are not read yet"),
        ("data.csv", "data.csv is not data that is read here: give an .npz"),
        ("text.npz", "text.npz cannot be read: File is not a zip file"),
    ],
)
def test_what_is_no_data_is_refused_with_what_would_be(tmp_path, monkeypatch, spec, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "data.csv").write_text("1,2")
    (tmp_path / "text.npz").write_text("1,2")
    with pytest.raises(BadData, match=error):
        open_data(spec, [X])


def test_a_sample_of_another_type_than_float64_is_refused(npz):
    # numpy finds None, an open type, equal to float64
    with pytest.raises(BadData, match=r"takes float64\[N, 3\], a sample is float32\[3\]"):
        open_data(npz(x=np.zeros((2, 3), np.float32)), [tensor("x", ("N", 3), "float64")])
