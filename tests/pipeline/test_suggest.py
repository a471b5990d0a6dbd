from onnxopt.pipeline.suggest import did_you_mean

KNOWN = ["fold-constants", "fuse-depthwise", "O2"]


def test_the_nearest_name_is_proposed() -> None:
    assert did_you_mean("fold_constant", KNOWN) == "; did you mean fold-constants?"
    assert did_you_mean("o2", KNOWN) == "; did you mean O2?"


def test_nothing_near_says_otherwise() -> None:
    assert did_you_mean("quantize", KNOWN) == ""
    assert did_you_mean("quantize", KNOWN, "; `onnxopt passes` lists them") == "; `onnxopt passes` lists them"
