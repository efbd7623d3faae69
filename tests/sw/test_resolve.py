"""What a person may call a model, and what it runs on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import preset
from haarlequin.sw import resolve as choose
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.resolve import USUAL, ZOO, ModelSource, machine_for, trained
from haarlequin.sw.table_folder import TABLES, TablesError

CHECKPOINT = ZOO / "digits" / "model.safetensors"


def refusal(name):
    """The message, one line, that no model is called so."""
    with pytest.raises(UsageError) as caught:
        ModelSource(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_same_model_by_each_of_its_names(trained_digits, tmp_path):
    save(export(freeze(checkpoint.load(CHECKPOINT))), tmp_path / "some.onnx")
    machine = CONFIGS["16x64"]
    for name in (str(CHECKPOINT), str(tmp_path / "some.onnx")):
        source = ModelSource(name)
        assert source.config == trained_digits.tables.model
        assert source.machine(None) is machine
        model = source.compiled(machine.digest)
        assert model.tables == trained_digits.tables
        assert model.golden is source.golden is not None


def test_it_is_compiled_for_what_the_device_is():
    source = ModelSource("digits")
    for name in ("2x64", "16x64"):
        tables = source.compiled(CONFIGS[name].digest).tables
        assert (tables.accelerator, tables.digest) == (name, CONFIGS[name].digest)
    with pytest.raises(
        UsageError, match=r"this version does not know \(digest 0x00000007\): build its bitstr"
    ):
        source.compiled(7)


def test_tables(digits_tables, trained_digits):
    source = ModelSource(str(digits_tables))
    assert source.golden is None
    assert source.config == trained_digits.tables.model
    assert source.machine(None) is CONFIGS["16x64"]
    assert source.machine("2x64") is CONFIGS["2x64"]
    for digest in (CONFIGS["16x64"].digest, 7):  # what they are for, the device judges
        model = source.compiled(digest)
        assert (model.tables, model.golden) == (trained_digits.tables, None)


def test_damaged_tables(digits_tables, tmp_path):
    shutil.copytree(digits_tables, tmp_path / "tables")
    path = tmp_path / "tables" / TABLES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TablesError, match="truncated"):
        ModelSource(str(tmp_path / "tables"))


@pytest.mark.parametrize("name", ["letters", "", ".", "nothing/digits", "README.md", "digits.pt", "16x64"])
def test_unknown_models(name):
    assert refusal(name) == (
        f"unknown model {name!r}: give {', '.join(known())}, an ONNX file, a checkpoint or a folder of tables"
    )


def known():
    return sorted(path.parent.name for path in ZOO.glob("*/model.onnx"))


def test_a_folder_that_holds_no_tables(tmp_path):
    assert refusal(str(tmp_path)).startswith("unknown model ")


def test_a_preset_without_a_trained_model(monkeypatch, tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "model.onnx").touch()
    (tmp_path / "cifar10-nano").mkdir()
    monkeypatch.setattr(choose, "ZOO", tmp_path)
    assert refusal("cifar10-nano") == "cifar10-nano has not been trained yet: there are digits"
    assert trained("cifar10-nano") is None
    assert trained("digits") == tmp_path / "digits" / "model.onnx"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.onnx", "nothing.onnx: no such file"),
        ("nothing.safetensors", "no such checkpoint"),
        ("folder.onnx", "folder.onnx"),
        ("folder.safetensors", "folder.safetensors: Is a directory; give the path of a .safetensors file"),
        ("text.onnx", "text.onnx"),
        ("text.safetensors", "text.safetensors: truncated or no safetensors file"),
    ],
)
def test_files_that_are_no_models(name, message, tmp_path):
    path = tmp_path / name
    if name.startswith("folder"):
        path.mkdir()
    elif name.startswith("text"):
        path.write_text("What is on these pictures?")
    assert message in refusal(str(path))


def test_a_model_that_is_not_finished(tmp_path):
    checkpoint.save(tmp_path / "model.safetensors", DIDBViT(preset("digits").with_(layers=1)))
    message = refusal(str(tmp_path / "model.safetensors"))
    assert message.endswith("model.safetensors is in its float phase: give a finished model")


# The accelerator to simulate


def golden(**changes):
    return freeze(random_model(preset("digits").with_(**changes), 0))


def test_each_preset_has_an_accelerator():
    for name, machine in USUAL.items():
        assert preset(name).name == name
        assert machine in CONFIGS


def test_the_accelerator_that_was_asked_for():
    assert machine_for(golden(layers=1), "32x128") is CONFIGS["32x128"]
    with pytest.raises(ConfigError, match="unknown accelerator '3x3': there are 2x64, 4x64, 8x64, "):
        machine_for(golden(layers=1), "3x3")
    with pytest.raises(ConfigError, match="unknown accelerator '3x3'"):
        ModelSource("digits").machine("3x3")


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 8])
def test_the_first_accelerator_that_a_model_fits(layers):
    """Its memories too: eight layers have more weights than the smallest holds."""
    model = golden(name="mine", layers=layers)
    machine = machine_for(model, None)
    compile_model(model, machine, check=False)
    for smaller in list(CONFIGS.values())[: list(CONFIGS).index(machine.name)]:
        with pytest.raises(UsageError, match="too large"):
            compile_model(model, smaller, check=False)


def test_a_model_that_fits_nothing(monkeypatch):
    monkeypatch.setattr(choose, "CONFIGS", {"2x64": replace(accelerator("2x64"), max_tokens=4)})
    with pytest.raises(UsageError, match=r"^mine fits none of 2x64: see sw/compile\.py --plan; --device"):
        machine_for(golden(name="mine", layers=1), None)


def test_the_zoo_is_where_the_trained_models_are():
    assert Path(ZOO, "digits", "card.json").exists()
    assert trained("digits") == CHECKPOINT.with_name("model.onnx")
