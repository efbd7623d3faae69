"""Read an ONNX file that models/onnx/export.py wrote, and make the golden model of it.

Every model enters the compiler here, so that the compiler gets only models that the golden
arithmetic computes.
"""

from itertools import zip_longest
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import ConstantsError, GoldenModel, exp_table, specs
from haarlequin.models.onnx.functions import DOMAIN, FUNCTIONS
from haarlequin.models.onnx.graph import CHECKSUM, FORMAT_VERSION, checksum, export, metadata
from haarlequin.models.onnx.runtime import session
from haarlequin.models.onnx.stage_functions import STAGE_FUNCTIONS, functions_for

EXPORT = "haarlequin export"

_EXP_TABLE = "exp_table"
_STORED = {TensorProto.INT8: "int8", TensorProto.INT16: "int16", TensorProto.INT32: "int32"}


class ReadError(UsageError):
    """The compiler cannot take the file; the message is one line and says why and what to do."""


def read(path: Path, rerun: bool = True) -> GoldenModel:
    """The model in an ONNX file; raises `ReadError` for every file that `models.onnx.graph` would not write.

    With ``rerun``, `check` also runs the file in onnxruntime, which takes half a second for digits.
    """
    try:
        model = parse(_content(path))
        golden = read_model(model)
        if rerun:
            check(golden, model)
    except ReadError as error:
        raise ReadError(f"{path}: {error}") from error
    return golden


def parse(content: bytes) -> ModelProto:
    """Parse the bytes of an ONNX file; raises `ReadError` where they are no ONNX."""
    if not content:
        raise _unusable("the file is empty")
    try:
        return ModelProto.FromString(content)
    except DecodeError:
        raise _unusable("truncated, damaged or no ONNX file") from None


def read_model(model: ModelProto) -> GoldenModel:
    """The golden model in ``model``; raises `ReadError` unless it is exactly what `export` makes of it.

    Texts for people are ignored, and so are shapes between nodes, which every reader can infer.
    """
    metadata_of = {entry.key: entry.value for entry in model.metadata_props}
    config = _config(metadata_of)
    _check_operations(model.graph)
    _check_functions(model)
    golden = _golden(config, model.graph)
    if metadata_of.get(CHECKSUM) != checksum(golden):
        raise _unusable("damaged: its constants are not those that were written")
    _check_graph(model, export(golden))
    return golden


def check(golden: GoldenModel, model: ModelProto) -> None:
    """Run ``model`` in onnxruntime: black, white and random images must get the golden model's integers.

    Raises `ReadError` with the first integer that differs.
    """
    pixels = _images(golden.config)
    expected = golden(pixels)
    try:
        (logits,) = session(model.SerializeToString()).run(["logits"], {"pixels": pixels})
    except Exception as error:  # its exceptions have no class in common
        raise _unusable(f"onnxruntime cannot run it ({error})") from error
    if logits.shape != expected.shape:
        raise _unusable(f"onnxruntime gives {logits.shape} logits, not {expected.shape}")
    wrong = np.argwhere(logits != expected)
    if len(wrong):
        image, class_ = wrong[0]
        got, wanted = logits[image, class_], expected[image, class_]
        raise ReadError(
            f"onnxruntime and the golden model disagree: image {image}, class {class_}, {got} and {wanted}; "
            "one of them computes wrongly on this computer, please report it"
        )


