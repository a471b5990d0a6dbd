"""The README is run, so that it stays true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_pass_in_the_readme_runs(tmp_path: Path) -> None:
    code = re.search(r"```python\n(# fold_double_negation\.py\n.*?)```", README, re.DOTALL)
    assert code is not None and len(code[1].splitlines()) <= 25
    (tmp_path / "fold_double_negation.py").write_text(code[1])
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> m (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) y = Abs(b) }'
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    command = re.search(r"^    onnxopt (run model\.onnx --plugin .*)$", README, re.MULTILINE)
    assert command is not None
    words = [word.strip('"') for word in command[1].split()]
    done = subprocess.run(
        [sys.executable, "-m", "onnxopt", *words, "-o", "out.onnx"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node] == ["Abs"]


def test_the_python_in_the_readme_runs(tmp_path: Path) -> None:
    import onnxopt

    text = '<ir_version: 8, opset_import: ["" : 17]> m (float[2] x) => (float[2] y) { a = Identity(x) y = Abs(a) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    np.savez(tmp_path / "samples.npz", x=np.ones((3, 2), np.float32))
    code = re.search(r"```python\nimport onnxopt\n(.*?)```", README, re.DOTALL)
    assert code is not None
    lines = code[1].replace('"model', f'"{tmp_path}/model').replace('"samples', f'"{tmp_path}/samples')
    exec(lines, {"onnxopt": onnxopt})
    assert (tmp_path / "model.opt.onnx").exists()


def test_every_command_and_option_that_the_readme_names_is_there() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "onnxopt", "run", "--help"], capture_output=True, text=True, check=True
    )
    for option in re.findall(r"`(--[a-z-]+)", README):
        if option not in ("--passes", "--text", "--data"):
            assert option in found.stdout, option


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
