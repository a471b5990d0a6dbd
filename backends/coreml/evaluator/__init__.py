"""A package evaluated on this machine: what its MIL program means, in the precision that it stores.

`load(path).run(feeds)`. Nothing of it comes from the lowering: operations are evaluated by coremltools' own value
inference, or by handlers written from MIL's documentation, in numpy and onnxruntime. It shows what the program says; a
device may compute it otherwise.
"""

from onnxopt.backends.coreml.evaluator.loading import load
from onnxopt.backends.coreml.evaluator.registry import NotEvaluable
from onnxopt.backends.coreml.evaluator.running import Evaluator

__all__ = ["Evaluator", "NotEvaluable", "load"]
