"""What tests do in a child: it must not happen in the process of the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def register_twice() -> int:
    """The plugin's device, asked for twice in one process."""
    from onnxopt.backends.qnn import vendor

    vendor._device()
    vendor._device()
    import onnxruntime

    return len([each for each in onnxruntime.get_ep_devices() if each.ep_name == "QNNExecutionProvider"])


def imported_with_us() -> bool:
    """Whether Qualcomm's package comes with our modules, other than `vendor`."""
    import onnxopt.backends.qnn.emulating
    import onnxopt.backends.qnn.writing  # noqa: F401

    return "onnxruntime_qnn" in sys.modules


def hang(folder: str, soc: int, feeds: list[object], **more: bool) -> None:
    """Instead of `vendor.build`: leaves a partial DLC, starts a process, and never ends."""
    place = Path(folder)
    (place / "stage").write_text("compiling")
    (place / "half.dlc").write_bytes(b"PK")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (Path(place.parent) / f"pid-{place.name}").write_text(str(process.pid))
    time.sleep(600)


def leave_no_trace(folder: str, soc: int, feeds: list[object], **more: bool) -> dict[str, object]:
    """Instead of `vendor.build`: says that all is well, and left a partial DLC only."""
    (Path(folder) / "half.dlc").write_bytes(b"PK")
    (Path(folder) / "stage").write_text("done")
    return {"error": "", "outputs": []}


def fail_to_finalize(folder: str, soc: int, feeds: list[object], **more: bool) -> dict[str, object]:
    """Instead of `vendor.build`: every node was taken, and the whole is refused."""
    place = Path(folder)
    (place / "whole.dlc").write_bytes(b"PK")
    (place / "qnn_op_trace.json").write_text('{"unsupported_nodes": []}')
    (place / "log").write_text(
        "\x1b[1;31m2026 [E:onnxruntime:, qnn_model.cc:1 Finalize] Failed to finalize: 1002\x1b[m\n"
    )
    (place / "stage").write_text("compiling")
    return {"error": "Failed to finalize QNN graph", "outputs": []}
