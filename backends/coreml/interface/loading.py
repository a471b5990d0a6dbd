"""How an app loads a package: the units that may compute it are chosen there, and nowhere in the package."""

from __future__ import annotations

from pathlib import Path

UNITS = {
    "all": ("all", "ALL"),
    "cpu-and-neural-engine": ("cpuAndNeuralEngine", "CPU_AND_NE"),
    "cpu-and-gpu": ("cpuAndGPU", "CPU_AND_GPU"),
    "cpu-only": ("cpuOnly", "CPU_ONLY"),
}
"""By the option's values: MLComputeUnits of Swift, and ComputeUnit of coremltools."""


def example(package: Path, units: str) -> dict[str, str]:
    """Code that loads it, by language."""
    swift, python = UNITS[units]
    return {
        "swift": "\n".join([
            "import CoreML",
            "let configuration = MLModelConfiguration()",
            f"configuration.computeUnits = .{swift}",
            f'let package = URL(fileURLWithPath: "{package.name}")',
            "let compiled = try await MLModel.compileModel(at: package)",
            "let model = try MLModel(contentsOf: compiled, configuration: configuration)",
        ]),
        "python": "\n".join([
            "import coremltools as ct",
            f'model = ct.models.MLModel("{package.name}", compute_units=ct.ComputeUnit.{python})',
        ]),
    }  # fmt: skip
