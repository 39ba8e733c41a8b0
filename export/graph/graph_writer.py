"""ONNX nodes and weights written one after the other, into one graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""Read by every onnxruntime that the device may have (1.19 and later)."""
IR_VERSION = 8


class GraphWriter:
    """Collects nodes; a value is named by the string that its node returns."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Store an array under a name, once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node with one output; the node bears the output's name."""
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def model(self, *, clip_samples: int, outputs: Sequence[tuple[str, int]]) -> onnx.ModelProto:
        """The checked model, from ``waveform`` (batch, clip_samples) float32 to the (batch, size) outputs."""
        waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", clip_samples])
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in outputs]
        graph = helper.make_graph(self._nodes, "earmark", [waveform], results, list(self._constants.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="earmark"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def subgraph(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """A model's part that computes some of its values, which become its outputs.

    Args:
        model: Written by :class:`GraphWriter`.
        outputs: Names of values inside it, float32.
    """
    needed = set(outputs)
    nodes = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes[::-1], "earmark", list(model.graph.input), results, constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
