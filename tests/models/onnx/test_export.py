"""Deploy mode = golden model = onnxruntime, and the file says everything that a compiler needs."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel, specs
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx import export, graph
from haarlequin.models.presets import PRESETS, preset
from haarlequin.models.widths import Widths
from tests.models.extreme_widths import LARGEST, SMALLEST
from tests.models.runtime import observed, run
from tests.said import said

pytestmark = pytest.mark.slow

SMALL = preset("digits").with_(name="small", layers=1, dim=24, heads=2)
RGB = {"channels": 3, "mean": (1.0, 128.0, 255.0)}
SHAPES = {
    "nano in one layer": preset("cifar10-nano").with_(layers=1),
    "tiny in one layer": preset("cifar10-tiny").with_(layers=1),
    "small": SMALL,
    "three layers": SMALL.with_(layers=3),
    "hfsc off": SMALL.with_(hfsc=False),
    "diba off": SMALL.with_(diba=False),
    "irprelu off": SMALL.with_(irprelu=False),
    "everything off": SMALL.with_(hfsc=False, diba=False, irprelu=False),
    "theta 1": SMALL.with_(theta=1),
    "theta 5": SMALL.with_(theta=5),
    "mlp_ratio 1": SMALL.with_(mlp_ratio=1),
    "mlp_ratio 2": SMALL.with_(mlp_ratio=2),
    "mlp_ratio 8": SMALL.with_(mlp_ratio=8),
    "16 bits": SMALL.with_(widths=Widths(wide=16)),
    "narrow": SMALL.with_(widths=SMALLEST),
    "broad": SMALL.with_(widths=LARGEST),
    "broad without hfsc": SMALL.with_(widths=LARGEST, hfsc=False),
    "wide grid": SMALL.with_(image=(4, 14)),
    "high grid": SMALL.with_(image=(10, 6), theta=5),
    "a row": SMALL.with_(image=(2, 10)),
    "a column": SMALL.with_(image=(10, 2)),
    "one token": SMALL.with_(image=(2, 2)),
    "dim 6 in 3 heads": SMALL.with_(dim=6, heads=3),
    "dim 7 in 7 heads": SMALL.with_(dim=7, heads=7),
    "one channel": SMALL.with_(dim=1, heads=1),
    "patches of 1": SMALL.with_(image=(3, 5), patch=1),
    "colour patches of 3": SMALL.with_(image=(9, 15), patch=3, **RGB),
    "two classes, 17 channels": SMALL.with_(dim=17, heads=1, classes=("cat", "dog")),
}
SEEDS = range(2)
IMAGES = 8
CASES = [pytest.param(config, seed, id=f"{name}-{seed}") for name, config in SHAPES.items() for seed in SEEDS]


def images(config: ModelConfig, count: int, seed: int = 0) -> Tensor:
    """All black, all white, each pixel black or white, and random ones; uint8."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *config.image, config.channels), generator=generator)
    pixels[0] = 0
    pixels[1] = 255
    pixels[2] = (pixels[2] > 127) * 255
    return pixels.to(torch.uint8)


@functools.cache
def golden_of(config: ModelConfig, seed: int = 0) -> GoldenModel:
    return freeze(random_model(config, seed))


def agree(config: ModelConfig, seed: int, count: int) -> None:
    """Assert equal integer logits on all sides."""
    model, pixels = random_model(config, seed), images(config, count, seed)
    golden = freeze(model)
    expected = golden(pixels)
    with torch.no_grad():
        assert np.array_equal(model.integer_logits(pixels), expected)
    outputs = run(graph.export(golden), {"pixels": pixels})
    assert outputs["logits"].dtype == np.int64
    assert np.array_equal(outputs["logits"], expected)


@pytest.mark.parametrize(("config", "seed"), CASES)
def test_three_models_agree(config, seed):
    agree(config, seed, IMAGES)


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if not config.golden_only])
def test_three_models_agree_on_a_whole_preset(name):
    agree(preset(name), seed=0, count=3 if name == "deit-tiny-224" else IMAGES)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_every_tensor_is_the_golden_models(config):
    golden, pixels, trace = golden_of(config), images(config, 4), {}
    golden(pixels, trace)
    outputs = run(observed(graph.export(golden)), {"pixels": pixels})
    # What the golden model has no name for.
    for i in range(config.layers):
        del outputs[f"layers.{i}.repeated"]
    assert outputs.keys() == trace.keys()
    wrong = [name for name, value in trace.items() if not np.array_equal(outputs[name], value)]
    assert wrong == []


