"""What the exporter wrote is read back as the same model; everything else is one clear line."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from haarlequin.models.golden import GoldenModel
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save, serialised
from haarlequin.models.onnx.runtime import session
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import read as compiler
from haarlequin.sw.compiler.read import ReadError, check, parse, read, read_model

DIGITS = Path(__file__).parents[3] / "models" / "zoo" / "digits" / "model.safetensors"
SMALL = preset("digits").with_(name="small", layers=1, dim=24, heads=2)
SHAPES = {
    "small": SMALL,
    "everything off": SMALL.with_(hfsc=False, diba=False, irprelu=False),
    "colour": preset("cifar10-nano").with_(layers=1),
    "one channel": SMALL.with_(dim=1, heads=1),
    "foreign letters": SMALL.with_(name="Ziffern №1", classes=("größer", "小さい")),
}


@pytest.fixture(scope="module")
def digits() -> GoldenModel:
    return freeze(checkpoint.load(DIGITS))


@pytest.fixture(scope="module")
def content(digits) -> bytes:
    """The file of digits."""
    return serialised(export(digits))


@pytest.fixture(scope="module")
def small() -> ModelProto:
    return export(freeze(random_model(SMALL, 0)))


def assert_same(model: GoldenModel, expected: GoldenModel) -> None:
    assert model.config == expected.config
    assert model.constants.keys() == expected.constants.keys()
    assert all(np.array_equal(value, expected.constants[name]) for name, value in model.constants.items())


# What the exporter writes


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_an_exported_file_is_read_back_as_the_same_model(config, tmp_path):
    golden = freeze(random_model(config, 0))
    save(export(golden), tmp_path / "model.onnx")
    assert_same(read(tmp_path / "model.onnx"), golden)


def test_the_trained_digits_are_read_back(content, digits, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content)
    assert_same(read(tmp_path / "model.onnx"), digits)


def test_texts_and_inferred_shapes_may_differ_and_are_left_alone(small):
    model = copied(small)
    model.producer_name, model.doc_string, model.graph.doc_string = "another", "a note", "a note"
    model.functions[0].doc_string = "in other words"
    helper.set_model_props(model, {p.key: p.value for p in model.metadata_props} | {"mine": "a note"})
    del model.graph.value_info[:]
    before = copied(model)
    check(read_model(model), model)
    assert model == before


# What it does not


def copied(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def node(model: ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def tensor(model: ModelProto, name: str) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def put(model: ModelProto, name: str, array: np.ndarray) -> None:
    """Another tensor of that name."""
    tensor(model, name).CopyFrom(numpy_helper.from_array(array, name))


def value(model: ModelProto, name: str) -> np.ndarray:
    """An initialiser that may be written to."""
    return numpy_helper.to_array(tensor(model, name)).copy()


def changed(model: ModelProto, name: str, index: int, number: int) -> None:
    """One number of an initialiser."""
    array = value(model, name)
    array.flat[index] = number
    put(model, name, array)


def attribute(model: ModelProto, place: str, name: str) -> onnx.AttributeProto:
    return next(a for a in node(model, place).attribute if a.name == name)


def described(model: ModelProto, **texts: str | None) -> None:
    """Metadata of other texts, or none."""
    props = {p.key: p.value for p in model.metadata_props} | {f"haarlequin.{k}": v for k, v in texts.items()}
    helper.set_model_props(model, {key: text for key, text in props.items() if text is not None})


def config_text(model: ModelProto, old: str, new: str) -> None:
    text = next(p.value for p in model.metadata_props if p.key == "haarlequin.config")
    assert old in text
    described(model, config=text.replace(old, new))


def external(model: ModelProto) -> None:
    t = tensor(model, "head.weight")
    t.ClearField("raw_data")
    t.data_location = TensorProto.EXTERNAL
    t.external_data.add(key="location", value="weights.bin")


def duplicate(messages, index: int) -> None:
    messages.append(messages[index])


def swapped(model: ModelProto) -> None:
    """Two nodes in the other order."""
    nodes = list(model.graph.node)
    i = next(i for i, n in enumerate(nodes) if n.name == "layers.0.query.lo.acc")
    nodes[i], nodes[i + 1] = nodes[i + 1], nodes[i]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


TAMPERED: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "no metadata": (lambda m: m.ClearField("metadata_props"), "no model of Haarlequin"),
    "no version": (lambda m: described(m, version=None), "no model of Haarlequin"),
    "a newer version": (lambda m: described(m, version="3"), "format '3' is of another version .* reads 2"),
    "the version before": (
        lambda m: described(m, version="1"),
        "format '1' is of another version .* reads 2",
    ),
    "a strange version": (lambda m: described(m, version="one"), "format 'one' is of another version"),
    "no configuration": (lambda m: described(m, config=None), "haarlequin.config: .*not JSON"),
    "a bad configuration": (lambda m: config_text(m, '"heads": 2', '"heads": 5'), "no multiple of 5"),
    "another layout": (
        lambda m: config_text(m, '"heads": 2', '"heads":  2'),
        "metadata haarlequin.config is",
    ),
    "other classes": (lambda m: described(m, classes='["a", "b"]'), "metadata haarlequin.classes is not"),
    "no scale": (lambda m: described(m, logit_scale=None), "metadata haarlequin.logit_scale is not"),
    "more layers": (lambda m: config_text(m, '"layers": 1', '"layers": 2'), "layers.1.* is missing"),
    "more heads": (
        lambda m: config_text(m, '"heads": 2', '"heads": 3'),
        r"threshold .*shape \(3,\), not \(2,\)",
    ),
    "other steps": (
        lambda m: config_text(m, '"exp_step": 0.125', '"exp_step": 0.12'),
        "exp_table is not the table of the model's widths",
    ),
    "an unknown operation": (
        lambda m: setattr(node(m, "layers.0.v"), "op_type", "Sine"),
        "node 'layers.0.v' is the operation 'Sine' of domain 'haarlequin', .*supported are.* DIBA, .*Sign",
    ),
    "a standard operation": (
        lambda m: m.graph.node.append(helper.make_node("Relu", ["logits"], ["positive"], "last")),
        "node 'last' is the operation 'Relu' of domain ''.*supported are, of domain 'haarlequin'",
    ),
    "our name elsewhere": (
        lambda m: setattr(node(m, "pooled"), "domain", "com.example"),
        "node 'pooled' is the operation 'Pool' of domain 'com.example'",
    ),
    "a function that does something else": (
        lambda m: setattr(m.functions[3].node[-1], "op_type", "Identity"),
        "function RoundShift was written by another version",
    ),
    "a function less": (lambda m: m.functions.pop(0), "function Extent is missing"),
    "a function twice": (lambda m: duplicate(m.functions, 0), "29 functions instead of 28"),
    "an initialiser less": (
        lambda m: m.graph.initializer.remove(tensor(m, "layers.0.value.a")),
        "initialiser layers.0.value.a is missing",
    ),
    "an initialiser twice": (lambda m: duplicate(m.graph.initializer, 0), "'embedding.weight' is not stored"),
    "a foreign initialiser": (
        lambda m: m.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.int8), "mine")),
        "initialiser 'mine' is not stored",
    ),
    "another shape": (
        lambda m: put(m, "head.bias", np.zeros(9, np.int32)),
        r"head.bias must have the shape \(10,\), not \(9,\)",
    ),
    "a transposed tensor": (
        lambda m: put(m, "head.weight", value(m, "head.weight").T),
        r"head.weight must have the shape \(10, 24\), not \(24, 10\)",
    ),
    "real numbers": (
        lambda m: put(m, "head.a", value(m, "head.a").astype(np.float32)),
        "head.a must be one of int8, int16, int32, not of ONNX type 1",
    ),
    "an unknown type": (lambda m: setattr(tensor(m, "head.a"), "data_type", 99), "not of ONNX type 99"),
    "a wider type": (
        lambda m: put(m, "head.weight", value(m, "head.weight").astype(np.int32)),
        "'head.weight' is not stored as it is exported",
    ),
    "out of range": (
        lambda m: changed(m, "layers.0.output.a", 5, 512),
        "layers.0.output.a must be within -512 to 511, not .* to 512",
    ),
    "a weight of 0": (lambda m: changed(m, "layers.0.output.weight", 7, 0), "output.weight must be −1 or"),
    "another table": (lambda m: changed(m, "exp_table", 5, 3), "exp_table is not the table of the model's"),
    "a byte less": (
        lambda m: setattr(tensor(m, "head.a"), "raw_data", tensor(m, "head.a").raw_data[:-1]),
        "head.a has more or fewer bytes",
    ),
    "external data": (external, "initialiser head.weight lies in another file"),
    "another constant shift": (
        lambda m: setattr(attribute(m, "layers.0.context", "shift"), "i", 9),
        "layers.0.context.shift must be within 2 to 8, not 9",
    ),
    "no shift": (
        lambda m: node(m, "layers.0.context").attribute.remove(attribute(m, "layers.0.context", "shift")),
        "node layers.0.context must have one attribute shift, an integer",
    ),
    "a shift that is no integer": (
        lambda m: attribute(m, "head", "shift").CopyFrom(helper.make_attribute("shift", 4.0)),
        "node head must have one attribute shift, an integer",
    ),
    "a shift from elsewhere": (
        lambda m: setattr(attribute(m, "head", "shift"), "ref_attr_name", "mine"),
        "node head: attribute shift is 'no integer'",
    ),
    "another attribute": (
        lambda m: setattr(attribute(m, "layers.0.x_lo", "cols"), "i", 2),
        "node layers.0.x_lo: attribute cols is 2, not 4",
    ),
    "an attribute more": (
        lambda m: node(m, "pooled").attribute.append(helper.make_attribute("mine", 1)),
        "node pooled: number of attributes is 1, not 0",
    ),
    "a node less": (lambda m: m.graph.node.remove(node(m, "layers.0.v")), "node layers.0.v is missing"),
    "a node less, with constants": (
        lambda m: m.graph.node.remove(node(m, "layers.0.value")),
        "node layers.0.value is missing",
    ),
    "a node more": (
        lambda m: m.graph.node.append(helper.make_node("Pool", ["pooled"], ["p"], "q", domain="haarlequin")),
        "node 'q' does not belong to the model",
    ),
    "a node twice": (lambda m: duplicate(m.graph.node, -1), "node head: name is 'head', not ''"),
    "another order": (swapped, "node layers.0.query.lo.acc: name is 'layers.0.query.lo', not"),
    "another input": (
        lambda m: node(m, "layers.0.query.lo").input.__setitem__(1, "embedding.x"),
        "node layers.0.query.lo: input 1 is 'embedding.x', not 'layers.0.x_lo'",
    ),
    "an input less": (
        lambda m: node(m, "layers.0.query.lo").input.pop(),
        "node layers.0.query.lo: input 3 is 'missing', not 'layers.0.query.lo.b'",
    ),
    "an output more": (
        lambda m: node(m, "pooled").output.append("mine"),
        "node pooled: output 1 is 'mine', not 'missing'",
    ),
    "another operation of ours": (
        lambda m: setattr(node(m, "layers.0.v"), "op_type", "Pool"),
        "node layers.0.v: operation is 'Pool', not 'Sign'",
    ),
    "another name": (lambda m: setattr(m.graph, "name", "mine"), "the graph's name is not as"),
    "another input type": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT8),
        "the graph's input is not as",
    ),
    "an output twice": (lambda m: duplicate(m.graph.output, 0), "the graph's output is not as"),
    "another opset": (lambda m: setattr(m.opset_import[0], "version", 13), "the file's opsets are not"),
}


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_file_is_one_clear_line(small, tmp_path, tamper, message):
    model, path = copied(small), tmp_path / "model.onnx"
    tamper(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ReadError) as caught:
        read(path, rerun=False)
    error = str(caught.value)
    assert error.startswith(f"{path}: ")
    assert re.search(message, error)
    assert "haarlequin export" in error
    assert "\n" not in error


def test_a_changed_weight_is_damage(small):
    """It would be another model, which all its forms agree on: only the checksum knows."""
    model = copied(small)
    index = int(np.argmax(value(model, "layers.0.output.weight") == 1))
    changed(model, "layers.0.output.weight", index, -1)
    with pytest.raises(ReadError, match="damaged: its constants are not those that were written"):
        read_model(model)


def perceptron() -> ModelProto:
    """As another framework would write it."""
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), f"fc{i}.weight") for i in range(2)]
    nodes = [
        helper.make_node("Gemm", ["x", "fc0.weight"], ["/fc0/y"], "/fc0/Gemm"),
        helper.make_node("Relu", ["/fc0/y"], ["/relu/y"], "/relu/Relu"),
        helper.make_node("Gemm", ["/relu/y", "fc1.weight"], ["y"], "/fc1/Gemm"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "main_graph", ends[:1], ends[1:], weights))


FOREIGN = {
    "empty": (b"", "the file is empty"),
    "text": (b"not a model\n", "truncated, damaged or no ONNX file"),
    "zeros": (bytes(1000), "truncated, damaged or no ONNX file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "truncated, damaged or no ONNX file"),
    "a checkpoint": (DIGITS.read_bytes(), "truncated, damaged or no ONNX file"),
    "someone else's ONNX": (perceptron().SerializeToString(), "no model of Haarlequin; .*haarlequin export"),
}


@pytest.mark.parametrize(("data", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_one_clear_line(tmp_path, data, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ReadError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "haarlequin export" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ReadError, match=r"none.onnx: no such file; haarlequin export writes one"):
        read(tmp_path / "none.onnx")


def test_a_folder(tmp_path):
    with pytest.raises(ReadError, match=r"cannot be read .*give the ONNX file"):
        read(tmp_path)


# The runtime


def test_a_golden_model_that_computes_something_else_is_found(small):
    other = freeze(random_model(SMALL, 1))
    with pytest.raises(
        ReadError, match=r"onnxruntime and the golden model disagree: image 0, class 0, -?\d+"
    ):
        check(other, small)


@pytest.mark.parametrize("kind", ["black", "white", "random"])
def test_every_kind_of_image_is_compared(small, monkeypatch, kind):
    """A golden model that is wrong for one kind only."""
    golden = read_model(small)

    def wrong(pixels):
        logits = GoldenModel.__call__(golden, pixels)
        kinds = {"black": pixels == 0, "white": pixels == 255}
        rest = ~(kinds["black"] | kinds["white"])
        hit = kinds.get(kind, rest).reshape(len(pixels), -1).mean(1) > 0.9
        assert hit.any()
        return logits + hit[:, None]

    monkeypatch.setattr(wrong, "config", golden.config, raising=False)
    with pytest.raises(ReadError, match="disagree"):
        check(wrong, small)


def test_a_file_that_the_runtime_refuses(small, tmp_path):
    model, path = copied(small), tmp_path / "model.onnx"
    model.ir_version = 1000
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ReadError, match=r"onnxruntime cannot run it .*IR version") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert_same(read(path, rerun=False), read_model(small))


def test_reading_runs_the_file_unless_told_not_to(small, tmp_path, monkeypatch):
    path, seen = tmp_path / "model.onnx", []
    save(small, path)
    monkeypatch.setattr(compiler, "check", lambda golden, model: seen.append((golden, model)))
    read(path, rerun=False)
    assert seen == []
    golden = read(path)
    assert seen == [(golden, small)]


# Damage


SEED = 20


def texts(content: bytes) -> np.ndarray:
    """Places of bytes that are no numbers of large tensors: names, attributes, functions, metadata."""
    mask, at = np.ones(len(content), bool), 0
    for t in ModelProto.FromString(content).graph.initializer:
        if len(t.raw_data) >= 128:
            at = content.index(t.raw_data, at)
            mask[at : at + len(t.raw_data)] = False
    return np.flatnonzero(mask)


def flipped(content: bytes, place: int, pattern: int) -> bytes:
    return content[:place] + bytes([content[place] ^ pattern]) + content[place + 1 :]


def refusal(data: bytes, path: Path) -> str | None:
    """Why a file is refused; one that is not must compute in the runtime what was read."""
    path.write_bytes(data)
    try:
        golden = read(path, rerun=False)
    except ReadError as error:
        return str(error)
    try:
        runner = session(data, threads=1)
    except Exception:  # noqa: BLE001 (its exceptions have no class in common)
        with pytest.raises(ReadError, match="onnxruntime cannot run it") as caught:
            read(path)
        return str(caught.value)
    shape = (4, *golden.config.image, golden.config.channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    (logits,) = runner.run(["logits"], {"pixels": pixels})
    assert np.array_equal(golden(pixels), logits)
    return None


@pytest.mark.slow
def test_a_flipped_byte_is_refused_or_changes_no_number(content, tmp_path):
    generator, others = np.random.default_rng(SEED), texts(content)
    places = [*generator.integers(len(content), size=80), *generator.choice(others, 40)]
    reasons = []
    for place in places:
        pattern = int(generator.integers(1, 256))
        print(f"seed {SEED}: byte {place} ^ {pattern:#04x}")
        reasons.append(refusal(flipped(content, place, pattern), tmp_path / "model.onnx"))
    assert all("\n" not in reason for reason in reasons if reason)
    # Texts for people are not looked at.
    assert reasons.count(None) <= 20


def test_a_truncated_file_is_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    cuts = np.random.default_rng(SEED).integers(len(content), size=60)
    for size in (*range(20), *cuts.tolist(), len(content) - 1):
        print(f"the first {size} bytes")
        path.write_bytes(content[:size])
        with pytest.raises(ReadError) as caught:
            read(path, rerun=False)
        assert "\n" not in str(caught.value)


def test_bytes_in_excess_are_refused_or_ignored(content, tmp_path):
    generator = np.random.default_rng(SEED)
    for size in (1, 2, 8, 100):
        assert "\n" not in (refusal(content + generator.bytes(size), tmp_path / "model.onnx") or "")


def test_any_bytes_are_refused():
    generator = np.random.default_rng(SEED)
    for size in (*range(1, 40), 1000, 100_000):
        with pytest.raises(ReadError):
            read_model(parse(generator.bytes(size)))