def _images(config: ModelConfig) -> np.ndarray:
    shape = (4, *config.image, config.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pixels[0], pixels[1] = 0, 255
    return pixels


def _unusable(what: str) -> ReadError:
    """The error for a file that a fresh export repairs. It is one line, whatever is in names and messages."""
    return ReadError(f"{' '.join(what.split())}; write the file again with {EXPORT}")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ReadError(f"no such file; {EXPORT} writes one from a checkpoint") from None
    except OSError as error:
        raise ReadError(f"cannot be read ({error.strerror}); give the ONNX file of {EXPORT}") from None


def _config(found: dict[str, str]) -> ModelConfig:
    """The configuration in the metadata; all other metadata must agree with it."""
    version = found.get(f"{DOMAIN}.version")
    if version is None:
        raise ReadError(f"no model of Haarlequin; the compiler takes what {EXPORT} makes of a checkpoint")
    if version != str(FORMAT_VERSION):
        raise ReadError(
            f"format {version!r} is of another version of Haarlequin, this one reads {FORMAT_VERSION}; "
            f"use that version, or write the file again with this version's {EXPORT}"
        )
    try:
        config = ModelConfig.from_json(found.get(f"{DOMAIN}.config", ""))
    except ConfigError as error:
        raise _unusable(f"metadata {DOMAIN}.config: {error}") from None
    for key, text in metadata(config).items():
        if found.get(key) != text:
            raise _unusable(f"metadata {key} is not what {DOMAIN}.config makes of it")
    return config


def _check_operations(graph: GraphProto) -> None:
    supported = {function.name for function in (*FUNCTIONS, *STAGE_FUNCTIONS)}
    for node in graph.node:
        if node.domain != DOMAIN or node.op_type not in supported:
            names = ", ".join(sorted(supported))
            raise _unusable(
                f"node {node.name!r} is the operation {node.op_type!r} of domain {node.domain!r}, which no "
                f"machine has; supported are, of domain {DOMAIN!r}, {names}"
            )


def _check_functions(model: ModelProto) -> None:
    """Raise `ReadError` unless the file defines the operations as this version does."""
    found = {function.name: function for function in model.functions}
    wanted = functions_for(node.op_type for node in model.graph.node)
    for expected in wanted:
        if expected.name not in found:
            raise _unusable(f"function {expected.name} is missing")
        function = FunctionProto()
        function.CopyFrom(found[expected.name])
        function.doc_string = expected.doc_string
        if function != expected:
            raise _unusable(f"function {expected.name} was written by another version of Haarlequin")
    if len(model.functions) > len(wanted):
        raise _unusable(f"{len(model.functions)} functions instead of {len(wanted)}")


def _golden(config: ModelConfig, graph: GraphProto) -> GoldenModel:
    """Make the golden model of the graph's constants, which are tensors and attributes."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.name: node for node in graph.node}
    wanted = specs(config)
    constants = {
        name: _tensor(tensors, name, spec.shape) if spec.shape else _attribute(nodes, name)
        for name, spec in wanted.items()
    }
    table = exp_table(config.widths)
    if _tensor(tensors, _EXP_TABLE, (len(table),)).tolist() != table:
        raise _unusable(f"initialiser {_EXP_TABLE} is not the table of the model's widths")
    try:
        return GoldenModel(config, constants)
    except ConstantsError as error:
        raise _unusable(str(error)) from None


def _tensor(tensors: dict[str, TensorProto], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in tensors:
        raise _unusable(f"initialiser {name} is missing")
    tensor = tensors[name]
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise _unusable(f"initialiser {name} lies in another file, which is not supported")
    if tensor.data_type not in _STORED:
        types = ", ".join(_STORED.values())
        raise _unusable(f"initialiser {name} must be one of {types}, not of ONNX type {tensor.data_type}")
    if tuple(tensor.dims) != shape:
        raise _unusable(f"initialiser {name} must have the shape {shape}, not {tuple(tensor.dims)}")
    try:
        return numpy_helper.to_array(tensor).astype(np.int64)
    except (ValueError, TypeError):
        raise _unusable(f"initialiser {name} has more or fewer bytes than its shape {shape}") from None


def _attribute(nodes: dict[str, NodeProto], name: str) -> np.ndarray:
    """A scalar constant: `layers.0.context.shift` is the attribute `shift` of the node `layers.0.context`."""
    node, _, attribute = name.rpartition(".")
    if node not in nodes:
        raise _unusable(f"node {node} is missing")
    found = [a for a in nodes[node].attribute if a.name == attribute]
    if len(found) != 1 or found[0].type != AttributeProto.INT:
        raise _unusable(f"node {node} must have one attribute {attribute}, an integer")
    return np.array(found[0].i, np.int64)


def _check_graph(model: ModelProto, wanted: ModelProto) -> None:
    """Raise `ReadError` unless everything that decides what the graph computes is as `export` writes it."""
    graph, expected = model.graph, wanted.graph
    _check_nodes(graph, expected)
    for found, tensor in zip_longest(graph.initializer, expected.initializer, fillvalue=TensorProto()):
        if found != tensor:
            raise _unusable(f"initialiser {found.name or tensor.name!r} is not stored as it is exported")
    for part in ("name", "input", "output", "sparse_initializer", "quantization_annotation"):
        if getattr(graph, part) != getattr(expected, part):
            raise _unusable(f"the graph's {part} is not as it is exported")
    opsets, expected_opsets = ({(o.domain, o.version) for o in m.opset_import} for m in (model, wanted))
    if opsets != expected_opsets:
        raise _unusable(f"the file's opsets are not {sorted(expected_opsets)}")


def _check_nodes(graph: GraphProto, expected: GraphProto) -> None:
    names, expected_names = ([node.name for node in g.node] for g in (graph, expected))
    for name in expected_names:
        if name not in names:
            raise _unusable(f"node {name} is missing")
    for name in names:
        if name not in expected_names:
            raise _unusable(f"node {name!r} does not belong to the model")
    for found, node in zip_longest(graph.node, expected.node, fillvalue=NodeProto()):
        parts, expected_parts = _parts(found), _parts(node)
        for part in expected_parts | parts:
            got, wanted = (p.get(part, "missing") for p in (parts, expected_parts))
            if got != wanted:
                raise _unusable(f"node {node.name or found.name}: {part} is {got!r}, not {wanted!r}")


def _parts(node: NodeProto) -> dict[str, object]:
    """The parts of a node that decide what it computes, each under the name for messages."""
    parts: dict[str, object] = {"name": node.name, "operation": node.op_type, "overload": node.overload}
    parts |= {f"input {i}": name for i, name in enumerate(node.input)}
    parts |= {f"output {i}": name for i, name in enumerate(node.output)}
    for a in node.attribute:
        constant = a.type == AttributeProto.INT and not a.ref_attr_name
        parts[f"attribute {a.name}"] = a.i if constant else "no integer"
    return parts | {"number of attributes": len(node.attribute)}
