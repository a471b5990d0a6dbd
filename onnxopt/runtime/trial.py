"""Samples that an artifact is run on before it is written, and what onnxruntime makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from onnxopt.data import DataSet, Feeds, inputs_of
from onnxopt.runtime.agreement import Agreement, compared
from onnxopt.runtime.evaluation import suited
from onnxopt.runtime.executable import header_of
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.simulated_session import SimulatedSession

_GENERATED = 2
"""Sets of generated inputs: random numbers soon repeat what they have to say."""


@dataclass(frozen=True)
class Trial:
    """Inputs, and what onnxruntime makes of them."""

    feeds: list[Feeds]
    expected: list[Feeds]
    skipped: list[str]
    """Outputs that depend on random operators."""
    source: str
    """Where the inputs are from, for people."""

    @classmethod
    def of(
        cls, model: ModelProto | Path, data: DataSet | None, samples: int, dims: Mapping[str, int] | None = None
    ) -> Trial:
        """The first samples of the data, or generated ones; none at all where `samples` is 0.

        Args:
            model: What the artifact is made of.
            data: Samples for it.
            samples: How many of them.
            dims: Sizes of symbolic dimensions, for generated inputs.

        Raises:
            NotRunnable: onnxruntime does not run the model.
        """
        header = header_of(model)
        skipped = sorted(nondeterministic_outputs(header))
        if not samples:
            return cls([], [], skipped, "nothing")
        session = SimulatedSession(model)
        if data is None:
            feeds = runnable_inputs(header, session, min(samples, _GENERATED), dims=dims)
            source = f"{len(feeds)} sets of generated inputs"
        else:
            taken = data.take(samples)
            feeds = [suited(fed, inputs_of(header)) for fed in taken.batches()]
            source = f"{len(feeds)} batch{'es' * (len(feeds) != 1)} of {data.source}"
        names = [spec.name for spec in session.outputs if spec.name not in skipped]
        return cls(feeds, [session.run(fed, names) for fed in feeds], skipped, source)

    def compared(self, outputs: Sequence[Mapping[str, Any]]) -> dict[str, Agreement]:
        """How near an engine's outputs are, by name."""
        return compared(zip(self.expected, outputs, strict=True))

    def fault(self, agreement: Mapping[str, Agreement], min_snr: float, engine: str) -> str:
        """Why an artifact must not be written, in one line; empty where it may be.

        Args:
            agreement: What `compared` found.
            min_snr: What every output has to reach, dB.
            engine: Where it ran: `on the emulator`.
        """
        for name, found in agreement.items():
            if found.broken:
                return f"{engine} output '{name}' {found.broken}"
        far = {name: found.snr for name, found in agreement.items() if found.snr < min_snr}
        if not far:
            return ""
        name = min(far, key=far.__getitem__)
        return (
            f"{engine} output '{name}' has an SNR of {far[name]:.1f} dB beside onnxruntime, on {self.source}, and "
            f"min-snr is {min_snr:g}"
        )

    def facts(self, agreement: Mapping[str, Agreement], min_snr: float) -> dict[str, Any]:
        """For the sidecar."""
        return {
            "data": self.source,
            "samples": len(self.feeds),
            "min_snr": min_snr,
            "outputs": {name: {"snr": found.snr, "psnr": found.psnr} for name, found in agreement.items()},
            "not_compared": self.skipped,
        }

    def worst(self, agreement: Mapping[str, Agreement]) -> str:
        """The output that is farthest off, and how far, for people."""
        name = min(agreement, key=lambda each: agreement[each].snr)
        value = agreement[name].snr
        near = "equal" if value == math.inf else f"{value:.1f} dB"
        return f"beside onnxruntime, SNR of {name} {near}, on {self.source}"
