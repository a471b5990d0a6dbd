"""The child's side: what calls TensorRT. It runs in a fresh process (see `building.py`), with one build each.

After a build that failed, the next one in the same process differs. The precision is in the graph, and the network
strongly typed: of all the flags of the builder none is set, so that one code serves TensorRT 10, 11 and RTX.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from onnxopt.backends.tensorrt.cutting import all_errors
from onnxopt.backends.tensorrt.progress import Teller
from onnxopt.backends.tensorrt.wanted import (
    ENGINE,
    LOG,
    MODEL,
    PROGRESS,
    STAGE,
    TIMINGS,
    Built,
    ParserError,
    Port,
    Wanted,
)

_LIMIT = 2000
"""Letters of a reason that are kept."""


def build(folder: str, wanted: Wanted) -> Built:
    """Parse `folder`/model.onnx, and where it has no errors build it into `folder`/engine.

    Every line that TensorRT says goes to `folder`/log, as `VERBOSE text`.
    """
    place = Path(folder)
    with (place / LOG).open("w", encoding="utf-8", errors="replace", buffering=1) as log:
        _at(place, "loading")
        trt: Any = importlib.import_module(wanted.module)
        logger = _logger(trt, log)
        builder = trt.Builder(logger)
        builder.max_threads = 1
        network = builder.create_network(_strongly_typed(trt))
        _at(place, "parsing")
        parser = trt.OnnxParser(network, logger)  # it owns what the network points to: it lives as long
        errors = _errors(parser, parser.parse_from_file(str(place / MODEL)))
        found = Built(str(trt.__version__), errors)
        if errors:
            return replace(found, errors=all_errors(place / MODEL, errors, partial(parse, module=wanted.module)))
        found = replace(
            found,
            inputs=tuple(_port(network.get_input(index)) for index in range(network.num_inputs)),
            outputs=tuple(_port(network.get_output(index)) for index in range(network.num_outputs)),
        )
        return _built(trt, builder, network, wanted, place, found) if wanted.builds else found


def _built(trt: Any, builder: Any, network: Any, wanted: Wanted, place: Path, found: Built) -> Built:
    """The engine of a network, in `place`; what was found so far, where there is none."""
    config = builder.create_builder_config()
    if lacking := _configure(trt, config, builder, network, wanted, place):
        return replace(found, lacking=lacking)
    _at(place, "building")
    config.progress_monitor = _monitor(trt, Teller(place / PROGRESS).tell)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return found
    (place / ENGINE).write_bytes(engine)
    if wanted.timing_cache:
        cache = config.get_timing_cache()
        (place / TIMINGS).write_bytes(cache.serialize())
    _at(place, "done")
    return replace(found, is_built=True, capabilities=_capabilities(config), has_gpu=_gpus() > 0)


def parse(model: Path, module: str = "tensorrt_rtx") -> tuple[ParserError, ...]:
    """What the parser does not take of a model, in this process: up to the first node that it cannot convert.

    Empty for garbage too, which onnx's checker refuses.

    Raises:
        ImportError: The bindings are not installed.
    """
    trt: Any = importlib.import_module(module)
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    return _errors(parser, parser.parse_from_file(str(model)))


def probe(module: str) -> tuple[str, int]:
    """The version of the bindings, and how many GPUs there are.

    The version is empty where they cannot be imported, or are empty: a package without its libraries. Whatever an
    import of a broken installation raises is the same to us: they are not there.
    """
    try:
        trt: Any = importlib.import_module(module)
        return (str(trt.__version__) if hasattr(trt, "Builder") else ""), _gpus()
    except Exception:  # noqa: BLE001  a vendor's package, which loads libraries as it is imported
        return "", 0


def _gpus() -> int:
    """As CUDA's driver counts them; none where it is not installed."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    works = cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if works else 0


