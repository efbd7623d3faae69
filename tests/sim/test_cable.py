import pytest

from haarlequin.sim import cable

pytestmark = pytest.mark.slow


def test_images_go_through_the_bus(capsys):
    """The layers take longer than 78 bytes: with an image always under way, hardly a cycle is lost."""
    cable.main(["--model", "digits", "--images", "2"])
    first, second, *_ = capsys.readouterr().out.splitlines()[-4:]
    assert first == "digits on 16x64 at 50 MHz, through an SPI bus of 50 MHz: 5 images, all exact"
    assert 95 < float(second.split(": ")[1].split("%")[0]) <= 100


def test_images_go_through_usb(capsys):
    cable.main(["--line", "usb", "--model", "digits", "--images", "19"])
    first, second, wires, _ = capsys.readouterr().out.splitlines()[-4:]
    assert first == "digits on 16x64 at 48 MHz, through USB at full speed: 22 images, all exact"
    assert 60 < float(second.split(": ")[1].split("%")[0]) <= 101  # it computes hardly faster
    assert wires.split()[0] == "6,333"  # 19 packets in a millisecond, three for an image


def test_images_go_through_a_fifo(capsys):
    """As many as the layers compute, though both flags of the chip go away for a third of the time."""
    cable.main(["--line", "fifo", "--model", "digits", "--images", "19"])
    first, second, wires, _ = capsys.readouterr().out.splitlines()[-4:]
    assert first == "digits on 16x64 at 50 MHz, through an FT232H's FIFO of 60 MHz: 22 images, all exact"
    assert 95 < float(second.split(": ")[1].split("%")[0]) <= 100.5
    assert wires.split()[0] == "285,714"  # 78 + 62 bytes an image, 40 million a second


def test_images_go_through_ethernet(capsys):
    """As many as the layers compute."""
    cable.main(["--line", "udp", "--model", "digits", "--images", "19"])
    first, second, wires, _ = capsys.readouterr().out.splitlines()[-4:]
    assert first == "digits on 16x64 at 50 MHz, through Ethernet at a gigabit: 22 images, all exact"
    assert 95 < float(second.split(": ")[1].split("%")[0]) <= 100.5
    assert wires.split()[0] == "844,595"  # 78 + 70 bytes an image, 125 million a second


def test_no_images(capsys):
    with pytest.raises(SystemExit):
        cable.main(["--images", "0"])
    assert "--images must be at least 1, not 0" in capsys.readouterr().err
