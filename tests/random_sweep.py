"""What a sweep over many random models has seen, put together from the processes that share it."""

from __future__ import annotations

import json
import os
import random
import sys
import zlib
from collections import Counter
from pathlib import Path

from tests.random_checks import TALLIED, Tally


def fresh_seed() -> int:
    """A new one for each sweep, the same in all its processes."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return zlib.crc32(run.encode()) if run else random.SystemRandom().randrange(1 << 32)


def shared_folder(own: Path) -> Path:
    """A folder that all processes of the sweep see."""
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "random_models"
    folder.mkdir(exist_ok=True)
    return folder


def told(tally: Tally, folder: Path, chunk: int, chunks: int, title: str) -> list[str]:
    """Write down what a chunk has seen; return what there is to tell: progress, and of the last chunk all of it."""
    path = folder / f"{chunk}.json"
    path.with_suffix(".new").write_text(json.dumps({name: getattr(tally, name) for name in TALLIED}))
    path.with_suffix(".new").replace(path)
    total, done = Tally(), sorted(folder.glob("*.json"))
    for other in done:
        total.add(Tally(**{name: Counter(counts) for name, counts in json.loads(other.read_text()).items()}))
    line = f"{title}: {total.counts['models']:,} models, {total.counts['wrong']} wrong, {len(done)} of {chunks} tests"
    return [line] if len(done) < chunks else [f"{title}, {chunks} tests", *total.lines()]


def tell(lines: list[str]) -> None:
    """On stderr, the terminal of every process of pytest; and into `ONNXOPT_RANDOM_RECORD`, if that is set."""
    print("\n" + "\n".join(lines), file=sys.stderr, flush=True)
    record = os.environ.get("ONNXOPT_RANDOM_RECORD")
    if record and len(lines) > 1:
        Path(record).write_text("\n".join(lines) + "\n")