def test_the_batch_is_free():
    golden, pixels = golden_of(SMALL), images(SMALL, 5)
    model = graph.export(golden)
    logits = [run(model, {"pixels": part})["logits"] for part in pixels.split([1, 4])]
    assert np.array_equal(np.concatenate(logits), golden(pixels))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_a_batch_of_0_has_no_logits(config):
    """Nor anything else, and all of it in the shapes of every other batch."""
    golden, trace = golden_of(config), {}
    golden(images(config, 3), trace)
    outputs = run(observed(graph.export(golden)), {"pixels": images(config, 3)[:0]})
    assert outputs["logits"].shape == (0, len(config.classes))
    assert {name: outputs[name].shape for name in trace} == {n: (0, *v.shape[1:]) for n, v in trace.items()}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_file_is_valid_and_every_tensor_has_its_shape(config):
    model = graph.export(golden_of(config))
    onnx.checker.check_model(model, full_check=True)
    infos = [*model.graph.value_info, *model.graph.output]
    shapes = {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in infos}
    assert shapes.keys() == {name for node in model.graph.node for name in node.output}
    trace = {}
    golden_of(config)(images(config, 3), trace)
    assert {name: shapes[name] for name in trace} == {n: ["batch", *v.shape[1:]] for n, v in trace.items()}


def test_the_same_model_gives_the_same_bytes():
    first, second = (graph.serialised(graph.export(golden_of(SMALL))) for _ in range(2))
    assert first == second
    assert first != graph.serialised(graph.export(golden_of(SMALL, seed=1)))


def foreign(model: onnx.ModelProto) -> set[str]:
    """Operations that the graph may not hold: not ours, or made of anything but ours and standard ones."""
    ours = {(f.domain, f.name) for f in model.functions if f.domain == "haarlequin"}
    found = {f"function {f.domain}.{f.name}" for f in model.functions if (f.domain, f.name) not in ours}
    found |= {f"{n.domain}.{n.op_type}" for n in model.graph.node if (n.domain, n.op_type) not in ours}
    for function in model.functions:
        for node in function.node:
            subgraphs = any(a.HasField("g") or a.graphs for a in node.attribute)
            standard = node.domain == "" and onnx.defs.has(node.op_type) and not subgraphs
            if not standard and (node.domain, node.op_type) not in ours:
                found.add(f"{node.domain}.{node.op_type} in {function.name}")
    return found


@pytest.mark.parametrize("config", [SMALL, SHAPES["everything off"]], ids=["all on", "all off"])
def test_the_graph_holds_our_operations_only(config):
    assert foreign(graph.export(golden_of(config))) == set()


def test_a_foreign_operation_is_found():
    model = graph.export(golden_of(SMALL))
    model.graph.node.append(helper.make_node("Relu", ["logits"], ["positive"]))
    model.graph.node.append(helper.make_node("Pool", ["logits"], ["pool"], domain="com.microsoft"))
    model.graph.node.append(helper.make_node("Pooled", ["logits"], ["pooling"], domain="haarlequin"))
    model.functions[0].node.append(helper.make_node("Gelu", ["y"], ["z"], domain="com.microsoft"))
    hidden = f"com.microsoft.Gelu in {model.functions[0].name}"
    assert foreign(model) == {".Relu", "com.microsoft.Pool", "haarlequin.Pooled", hidden}


def remade(model: onnx.ModelProto) -> GoldenModel:
    """The golden model again, from the file alone."""
    metadata = {p.key: p.value for p in model.metadata_props}
    config = ModelConfig.from_json(metadata["haarlequin.config"])
    attributes = {f"{n.name}.{a.name}": torch.tensor(a.i) for n in model.graph.node for a in n.attribute}
    stored = {t.name: torch.tensor(numpy_helper.to_array(t).astype(int)) for t in model.graph.initializer}
    found = attributes | stored
    return GoldenModel(config, {name: found[name] for name in specs(config)})


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_file_alone_makes_the_golden_model_again(config, tmp_path):
    golden = golden_of(config)
    graph.save(graph.export(golden), tmp_path / "model.onnx")
    again = remade(onnx.load(tmp_path / "model.onnx"))
    assert again.config == config
    assert again.constants.keys() == golden.constants.keys()
    assert all(np.array_equal(value, golden.constants[name]) for name, value in again.constants.items())


