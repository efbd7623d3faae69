import pytest

from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import preset
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
    assert "17009 cycles an image, ideal 13888: 81.7% used" in out


def test_stages_are_planned_for_the_next_machine(capsys):
    command.main(["--plan", "/2 c32x4 a128x5", "--config", "32x128"])
    out = capsys.readouterr().out
    assert out.startswith("/2 c32x4 a128x5 on the next 32x128")
    assert "26967 cycles an image" in out
    command.main(["--plan", "/2 c64x4 a128x4", "--config", "32x192"])
    out = capsys.readouterr().out
    assert "array                  258    22970" in out
    assert "27676 cycles an image" in out  # of the stem: 16 multipliers are too few


def test_a_preset_of_stages_is_planned_for_the_machine_that_there_is(capsys):
    command.main(["--plan", "cifar10-tiny", "--set", "stages=/2 c32x4 a128x5", "--config", "32x128"])
    out = capsys.readouterr().out
    assert out.startswith("cifar10-tiny on 32x128 (32 lanes × 128 bits)")
    assert "28939 cycles an image" in out


def test_a_plan_of_what_is_set(capsys):
    command.main(["--plan", "digits", "--set", "layers=1", "--config", "2x64"])
    one = capsys.readouterr().out
    command.main(["--plan", "digits", "--config", "2x64"])
    assert one.startswith("digits on 2x64")
    assert one != capsys.readouterr().out


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
            "unknown accelerator '3x3': there are 2x64, 4x64, 8x64, 8x64-hybrid, 16x64",
        ),
        (["--plan", "nothing.safetensors", "--config", "16x64"], "no such checkpoint"),
        (
            ["--plan", "deit-tiny-224", "--config", "16x64"],
            "deit-tiny-224 is too large for 16x64: channels 192, 64 at most",
        ),
        (
            ["digits", "--config", "16x64"],
            "digits is no .onnx file: haarlequin export makes one",
        ),
        (["nothing.onnx", "--config", "16x64"], "nothing.onnx: no such file"),
        (["--plan", "/2 c32x4 b128x5", "--config", "32x128"], "a network is a stem and stages"),
        (["--plan", "/2 c32x4", "--config", "scalar"], "stages need lanes × bits of a word, such as 32x128"),
        (["--plan", "/2 a64x1s8", "--config", "32x128"], "the machine cannot place shifted windows"),
        (["--plan", "/2 c32x4", "--config", "32x128", "--family", "ice40"], "for ecp5 alone, not for ice40"),
        (["--plan", "/2 c32x4", "--config", "32x128", "--set", "theta=2"], "theta must be 1, 3 or 5, not 2"),
        (["nothing.onnx", "--config", "16x64", "--set", "layers=1"], "--set is for the plan of a preset"),
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
