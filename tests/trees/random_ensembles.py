"""Random ensembles of trees as ONNX models, small and full of corners: equal thresholds, NaN, zeros of both signs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
FEATURES = 3
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
NUMBERS = (-1.5, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.inf)
_VOTES = ("treeids", "nodeids", "ids", "weights")
_CLASSIFIER = "TreeEnsembleClassifier"  # onnxruntime has no regressor of integers
_TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE, np.int64: TensorProto.INT64}


def model(
    op: str,
    attrs: dict[str, Any],
    *,
    dtype: Any = np.float32,
    opset: int = 3,
    columns: int = FEATURES,
    labels: int = TensorProto.INT64,
) -> onnx.ModelProto:
    """A model of one ensemble of that operator: `x` in, `y` out, and for a classifier `label` before."""
    info = helper.make_tensor_value_info
    scores = TensorProto.DOUBLE if op == "TreeEnsemble" and dtype is np.float64 else TensorProto.FLOAT
    outputs = [info("y", scores, ["n", "scores"])]
    if op == "TreeEnsembleClassifier":
        outputs.insert(0, info("label", labels, ["n"]))
    node = helper.make_node(op, ["x"], [out.name for out in outputs], "trees", domain=ML, **attrs)
    graph = helper.make_graph([node], "g", [info("x", _TYPES[dtype], ["n", columns])], outputs)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(ML, opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 5 else 10)


def feeds(rng: np.random.Generator, dtype: Any = np.float32, rows: int = 150) -> dict[str, np.ndarray]:
    """Rows at, next to and between the thresholds, with NaN and infinities."""
    x = rng.choice([*NUMBERS, -np.inf, np.nan, 0.25, 1.7, 1e-40], (rows, FEATURES))
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype is np.int64:
            return {"x": np.nan_to_num(x, posinf=7, neginf=-7).astype(np.int64)}
        x = x.astype(dtype)
        nudged = np.nextafter(x, dtype(rng.choice([-9, 9])), dtype=dtype)
    return {"x": np.where(rng.random(x.shape) < 0.3, nudged, x)}


class RandomEnsemble:
    """Attributes of an ensemble of the older operators, drawn node by node."""

    def __init__(self, rng: np.random.Generator, op: str, dtype: Any) -> None:
        self.rng, self.op, self.prefix = rng, op, "class" if op == "TreeEnsembleClassifier" else "target"
        self.modes = [MODES[0]] if rng.random() < 0.4 else [*rng.choice(MODES, rng.integers(1, 4))]
        self.tracks = bool(rng.random() < 0.4)
        self.targets = int(rng.choice([1, 1, 2, 3] if self.prefix == "target" else [2, 2, 3, 4]))
        self.single = bool(rng.random() < 0.6)
        self.only_first = self.targets == 2 and bool(rng.random() < 0.7)
        self.weights = [[0.0, 0.25, 0.5, 1.0], [-1.0, -0.0, 0.0, 0.125, 1.0, -0.3], [0.1, 0.2, 0.7]][rng.integers(3)]
        self.rows: list[dict[str, Any]] = []
        self.votes: list[tuple[int, int, int, float]] = []
        self.as_tensor = dtype is np.float64 and bool(rng.random() < 0.5)

    def attrs(self) -> dict[str, Any]:
        """All attributes, hit rates and tracks of nothing included."""
        rng = self.rng
        for tree in range(int(rng.integers(1, 6))):
            seed, here = int(rng.integers(4)), self.rng
            if seed == 0:
                self.rng = np.random.default_rng(7)  # the same tree several times
            self._grow(tree, 0, int(self.rng.integers(0, 5)))
            self.rng = here
        columns = {f"nodes_{name}": [row[name] for row in self.rows] for name in self.rows[0]}
        votes = list(map(list, zip(*self.votes, strict=True))) or [[]] * 4
        prefix = self.prefix
        found: dict[str, Any] = {
            **columns,
            "nodes_hitrates": [1.0] * len(self.rows),
            **{f"{prefix}_{name}": column for name, column in zip(_VOTES, votes, strict=True)},
        }
        if prefix == "target":
            found["n_targets"] = self.targets
            if rng.random() < 0.3:
                found["aggregate_function"] = str(rng.choice(["AVERAGE", "MIN", "MAX", "SUM"]))
        elif rng.random() < 0.3:
            found["classlabels_strings"] = [f"class {number}" for number in range(self.targets)]
        else:
            first = int(rng.choice([0, 0, 5]))
            found["classlabels_int64s"] = list(range(first, first + self.targets))
        if rng.random() < 0.4:
            # onnxruntime leaves the second of two classes' scores unwritten where the transform is PROBIT
            transforms = ["SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", *["PROBIT"] * (prefix == "target" or self.targets > 2)]
            found["post_transform"] = str(rng.choice(transforms))
        if rng.random() < 0.4:
            count = 1 if self.only_first and prefix == "class" else self.targets
            found["base_values"] = [float(np.float32(value)) for value in rng.choice([0.0, 0.3, -0.7, -0.0], count)]
        found = {name: value for name, value in found.items() if value != []}
        if self.as_tensor:
            for name in ("nodes_values", f"{prefix}_weights", "base_values"):
                if name in found:
                    values = np.array(found.pop(name), np.float64) + 1e-12
                    found[f"{name}_as_tensor"] = numpy_helper.from_array(values, name)
            found.pop("nodes_hitrates")
        return found

    def _grow(self, tree: int, node: int, depth: int) -> int:
        """Add a subtree whose root has the id `node`; return the next free id."""
        rng = self.rng
        row: dict[str, Any] = {
            "treeids": tree, "nodeids": node, "featureids": 0, "modes": "LEAF", "values": 0.0, "truenodeids": 0,
            "falsenodeids": 0, "missing_value_tracks_true": 0,
        }  # fmt: skip
        self.rows.append(row)
        if depth == 0 or rng.random() < 0.1:
            self._vote(tree, node)
            return node + 1
        row.update(featureids=int(rng.integers(FEATURES)), modes=str(rng.choice(self.modes)))
        row["values"] = float(np.float32(rng.choice(NUMBERS)))
        row["missing_value_tracks_true"] = int(self.tracks and rng.random() < 0.5)
        row["truenodeids"] = node + 1
        row["falsenodeids"] = self._grow(tree, node + 1, depth - 1)
        return self._grow(tree, row["falsenodeids"], depth - 1)

    def _vote(self, tree: int, node: int) -> None:
        rng = self.rng
        if self.only_first:
            targets = [0]
        elif self.single:
            targets = [int(rng.integers(self.targets))]
        else:
            targets = [target for target in range(self.targets) if rng.random() < 0.8]
        self.votes += [(tree, node, target, float(np.float32(rng.choice(self.weights)))) for target in targets]


def random_case(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and what to feed it."""
    rng = np.random.default_rng(seed)
    op = str(rng.choice(["TreeEnsembleClassifier", "TreeEnsembleRegressor"]))
    dtype = [np.float32, np.float32, np.float32, np.float64, np.int64][rng.integers(5 if op == _CLASSIFIER else 4)]
    attrs = RandomEnsemble(rng, op, dtype).attrs()
    labels = TensorProto.STRING if "classlabels_strings" in attrs else TensorProto.INT64
    return model(op, attrs, dtype=dtype, labels=labels), feeds(rng, dtype)


