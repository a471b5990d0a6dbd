"""The one script of a kit: what is set for this model, then `run.sh` beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from onnxopt.backends.qnn_kit.place import CALIBRATION, ENCODINGS, LIST


@dataclass(frozen=True)
class Script:
    """What the tools are told of a model. Names are plain: letters, digits, underscores."""

    flow: str
    runtime: str
    hexagon: str
    layout: str
    native: bool
    images: Sequence[str]
    """Inputs that the layout is for."""
    others: Sequence[str]
    """Other inputs of which a converter may take an axis for channels: those with three axes, and with five or more."""
    encoded: bool
    """Whether there are encodings."""
    per_channel: bool
    bits: int
    """Of activations without an encoding."""
    headed: bool
    """Whether the list names outputs."""

    def text(self) -> str:
        """The script."""
        settings = {
            "FLOW": self.flow,
            "RUNTIME": self.runtime,
            "HEXAGON": self.hexagon,
            "CALIBRATION": CALIBRATION if self.headed else LIST,
            "SNPE_CONVERT": " ".join(self._snpe_convert()),
            "SNPE_QUANTIZE": " ".join(self._snpe_quantize()),
            "QAIRT_CONVERT": " ".join(self._qairt_convert()),
            "QAIRT_QUANTIZE": " ".join(self._quantize()),
            "NET_RUN": " --use_native_input_files" if self.native else "",
        }
        head = [
            "#!/bin/sh",
            "# Convert, quantize and run on a device with Qualcomm's SDK. Written by onnxopt; see README.txt.",
            "set -u",
            *(f"{name}='{value}'" for name, value in settings.items()),
        ]
        body = files("onnxopt.backends.qnn_kit").joinpath("run.sh").read_text("utf-8")
        return "\n".join(head) + "\n" + body

    def _overrides(self) -> list[str]:
        return ["--quantization_overrides", ENCODINGS] if self.encoded else []

    def _snpe_convert(self) -> list[str]:
        """Four axes come in with channels first; the classic DLC wants them last unless the layout is to be kept."""
        words = [word for name in self.images for word in ("--input_layout", name, "NCHW")]
        words += [word for name in self.others for word in ("--input_layout", name, "NONTRIVIAL")]
        kept = [what for what, is_kept in (("layout", self.layout == "nchw"), ("datatype", self.native)) if is_kept]
        if kept:
            words += ["--preserve_io", *(kept if len(kept) == 1 else ())]  # alone it stands for both
        return words + self._overrides()

    def _snpe_quantize(self) -> list[str]:
        return (["--override_params"] if self.encoded else []) + self._quantize()

    def _qairt_convert(self) -> list[str]:
        """Inputs and outputs keep the layout of the ONNX model unless another is asked for."""
        words = []
        if self.layout == "nhwc":
            for name in self.images:
                words += ["--source_model_input_layout", name, "NCHW", "--desired_input_layout", name, "NHWC"]
        if self.native:
            words.append("--preserve_io_datatype")
        return words + self._overrides()

    def _quantize(self) -> list[str]:
        words = ["--act_bitwidth", str(self.bits), "--weights_bitwidth", "8", "--bias_bitwidth", "32"]
        if self.per_channel:
            words.append("--use_per_channel_quantization")
        return words + (["--use_native_input_files"] if self.native else [])
