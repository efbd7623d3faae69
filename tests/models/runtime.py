"""An ONNX model in onnxruntime, as the tests run it."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from haarlequin.models.onnx.runtime import session


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output of the model by name, on one thread."""
    runner = session(model.SerializeToString(), threads=1)
    names = [output.name for output in runner.get_outputs()]
    outputs = runner.run(names, {name: np.asarray(value) for name, value in inputs.items()})
    return dict(zip(names, outputs, strict=True))


def observed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that hands out every tensor between its nodes too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    for node in copy.graph.node:
        for name in node.output:
            if name not in known:
                copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
    return copy