def newer(attrs: dict[str, Any]) -> dict[str, Any] | None:
    """A regressor as attributes of TreeEnsemble, leaf by leaf; None where a leaf has not exactly one vote."""
    rows = list(range(len(attrs["nodes_modes"])))
    votes = {
        (tree, node): (target, weight)
        for tree, node, target, weight in zip(*(attrs.get(f"target_{name}", []) for name in _VOTES), strict=True)
    }
    keys = list(zip(attrs["nodes_treeids"], attrs["nodes_nodeids"], strict=True))
    is_leaf = [mode == "LEAF" for mode in attrs["nodes_modes"]]
    leaves = [row for row in rows if is_leaf[row]]
    inner = [row for row in rows if not is_leaf[row]]
    roots = [row for row in rows if keys[row][1] == 0]
    if "base_values" in attrs or any(is_leaf[row] for row in roots) or any(keys[row] not in votes for row in leaves):
        return None
    at = {
        **{keys[row]: place for place, row in enumerate(leaves)},
        **{keys[row]: place for place, row in enumerate(inner)},
    }
    found: dict[str, Any] = {
        "n_targets": attrs["n_targets"],
        "tree_roots": [at[keys[row]] for row in roots],
        "nodes_featureids": [attrs["nodes_featureids"][row] for row in inner],
        "nodes_missing_value_tracks_true": [attrs["nodes_missing_value_tracks_true"][row] for row in inner],
        "nodes_modes": _tensor([MODES.index(attrs["nodes_modes"][row]) for row in inner], np.uint8),
        "nodes_splits": _tensor([attrs["nodes_values"][row] for row in inner], np.float32),
        "nodes_hitrates": _tensor([1.0 for _ in inner], np.float32),
        "leaf_targetids": [votes[keys[row]][0] for row in leaves],
        "leaf_weights": _tensor([votes[keys[row]][1] for row in leaves], np.float32),
        "aggregate_function": ("AVERAGE", "SUM", "MIN", "MAX").index(attrs.get("aggregate_function", "SUM")),
    }
    for side in ("true", "false"):
        children = [(keys[row][0], attrs[f"nodes_{side}nodeids"][row]) for row in inner]
        found[f"nodes_{side}nodeids"] = [at[child] for child in children]
        found[f"nodes_{side}leafs"] = [int(child in votes) for child in children]
    return found


def _tensor(values: list[Any], dtype: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype))
