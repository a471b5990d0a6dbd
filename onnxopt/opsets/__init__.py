"""Models from one version of the default operator set to another, up or down: the same outputs, or a refusal.

For each version of each operator between the two, a node either means the same in both (which its two schemas tell, and
for what they cannot tell, the tables here), or there is an adapter that writes it anew, or the model is refused. onnx's
own converter (onnx.version_converter 1.23.2) is not used. It loses local functions and the metadata of nodes, leaves
the IR version, cannot take a model over 2 GB; Hardmax of opset 12, Upsample and the linear Resize of opset 10 come out
wrong, and Pad by reflection of opset 9, ReduceMean and Cast on the way down as no valid models.
"""

from onnxopt.opsets.convert import NEWEST, OLDEST, Conversion, plan

__all__ = ["NEWEST", "OLDEST", "Conversion", "plan"]
