import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.config import vit
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.sim import cable
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow


@pytest.fixture
def through(tmp_path, monkeypatch, capsys):
    """The three lines that the command prints of a small model on a small machine, which others build too."""
    monkeypatch.setitem(CONFIGS, "4x16", MACHINES["4x16"])
    sizes = {"image": (8, 8), "channels": 1, "patch": 2, "dim": 16, "heads": 2, "layers": 3}
    config = vit(name="small", mean=(128.0,), classes=("a", "b", "c"), **sizes)
    save(export(freeze(random_model(config, seed=2))), tmp_path / "small.onnx")

    def run(line, images):
        options = ["--line", line, "--images", str(images), "--config", "4x16"]
        cable.main([*options, "--model", str(tmp_path / "small.onnx")])
        first, second, wires, _ = capsys.readouterr().out.splitlines()[-4:]
        return first, float(second.split(": ")[1].split("%")[0]), wires.split()[0]

    return run


def test_images_go_through_the_bus(through):
    """The layers take longer than 78 bytes: with an image always under way, hardly a cycle is lost."""
    first, percent, _ = through("spi", 6)
    assert first == "small on 4x16 at 50 MHz, through an SPI bus of 50 MHz: 9 images, all exact"
    assert 93 < percent <= 101


def test_images_go_through_usb(through):
    first, percent, wires = through("usb", 19)
    assert first == "small on 4x16 at 48 MHz, through USB at full speed: 24 images, all exact"
    assert 60 < percent <= 101  # it computes hardly faster
    assert wires == "6,333"  # 19 packets in a millisecond, three for an image


def test_images_go_through_usb_at_high_speed(through):
    """As many as the layers compute: four are on their way."""
    first, percent, wires = through("usb-hs", 19)
    assert first == "small on 4x16 at 50 MHz, through USB at high speed: 24 images, all exact"
    assert 99 < percent <= 100.5
    assert wires == "52,000"  # 104 packets in a millisecond, two for an image


def test_images_go_through_a_fifo(through):
    """As many as the layers compute, though both flags of the chip go away for a third of the time."""
    first, percent, wires = through("fifo", 19)
    assert first == "small on 4x16 at 50 MHz, through an FT232H's FIFO of 60 MHz: 24 images, all exact"
    assert 99 < percent <= 100.5
    assert wires == "357,143"  # 78 + 34 bytes an image, 40 million a second


def test_images_go_through_ethernet(through):
    """As many as the layers compute."""
    first, percent, wires = through("udp", 19)
    assert first == "small on 4x16 at 50 MHz, through Ethernet at a gigabit: 24 images, all exact"
    assert 99 < percent <= 100.5
    assert wires == "844,595"  # 78 + 70 bytes an image, 125 million a second


def test_no_images(capsys):
    with pytest.raises(SystemExit):
        cable.main(["--images", "0"])
    assert "--images must be at least 1, not 0" in capsys.readouterr().err