def test_initialisers_are_the_constants_each_as_narrow_as_its_range():
    model = graph.export(golden_of(SMALL))
    stored = {t.name: t for t in model.graph.initializer}
    assert stored.keys() - specs(SMALL) == {"exp_table"}
    assert specs(SMALL).keys() - stored == {name for name, spec in specs(SMALL).items() if not spec.shape}
    types = {name: onnx.TensorProto.DataType.Name(t.data_type) for name, t in stored.items()}
    assert types["layers.0.expand.weight"] == types["head.weight"] == types["layers.0.local.shift"] == "INT8"
    assert types["exp_table"] == types["layers.0.value.token"] == types["embedding.position"] == "INT16"
    assert types["layers.0.attention.threshold"] == types["embedding.bias"] == types["head.bias"] == "INT32"


def test_the_metadata_says_what_to_feed_and_what_comes_out():
    model = graph.export(golden_of(preset("cifar10-nano").with_(layers=1)))
    metadata = {p.key: p.value for p in model.metadata_props}
    assert model.producer_name == "haarlequin"
    assert metadata["haarlequin.version"] == "2"
    assert json.loads(metadata["haarlequin.classes"]) == list(PRESETS["cifar10-nano"].classes)
    preprocessing = json.loads(metadata["haarlequin.preprocessing"])
    expected = {"height": 32, "width": 32, "channels": 3, "colour": "RGB", "layout": "BHWC", "dtype": "uint8"}
    assert preprocessing.items() >= expected.items()
    assert preprocessing["mean"] == list(PRESETS["cifar10-nano"].mean)


def test_logits_times_the_scale_are_the_networks():
    model, pixels = random_model(SMALL, 0), images(SMALL, 4)
    file = graph.export(freeze(model))
    scale = float({p.key: p.value for p in file.metadata_props}["haarlequin.logit_scale"])
    with torch.no_grad():
        assert np.array_equal(
            run(file, {"pixels": pixels})["logits"].astype(np.float32) * scale, model(pixels)
        )


# The command line


@pytest.fixture
def finished(tmp_path) -> Path:
    """A checkpoint in deploy mode."""
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, random_model(SMALL, 0), pack=True)
    return path


def test_the_command_writes_the_file_and_says_so(finished, tmp_path, capsys):
    target = tmp_path / "new folder" / "model.onnx"
    export.main([str(finished), "-o", str(target)])
    expected = graph.serialised(graph.export(golden_of(SMALL)))
    assert target.read_bytes() == expected
    assert capsys.readouterr().out == f"{target}: {len(expected):,} bytes, 26 nodes, 10 classes\n"
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]


def fails(capsys, *arguments: object) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    with pytest.raises(SystemExit) as exit_:
        export.main([str(argument) for argument in arguments])
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_a_missing_checkpoint(tmp_path, capsys):
    error = fails(capsys, tmp_path / "none.safetensors", "-o", tmp_path / "model.onnx")
    assert "none.safetensors" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(1000)])
def test_a_foreign_checkpoint(tmp_path, capsys, content):
    source = tmp_path / "foreign.safetensors"
    source.write_bytes(content)
    assert "foreign.safetensors" in fails(capsys, source, "-o", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("kept", [7, 0.5, -1])
def test_a_truncated_checkpoint(finished, tmp_path, capsys, kept):
    content = finished.read_bytes()
    finished.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else kept])
    assert "model.safetensors" in fails(capsys, finished, "-o", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [finished]


def test_a_model_in_its_float_phase(tmp_path, capsys):
    source = tmp_path / "float.safetensors"
    checkpoint.save(source, DIDBViT(SMALL))
    assert "float phase" in fails(capsys, source, "-o", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_as_the_target(finished, tmp_path, capsys):
    assert "is a folder" in fails(capsys, finished, "-o", tmp_path)
    assert "is a folder" in fails(capsys, finished, "-o", ".")


def test_a_file_as_the_targets_folder(finished, capsys):
    assert str(finished) in fails(capsys, finished, "-o", finished / "model.onnx")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(finished, tmp_path, capsys, monkeypatch):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in fails(capsys, finished, "-o", target)
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.safetensors"}


def test_verbose_shows_the_traceback(tmp_path):
    with pytest.raises(checkpoint.CheckpointError):
        export.main([str(tmp_path / "none"), "-o", str(tmp_path / "model.onnx"), "-v"])


def test_the_module_runs_as_a_command_and_gives_the_same_bytes(finished, tmp_path):
    target = tmp_path / "model.onnx"
    command = [sys.executable, "-m", "haarlequin", "export", finished, "-o", target]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, said(result.stderr)) == (0, "")
    assert target.read_bytes() == graph.serialised(graph.export(golden_of(SMALL)))
