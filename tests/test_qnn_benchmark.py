"""A small sample of benchmarks/qnn.py, so that the script stays right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.qnn.models import needs_libraries

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "qnn.py"


@pytest.mark.slow
@needs_libraries
def test_digits_in_integers_for_one_soc():
    arguments = ["--models", "digits", "--precisions", "A8W8", "--socs", "SM8450", "--quick", "--json"]
    ended = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout)
    assert (ended.returncode, found["verdicts"]) == (0, {"1": True, "3": True}), found["notes"]
    (written,) = found["artifacts"]
    assert written["samples"] == 4 and written["dlc"] < 300_000 and written["snr"] > 25
