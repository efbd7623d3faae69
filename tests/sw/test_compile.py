import pytest

from haarlequin.models.config import preset
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.sw import compile as command
from haarlequin.sw.table_folder import load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """One layer of digits, random."""
    path = tmp_path_factory.mktemp("onnx") / "mine.onnx"
    model = preset("digits").with_(name="mine", layers=1)
    save(export(freeze(random_model(model, 0))), path)
    return path


def test_a_plan_is_printed(capsys):
    command.main(["--plan", "cifar10-tiny", "--config", "64x128"])
    out = capsys.readouterr().out
    assert out.startswith("cifar10-tiny on 64x128 (64 lanes × 128 bits)")
    assert "binary weights" in out
    assert "18750 cycles an image, ideal 13888: 74.1% used" in out


def test_a_checkpoint_is_planned_like_its_preset(tmp_path, capsys):
    model = preset("digits").with_(name="mine", layers=1)
    checkpoint.save(tmp_path / "model.safetensors", random_model(model, 0), pack=True)
    command.main([str(tmp_path / "model.safetensors"), "--plan", "--config", "2x64"])
    assert capsys.readouterr().out.startswith("mine on 2x64")


def test_a_plan_of_a_file_writes_nothing(onnx_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command.main(["--plan", str(onnx_file), "--config", "16x64"])
    assert "mine on 16x64" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_compiling_writes_tables_and_reports_layers(onnx_file, tmp_path, capsys):
    command.main([str(onnx_file), "--config", "16x64", "-o", str(tmp_path / "tables")])
    out = capsys.readouterr().out
    assert "layers.0.expand             expand" in out
    assert "16×64·64×256" in out
    compiled = load(tmp_path / "tables")
    assert (compiled.model.name, compiled.accelerator) == ("mine", "16x64")
    assert f"{compiled.cycles} cycles an image" in out
    assert set(compiled.words) >= {"settings", "program", "weights", "head biases"}
    command.main(["--verify", str(tmp_path / "tables"), "--config", "16x64"])
    assert "tables: mine for 16x64, " in capsys.readouterr().out


def test_firmware_for_the_scalar_machine(onnx_file, tmp_path, capsys):
    command.main([str(onnx_file), "--config", "scalar", "-o", str(tmp_path / "tables")])
    out = capsys.readouterr().out
    compiled = load(tmp_path / "tables")
    assert out.startswith("mine on scalar: ")
    assert f"{compiled.cycles:,} cycles an image" in out
    assert list(compiled.words) == ["settings", "code", "data"]


@pytest.mark.parametrize(
    ("damage", "machine", "message"),
    [
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "16x64", "program"),
        (lambda data: data[:-1], "16x64", "tables.bin"),
        (lambda data: data, "2x64", "these tables are for 16x64, not for 2x64"),
    ],
)
def test_tables_that_are_not_intact(onnx_file, tmp_path, capsys, damage, machine, message):
    command.main([str(onnx_file), "--config", "16x64", "-o", str(tmp_path)])
    path = tmp_path / "tables.bin"
    path.write_bytes(damage(path.read_bytes()))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command.main(["--verify", str(tmp_path), "--config", machine])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "letters", "--config", "16x64"], "unknown preset 'letters'"),
        (
            ["--plan", "digits", "--config", "3x3"],
            "unknown accelerator '3x3': there are 2x64, 4x64, 8x64, 16x64",
        ),
        (["--plan", "nothing.safetensors", "--config", "16x64"], "no such checkpoint"),
        (
            ["--plan", "deit-tiny-224", "--config", "16x64"],
            "deit-tiny-224 is too large for 16x64: tokens 196, 64 at most",
        ),
        (
            ["digits", "--config", "16x64"],
            "digits is no .onnx file: haarlequin export makes one",
        ),
        (["nothing.onnx", "--config", "16x64"], "nothing.onnx: no such file"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_a_file_too_large_writes_nothing(tmp_path, capsys):
    path = tmp_path / "large.onnx"
    save(export(freeze(random_model(preset("digits").with_(layers=8), 0))), path)
    with pytest.raises(SystemExit) as stop:
        command.main([str(path), "--config", "16x64", "-o", str(tmp_path / "tables")])
    assert stop.value.code == 2
    assert "digits is too large for 16x64: weights by 3072 of 4096 words" in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()
