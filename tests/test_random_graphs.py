"""Random models keep their outputs, interface, validity and size, through every preset and for every target.

hypothesis draws and shrinks them. The quick tests try the same 500 each time. The slow sweep tries
`ONNXOPT_RANDOM_MODELS`, 20,000 by default, from a seed of its own, which it prints (`ONNXOPT_RANDOM_SEED` sets it), and
remembers its failures in hypothesis's database, where the next sweep tries them first:

    ONNXOPT_RANDOM_MODELS=20000 pytest -m slow tests/test_random_graphs.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import onnx.parser
import pytest
from hypothesis import HealthCheck, Phase, given

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.pipeline import Pipeline
from tests import random_checks
from tests.random_checks import TARGETS, Case, NotTaken, Tally, Wrong, run, runnable
from tests.random_graphs import Recipe, build, random_model
from tests.random_kernels import behind_overflow, beyond_kernels
from tests.random_recipes import RECIPES
from tests.random_sensitivity import excused, noisy
from tests.random_sweep import fresh_seed, shared_folder, tell, told

ROOT = Path(__file__).parents[1]
FEW = 500
SHARES = 20
"""Tests that the quick models are spread over, and so processes."""
MANY = int(os.environ.get("ONNXOPT_RANDOM_MODELS", "20000"))
CHUNKS = -(-MANY // 100)
SEED = int(os.environ.get("ONNXOPT_RANDOM_SEED") or fresh_seed())
BEYOND = "inline-functions,unroll-loops,eliminate-broadcasts,O3"
"""Lossless passes that no preset has."""


def settings(examples: int, *, fresh: bool = False) -> hypothesis.settings:
    """Of so many examples: the same each time, unless they are to be `fresh`."""
    return hypothesis.settings(
        max_examples=examples,
        derandomize=not fresh,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate, Phase.shrink],
        print_blob=fresh,
    )


def check(recipe: Recipe, tally: Tally, failing: list[tuple[str, str]]) -> None:
    """O3 for every target, and in turn O1, O2 and what no preset has; a result that came up before is not run again.

    Once something has failed it alone is tried, while the model shrinks.
    """
    tally.counts["models"] += 1
    try:
        case = Case.of(recipe)
    except NotTaken:
        return
    case.tally = tally
    tally.counts["taken"] += 1
    runs = [*(("O3", target) for target in TARGETS), (("O1", "O2", BEYOND)[recipe.seed % 3], "onnx")]
    current = runs[0]
    try:
        for current in failing or runs:
            case.check(*current, twice=current == runs[0])
    except Wrong:
        failing[:] = [current]
        raise


def try_all(examples: int, seed: int, *, fresh: bool = False) -> Tally:
    """Check so many models; a failure shrinks, and hypothesis says what is left of its recipe."""
    tally, failing = Tally(), list[tuple[str, str]]()

    @hypothesis.seed(seed)
    @settings(examples, fresh=fresh)
    @given(RECIPES)
    def all_hold(recipe: Recipe) -> None:
        try:
            check(recipe, tally, failing)
        except Wrong:
            tally.counts["wrong"] += 1  # more often than there are faults: shrinking finds each again
            raise

    all_hold()
    return tally


@pytest.mark.parametrize("share", range(SHARES))
def test_random_models_keep_what_they_compute(share: int) -> None:
    counts = try_all(FEW // SHARES, share).counts
    assert counts["taken"] >= 0.9 * counts["models"]


_DRAWN = """
from tests.test_random_graphs import digest_of_models
print(digest_of_models(25, 0))
"""


def digest_of_models(examples: int, seed: int) -> str:
    """Of those that `try_all` checks."""
    digest = hashlib.sha256()

    @hypothesis.seed(seed)
    @settings(examples)
    @given(RECIPES)
    def add(recipe: Recipe) -> None:
        digest.update(build(recipe).SerializeToString(deterministic=True))

    add()
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("hash_seed", "loaded"), [("1", ""), ("2", "import onnxopt.cli.app, onnxopt.report.catalogue")]
)
def test_a_seed_draws_the_same_models_in_every_process(hash_seed: str, loaded: str, tmp_path: Path) -> None:
    """Whatever is loaded, in whatever order sets are, without the examples that hypothesis keeps."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", loaded + _DRAWN]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.stdout.strip() == digest_of_models(25, 0)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_models_in_numbers(
    chunk: int, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    tally = try_all(MANY // CHUNKS, SEED + chunk, fresh=True)
    lines = told(tally, shared_folder(tmp_path_factory.getbasetemp()), chunk, CHUNKS, f"seed {SEED}")
    with capfd.disabled():
        tell(lines)


def test_what_is_saved_is_what_was_made(tmp_path: Path) -> None:
    for seed in range(30):
        graph = ir.from_proto(random_model(seed))
        path = tmp_path / "saved.onnx"
        ir.save(graph, path)
        assert ir.fingerprint(ir.load(path)) == ir.fingerprint(graph)


def test_a_recipe_makes_one_model() -> None:
    for seed in range(30):
        recipe = Recipe.of(seed)
        assert build(recipe).SerializeToString(deterministic=True) == build(recipe).SerializeToString(
            deterministic=True
        )


@dataclass(frozen=True)
class _SubMadeAdd(Pass):
    """A fault."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        found = [node for node in graph.nodes if node.is_op("Sub")]
        for node in found:
            node.op = "Add"
        return bool(found)


def test_a_planted_fault_is_found_and_shrinks_to_a_step_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_checks, "parsed", lambda passes: Pipeline((_SubMadeAdd(),)))
    tried: list[Recipe] = []

    @settings(100)
    @given(RECIPES)
    def all_hold(recipe: Recipe) -> None:
        tried.append(recipe)
        check(recipe, Tally(), [("planted", "onnx")])

    with pytest.raises(Wrong, match="planted for onnx: output"):
        all_hold()
    assert len(tried[-1].steps) <= 2


def test_noise_excuses_what_rounding_explains_and_nothing_else() -> None:
    one, moved = np.array([1.0, np.inf, 5.0], np.float32), [np.array([1.001, np.inf, 5.0], np.float32)]
    assert excused(one, np.array([0.997, np.inf, 5.0], np.float32), moved)
    assert not excused(one, np.array([0.99, np.inf, 5.0], np.float32), moved)
    assert not excused(one, np.array([1.0, 1e9, 5.0], np.float32), moved)
    assert not excused(one, np.array([1.0, np.inf, 5.01], np.float32), moved)
    flips = [np.array([True, False]), np.array([False, False])]
    assert excused(np.array([False, False]), np.array([True, False]), flips)
    assert not excused(np.array([False, False]), np.array([False, True]), flips)


def test_noise_is_put_into_subgraphs_and_keeps_the_model_running() -> None:
    for seed in range(40):
        model = random_model(seed)
        try:
            feeds, expected = runnable(model, seed)
        except NotTaken:
            continue
        for one, other in zip(expected, run(noisy(model, 0), feeds), strict=True):
            assert {name: (a.dtype, a.shape) for name, a in one.items()} == {
                name: (a.dtype, a.shape) for name, a in other.items()
            }


_POOLED = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[1,2,4,4] x, float[1,2,4,4] z) => (float[1,2,3,3] y, float[1,2,3,3] v, float[1,2,4,4] w) {
        p = MaxPool <kernel_shape = [2, 2]> (x) y = Neg (p) v = MaxPool <kernel_shape = [2, 2]> (z) w = Neg (z)
    }
"""


@pytest.mark.parametrize(
    ("number", "beyond"), [(1.0, set()), (np.nan, {"p", "y"}), (-np.inf, {"p", "y"}), (np.inf, set())]
)
def test_only_what_depends_on_a_pool_without_numbers_is_not_compared(number: float, beyond: set[str]) -> None:
    model = onnx.parser.parse_model(_POOLED)
    feeds = {"x": np.full((1, 2, 4, 4), number, np.float32), "z": np.ones((1, 2, 4, 4), np.float32)}
    assert beyond_kernels(model, feeds, run) == beyond


@pytest.mark.parametrize(("number", "beyond"), [(1e18, set()), (1e20, {"y"})])
def test_a_normalization_is_compared_where_its_squares_are_finite(number: float, beyond: set[str]) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1,2,4] x, float[2] s) => (float[1,2,4] y) { y = GroupNormalization <num_groups = 1> (x, s, s) }
    """)
    feeds = {"x": np.full((1, 2, 4), number, np.float32), "s": np.ones(2, np.float32)}
    assert beyond_kernels(model, feeds, run) == beyond


@pytest.mark.parametrize(("number", "behind"), [(80.0, set()), (100.0, {"e", "y"}), (np.inf, set()), (np.nan, set())])
def test_what_is_behind_an_overflow(number: float, behind: set[str]) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y, float[2] z) { e = Exp (x) y = Reciprocal (e) z = Neg (x) }
    """)
    assert behind_overflow(model, {"x": np.full(2, number, np.float32)}, run) == behind


def test_the_sign_of_an_infinity_that_noise_turns_says_nothing() -> None:
    one = np.array([np.inf, np.inf], np.float32)
    moved = [np.array([-np.inf, np.inf], np.float32)]
    assert excused(one, np.array([np.nan, np.inf], np.float32), moved)
    assert not excused(one, np.array([np.inf, np.nan], np.float32), moved)
