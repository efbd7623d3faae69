import os
import pty
from pathlib import Path
from types import SimpleNamespace

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from haarlequin.sw import infer
from haarlequin.sw.devices.plugged_in import listing


def port(device, **facts):
    found = ListPortInfo(device, skip_link_detection=True)
    for name, value in facts.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def computer(monkeypatch):
    """A computer with these ports and buses."""
    there = SimpleNamespace(ports=[], buses=[])
    monkeypatch.setattr(list_ports, "comports", lambda: there.ports)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(map(Path, there.buses)))
    return there


def test_a_computer_without_any(computer):
    assert listing().splitlines() == ["sim     simulated here", "golden  the integer model"]


def test_ports_and_buses(computer):
    computer.ports = [
        port(
            "/dev/ttyUSB1", manufacturer="FER-RADIONA-EMARD", product="ULX3S FPGA 25K", vid=0x0403, pid=0x6015
        ),
        port("/dev/ttyS0", description="ttyS0"),
    ]
    computer.buses = ["/dev/spidev0.1", "/dev/spidev0.0"]
    *_, one, two, three, four = listing().splitlines()
    assert one == "serial:/dev/ttyS0    ttyS0"
    assert two == "serial:/dev/ttyUSB1  FER-RADIONA-EMARD ULX3S FPGA 25K"
    assert three.split() == ["spi:/dev/spidev0.0", "an", "SPI", "bus"]
    assert four.startswith("spi:/dev/spidev0.1")


@pytest.mark.parametrize(
    ("facts", "bus"),
    [
        ({"pid": 0x6014, "serial_number": "FT1", "location": "1-2.3"}, "spi:ftdi://ftdi:232h:FT1/1"),
        ({"pid": 0x6014}, "spi:ftdi://ftdi:232h/1"),
        ({"pid": 0x6010, "serial_number": "x", "location": "1-2:1.0"}, "spi:ftdi://ftdi:2232h:x/1"),
        ({"pid": 0x6010, "serial_number": "x", "location": "1-2:1.1"}, None),
        ({"pid": 0x6015, "location": "1-2"}, None),
        ({"pid": 0x6014, "vid": 0x1209}, None),
    ],
)
def test_bridges_that_can_be_masters(computer, facts, bus):
    computer.ports = [port("/dev/ttyUSB0", **{"vid": 0x0403} | facts)]
    names = [line.split()[0] for line in listing().splitlines()[2:]]
    fifo = [bus.replace("spi:", "ftdi:")] if bus and facts["pid"] == 0x6014 else []
    assert names == ["serial:/dev/ttyUSB0", *([bus] if bus else []), *fifo]


def test_who_holds_it(computer):
    mine, theirs = pty.openpty()
    computer.ports = [port(os.ttyname(theirs))]
    assert listing().endswith("in use by this program itself")
    os.close(theirs)
    os.close(mine)


def test_the_command(computer, capsys):
    computer.ports = [port("/dev/ttyUSB0")]
    with pytest.raises(SystemExit) as ended:
        infer.main(["--device", "list"])
    assert ended.value.code == 0
    assert "serial:/dev/ttyUSB0" in capsys.readouterr().out
