"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onnxopt.atomic import replacing
from onnxopt.errors import OnnxoptError


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["nameless", "hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing: without a name (Linux, most file systems), and under a hidden one."""
    if request.param == "hidden":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


def test_the_file_is_there_when_the_block_ends_and_not_before(tmp_path: Path, way: str) -> None:
    target = tmp_path / "model.onnx"
    with replacing(target) as file:
        file.write(b"new")
        assert not target.exists()
        assert len(entries(tmp_path)) == (way == "hidden")
    assert target.read_bytes() == b"new" and entries(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(
    failure: type[BaseException], tmp_path: Path, way: str
) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with pytest.raises(failure), replacing(target) as file:
        file.write(b"new" * 10_000)
        raise failure
    assert target.read_bytes() == b"old" and entries(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("call", ["fsync", "link", "flush", "fchmod"])
def test_a_full_disk_leaves_the_old_file_and_says_so(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "flush":
        monkeypatch.setattr("onnxopt.atomic._complete", full)
    else:
        monkeypatch.setattr(os, call, full)
    if call == "fchmod":  # permissions are worth a try, no more
        with replacing(target) as file:
            file.write(b"new")
        assert target.read_bytes() == b"new"
        return
    complaint = r"model\.onnx: no room left on the disk; what was there before is unchanged"
    with pytest.raises(OnnxoptError, match=complaint), replacing(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old" and entries(tmp_path) == ["model.onnx"]


def test_a_file_that_grows_over_the_limit_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    code = (
        "import resource, signal, sys; from onnxopt.atomic import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with replacing(sys.argv[1]) as file: file.write(bytes(100_000))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "model.onnx: File too large; what was there before is unchanged" in done.stderr
    assert (tmp_path / "model.onnx").read_bytes() == b"old" and entries(tmp_path) == ["model.onnx"]


def test_folders_that_cannot_be_written_to(tmp_path: Path, way: str) -> None:
    with pytest.raises(OnnxoptError, match="the folder does not exist"), replacing(tmp_path / "no" / "model.onnx"):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OnnxoptError, match="Not a directory"), replacing(tmp_path / "file" / "model.onnx"):
        pass
    with pytest.raises(OnnxoptError, match="no regular file"), replacing(tmp_path):
        pass


def test_a_read_only_folder(tmp_path: Path, way: str) -> None:
    tmp_path.chmod(0o555)
    folder = tmp_path if os.geteuid() else Path("/sys/kernel")  # root may write everywhere but there
    with pytest.raises(OnnxoptError, match="the folder is read-only"), replacing(folder / "model.onnx"):
        pass
    tmp_path.chmod(0o755)


def test_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("onnxopt.atomic._open", refuse)
    with pytest.raises(OnnxoptError, match="the folder is read-only"), replacing(tmp_path / "model.onnx"):
        pass


def test_a_device_is_not_replaced_by_a_file() -> None:
    before = Path("/dev/null").stat()
    with pytest.raises(OnnxoptError, match="cannot write /dev/null: it is no regular file"), replacing("/dev/null"):
        pass
    assert Path("/dev/null").stat().st_rdev == before.st_rdev


def test_an_error_at_another_file_is_not_blamed_on_ours(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), replacing(tmp_path / "model.onnx"):
        (tmp_path / "elsewhere").read_bytes()
    assert entries(tmp_path) == []


def test_permissions_are_those_of_the_file_replaced_or_the_umasks(tmp_path: Path, way: str) -> None:
    target = tmp_path / "model.onnx"
    old = os.umask(0o027)
    try:
        for expected in (0o640, 0o604):
            with replacing(target) as file:
                file.write(b"x")
            assert stat.S_IMODE(target.stat().st_mode) == expected
            target.chmod(0o604)
    finally:
        os.umask(old)


def test_a_link_is_followed(tmp_path: Path, way: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.onnx").symlink_to("real/model.onnx")
    with replacing(tmp_path / "link.onnx") as file:
        file.write(b"new")
    assert (tmp_path / "link.onnx").is_symlink() and (tmp_path / "real" / "model.onnx").read_bytes() == b"new"


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    target = tmp_path / "model[1].onnx"
    abandoned, foreign = tmp_path / ".model[1].onnx.0123abcd.tmp", tmp_path / ".model1.onnx.0123abcd.tmp"
    empty, newborn = tmp_path / ".model[1].onnx.1.tmp", tmp_path / ".model[1].onnx.2.tmp"
    for path, content, age in ((abandoned, b"half", 0), (foreign, b"half", 0), (empty, b"", 100), (newborn, b"", 0)):
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(os, "O_TMPFILE", raising=False)
        with replacing(target) as outer:
            outer.write(b"outer")
            living = entries(tmp_path)
            with replacing(target) as inner:
                inner.write(b"inner")
            assert set(living) < set(entries(tmp_path))
            assert target.read_bytes() == b"inner"
    assert target.read_bytes() == b"outer" and entries(tmp_path) == sorted([foreign.name, newborn.name, target.name])


def test_many_writers_of_one_file_leave_one_of_their_files(tmp_path: Path, way: str) -> None:
    target = tmp_path / "model.onnx"
    errors = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(20):
                with replacing(target, sync=False) as file:
                    file.write(letter * 50_000)
        except OnnxoptError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(bytes([65 + index]),)) for index in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    content = target.read_bytes()
    assert content == content[:1] * 50_000 and entries(tmp_path) == ["model.onnx"]


_WRITE_FOREVER = """
import sys
from onnxopt.atomic import replacing
print("ready", flush=True)
number = 0
while True:
    number += 1
    with replacing(sys.argv[1], sync=False) as file:
        file.write(number.to_bytes(8, "little") * 20_000)
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes((0).to_bytes(8, "little") * 20_000)
    for round_ in range(8):
        process = subprocess.Popen([sys.executable, "-c", _WRITE_FOREVER, target], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.003 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert content == content[:8] * 20_000
    with replacing(target) as file:  # a hidden file is there only where the kill fell between its two names
        file.write(b"whole")
    assert entries(tmp_path) == ["model.onnx"]
