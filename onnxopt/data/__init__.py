"""Calibration and evaluation data: what a model takes, readers that stream it, and the metrics on what comes out."""

from onnxopt.data.dataset import DataSet, require_finite
from onnxopt.data.opening import open_data
from onnxopt.data.spec import Feeds, ValueSpec, inputs_of, outputs_of

__all__ = ["DataSet", "Feeds", "ValueSpec", "inputs_of", "open_data", "outputs_of", "require_finite"]
