"""What stands for the full TensorRT 11, which is not here: as much of its bindings as a build takes, and no more.

That the real one has these names is held by test_contract.py. Whatever else is asked of it raises.
"""

from __future__ import annotations

import enum
from pathlib import Path
from types import SimpleNamespace

__version__ = "11.4.0"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.Enum):
    DETAILED = 2


class ILogger:
    def __init__(self) -> None:
        self.severity = SimpleNamespace(name="INFO")


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class Cache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+measured"


class Config:
    progress_monitor = profiling_verbosity = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.limit = {pool: size}

    def add_optimization_profile(self, profile: dict[str, tuple[object, ...]]) -> int:
        return 0

    def create_timing_cache(self, data: bytes) -> Cache:
        return Cache(data)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return not cache.data.startswith(b"other")

    def get_timing_cache(self) -> Cache:
        return self.cache


class Profile(dict[str, tuple[object, ...]]):
    def set_shape(self, name: str, *shapes: object) -> None:
        self[name] = shapes


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> SimpleNamespace:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        tensor = SimpleNamespace(name="x", shape=(-1, 4), dtype=SimpleNamespace(name="FLOAT"), is_shape_tensor=False)
        return SimpleNamespace(num_inputs=1, num_outputs=1, get_input=lambda _: tensor, get_output=lambda _: tensor)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: SimpleNamespace, config: Config) -> bytes:
        assert config.limit == {MemoryPoolType.WORKSPACE: 1 << 30}
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        assert monitor.step_complete("Building", 0)
        monitor.phase_finish("Building")
        return b"engine"


class OnnxParser:
    num_errors = 0

    def __init__(self, network: SimpleNamespace, logger: ILogger) -> None:
        pass

    def parse_from_file(self, path: str) -> bool:
        return Path(path).exists()
