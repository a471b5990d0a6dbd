"""Random nodes for `random_graphs` that hold a graph, or call a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.random_values import ANY, Value

if TYPE_CHECKING:
    from tests.random_scopes import Scope
    from tests.random_values import Shape


def branch(scope: Scope) -> None:
    """An If: of a constant, of the condition of an If around it, of a computed one; perhaps with two equal branches."""
    wanted = scope.pick(dtypes=ANY)
    if scope.depth >= 2 or wanted is None or scope.in_function:
        return
    condition = _condition(scope)
    equal = scope.chance(0.15)
    state = scope.random.getstate()
    bodies = []
    for _ in range(2):
        body = scope.child()
        body.conditions[condition.name] = condition
        if equal:
            scope.random.setstate(state)
            body.add(*(("Neg", [wanted], wanted) if wanted.is_float else ("Identity", [wanted], wanted)))
        else:
            body.grow(scope.random.randint(0, 4))
        if scope.depth == 0 and scope.chance(0.2):
            branch(body)
        bodies.append(body.graph([body.shaped_like(wanted)]))
    scope.add("If", [condition], wanted, then_branch=bodies[0], else_branch=bodies[1])


def _condition(scope: Scope) -> Value:
    if scope.conditions and scope.chance(0.5):
        known = scope.random.choice(list(scope.conditions.values()))
        return scope.add("Not", [known], known) if scope.chance(0.3) else known
    condition = scope.pick(ranks=(0,), dtypes=("bool",))
    if condition is None:
        condition = scope.constant(scope.chance(0.5), "bool")
        tested = scope.pick(ranks=range(1, 5), dtypes=("float32",))
        if tested and 0 not in tested.shape and scope.chance(0.6):
            largest = scope.add("ReduceMax", [tested], ("float32", ()), keepdims=0)
            condition = scope.add("Greater", [largest, scope.constant(0.5)], ("bool", ()))
    return condition


def loop(scope: Scope) -> None:
    carried = scope.pick(dtypes=ANY)
    if scope.depth >= 2 or carried is None or scope.in_function:
        return
    prefix = f"l{scope.depth}_"
    again = Value(f"{prefix}again", "bool", ())
    inside = Value(f"{prefix}carried", carried.dtype, carried.shape)
    body = scope.child([Value(f"{prefix}step", "int64", ()), again, inside])
    body.grow(scope.random.randint(0, 4))
    goes_on = body.add("Identity", [again], again)
    result = body.shaped_like(inside)
    scanned = scope.random.choice([v for v in body.made if v != result] or [goes_on])
    trips = scope.random.choice([0, 1, 2, 3])
    condition = scope.constant(True, "bool") if scope.chance(0.5) else None
    likes: list[Value | tuple[str, Shape]] = [carried, (scanned.dtype, (trips, *scanned.shape))]
    graph = body.graph([goes_on, result, scanned])
    scope.add_many("Loop", [scope.constant(trips, "int64"), condition, carried], likes, body=graph)
    if not trips:  # of what shape an element of no elements is depends on what onnxruntime can infer
        del scope.made[-1]


def scan(scope: Scope) -> None:
    """A running sum along the first axis, with something computed in it."""
    value = scope.pick(ranks=range(2, 5), dtypes=("float32", "float64"))
    if value is None or scope.depth >= 2 or scope.in_function or scope.opset < 9:
        return
    if any(isinstance(dim, str) for dim in value.shape[1:]):
        return
    prefix = f"s{scope.depth}_"
    state = Value(f"{prefix}sum", value.dtype, value.shape[1:])
    item = Value(f"{prefix}item", value.dtype, value.shape[1:])
    body = scope.child([state, item])
    body.grow(scope.random.randint(0, 3))
    total = body.apply("Add", state, body.shaped_like(item))
    given = body.apply("Mul", total, 0.5)
    start = scope.weights(*[dim for dim in state.shape if isinstance(dim, int)], dtype=value.dtype)
    likes = [state, value]
    scope.add_many("Scan", [start, value], likes, body=body.graph([total, given]), num_scan_inputs=1)


def call(scope: Scope) -> None:
    found = scope.function()
    if found is None:
        return
    proto, takes, given = found
    chosen = []
    for wanted in takes:
        fitting = [v for v in scope.visible() if (v.dtype, v.shape) == (wanted.dtype, wanted.shape)]
        if not fitting:
            return
        chosen.append(scope.random.choice(fitting))
    slope = scope.random.choice([0.1, 0.5, 1.0])
    scope.add(proto.name, chosen, given, domain="local", slope=slope)