def _strongly_typed(trt: Any) -> int:
    """The flags of a network. TensorRT 10 knows EXPLICIT_BATCH beside, which does nothing there."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _errors(parser: Any, is_parsed: bool) -> tuple[ParserError, ...]:
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        reason = " ".join(str(error.desc()).split())[:_LIMIT]
        found.append(ParserError(int(error.node()), str(error.node_operator()), str(error.node_name()), reason))
    if not is_parsed and not found:
        found.append(ParserError(-1, "", "", "the parser refuses it and does not say why"))
    return tuple(dict.fromkeys(found))


def _port(tensor: Any) -> Port:
    return Port(str(tensor.name), str(tensor.dtype.name).lower(), tuple(int(size) for size in tensor.shape))


def _configure(trt: Any, config: Any, builder: Any, network: Any, wanted: Wanted, place: Path) -> str:
    """Set what is wanted; what this version has not, in one line."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the log ends in the layers then
    if lacking := _shape(config, builder, network, wanted):
        return lacking
    if wanted.capabilities and (lacking := _aim(trt, config, wanted.capabilities)):
        return lacking
    if wanted.timing_cache:
        known = (place / TIMINGS).read_bytes() if (place / TIMINGS).exists() else b""
        cache = config.create_timing_cache(known)
        if not config.set_timing_cache(cache, False):
            return "it does not take the timing cache, which is of another device or version: remove the file"
    return ""


def _shape(config: Any, builder: Any, network: Any, wanted: Wanted) -> str:
    """Say which shapes inputs may have, and which values those that decide shapes."""
    profile = builder.create_optimization_profile()
    is_empty = True
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.is_shape_tensor:
            if tensor.name not in wanted.values:
                return (
                    f"the input '{tensor.name}' decides shapes, and TensorRT wants to know its values: say which it "
                    f"may have, such as values={tensor.name}:1x4..8x4, or make a constant of it"
                )
            values = wanted.values[tensor.name]
            profile.set_shape_input(tensor.name, values.min, values.opt, values.max)
            is_empty = False
        elif tensor.name in wanted.values:
            return f"values: the input '{tensor.name}' decides no shape: its values are free"
        if tensor.name in wanted.profiles and -1 in tensor.shape:
            shapes = wanted.profiles[tensor.name]
            profile.set_shape(tensor.name, shapes.min, shapes.opt, shapes.max)
            is_empty = False
    if is_empty or config.add_optimization_profile(profile) >= 0:
        return ""
    return "it does not take these shapes together"


def _aim(trt: Any, config: Any, capabilities: tuple[str, ...]) -> str:
    """Say which devices the engine is for."""
    if not hasattr(trt, "ComputeCapability"):
        return "compute-capabilities: this TensorRT builds for the GPU that is here; leave them away"
    known = {_spelled(name): member for name, member in trt.ComputeCapability.__members__.items() if name[-1].isdigit()}
    if unknown := [each for each in capabilities if each not in known]:
        return f"compute-capabilities: there is no {unknown[0]}; there are: {', '.join(known)}"
    config.num_compute_capabilities = len(capabilities)
    for index, each in enumerate(capabilities):
        if not config.set_compute_capability(known[each], index):
            return f"compute-capabilities: it does not take {each} beside the others"
    return ""


def _capabilities(config: Any) -> tuple[str, ...]:
    if not hasattr(config, "num_compute_capabilities"):
        return ()
    count = config.num_compute_capabilities
    return tuple(_spelled(config.get_compute_capability(index).name) for index in range(count))


def _spelled(name: str) -> str:
    """`SM120` as `12.0`; other names as they are."""
    digits = name.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}" if digits.isdigit() else name


def _logger(trt: Any, log: IO[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # the bindings have no types
        """Writes every line down."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.write(f"{severity.name} {message}\n")

    return Logger()


def _monitor(trt: Any, tell: Callable[[str, int, int], None]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the bindings have no types
        """Tells how far each phase is."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, _parent: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            total = self.steps.get(phase_name, 0)
            tell(phase_name, min(step + 1, total), total)
            return True  # to go on

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def _at(place: Path, stage: str) -> None:
    (place / STAGE).write_text(stage)
