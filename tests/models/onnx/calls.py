"""One ONNX function called in onnxruntime."""

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor

from haarlequin.models.onnx.functions import DOMAIN, DOMAIN_VERSION, FUNCTIONS, ONNX_OPSET
from haarlequin.models.onnx.stage_functions import STAGE_FUNCTIONS
from tests.models.runtime import run

EVERY = (*FUNCTIONS, *STAGE_FUNCTIONS)
WIDE = 12
TYPES = {
    torch.uint8: TensorProto.UINT8,
    torch.int8: TensorProto.INT8,
    torch.int16: TensorProto.INT16,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
}
GRIDS = [(1, 1), (1, 4), (4, 1), (2, 3), (5, 2)]


def call(op: str, *inputs: Tensor, **attributes: int) -> list[Tensor]:
    """The outputs of a function on those inputs."""
    outputs = next(function.output for function in EVERY if function.name == op)
    names = [f"input_{i}" for i in range(len(inputs))]
    infos = [
        helper.make_tensor_value_info(n, TYPES[t.dtype], None) for n, t in zip(names, inputs, strict=True)
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in outputs]
    node = helper.make_node(op, names, outputs, domain=DOMAIN, **attributes)
    opsets = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    graph = helper.make_graph([node], op, infos, results)
    model = helper.make_model(graph, functions=EVERY, opset_imports=opsets, ir_version=10)
    found = run(model, dict(zip(names, inputs, strict=True)))
    return [torch.from_numpy(np.ascontiguousarray(value)) for value in found.values()]
