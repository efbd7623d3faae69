"""The devices that run a compiled model: the simulated RTL, the golden model, or a board on a line.

`open_device` makes one of them; all are `Device`s and give the same results. Start with `device.py`, which
says what every device does.

    device.py       `Device`, what a device loads (`CompiledModel`) and what it returns (`Result`)
    golden.py       the golden model as a device
    several.py      several devices as one; feed.py: the queue that each of them takes images from
    link.py         an accelerator at the other end of a line: the host's end of the protocol
    byte_line.py    `Line`, which carries the bytes: serial_port.py, spi_port.py, usb_port.py, fifo_port.py
                    and udp_port.py to a board, simulated.py to the RTL
    plugged_in.py   which devices this computer has, and who holds them
    port_errors.py  why a serial port cannot be opened, and what to do about it
"""

from contextlib import ExitStack, suppress
from pathlib import Path

from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.ethernet.address import PORT
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder
from haarlequin.sw.devices.device import (
    Answered,
    Benchmark,
    CompiledModel,
    Device,
    DeviceError,
    Notice,
    Result,
)

__all__ = [
    "KINDS",
    "Answered",
    "Benchmark",
    "CompiledModel",
    "Device",
    "DeviceError",
    "Notice",
    "Result",
    "device_names",
    "is_board",
    "open_device",
]

KINDS = {
    "sim": "the RTL in Verilator, in this process; built once",
    "golden": "the integer model; its cycles are predicted",
    "serial:PORT[@BAUD]": "an accelerator on a serial port, serial:/dev/ttyUSB0@3000000 for example",
    "spi:BUS[@HZ]": "one on an SPI bus, spi:/dev/spidev0.0@20000000 or spi:ftdi://ftdi:232h/1 for example",
    "usb:[VID:PID:][SERIAL]": "one that is a USB device itself, with this serial number or any",
    "ftdi:[URL]": "one at an FT232H's synchronous FIFO, ftdi:ftdi://ftdi:232h/1 or the first one",
    "udp:HOST[:PORT]": "one with Ethernet, udp:192.168.2.50 for example",
}


def is_board(name: str) -> bool:
    """Whether a device is a board, which has an accelerator of its own, or several boards."""
    return all(each.startswith(("serial:", "spi:", "usb:", "ftdi:", "udp:")) for each in name.split(","))


def device_names(name: str) -> list[str]:
    """The devices of a list such as ``A,B``, each of which is one of `KINDS`.

    Raises `UsageError` for an empty entry, and where one is named twice.
    """
    names = name.split(",")
    if len(names) > 1 and "" in names:
        raise UsageError(f"the devices {name!r} have an empty entry: name them as A,B")
    found: dict[str, str] = {}
    for each in names:
        where = _whereabouts(each)
        if where in found:
            raise UsageError(f"{found[where]} and {each} are the same device: name it once")
        found[where] = each
    return names


def _whereabouts(name: str) -> str:
    """The device without its rate; a port by its own path, whatever link leads there."""
    kind, colon, rest = name.partition(":")
    if kind == "udp":
        return name.removesuffix(f":{PORT}")
    if kind not in ("serial", "spi"):
        return name
    port = rest.partition("@")[0]
    with suppress(OSError, ValueError):
        port = str(Path(port).resolve()) if port.startswith("/") else port
    return f"{kind}{colon}{port}"


def open_device(name: str, machine: AnyConfig | None, notice: Notice = print) -> Device:
    """Open the device of that name; the caller closes it.

    Arguments:
        name: one of `KINDS`, or several of them as ``A,B``, which then share the images (`SeveralDevices`).
        machine: what to simulate. None for a board: `Device.digest` then says what accelerator is there; None
            for the golden device and a model that no accelerator runs.
        notice: is told before something takes long, and when one device of several has failed.

    Raises:
        TypeError: there is no ``machine`` to simulate.
        UsageError: there is no such device, or this computer lacks what the simulation needs.
        DeviceError: the device does not answer.
    """
    names = device_names(name)
    if len(names) > 1:
        from haarlequin.sw.devices.several import SeveralDevices

        with ExitStack() as opened:  # one that cannot be opened closes those before it
            devices = [opened.enter_context(open_device(each, machine, notice)) for each in names]
            opened.pop_all()
        return SeveralDevices(devices, notice)
    kind, _, rest = name.partition(":")
    if kind == "serial" and rest:
        from haarlequin.sw.devices.serial_port import serial_device

        return serial_device(rest)
    if kind == "spi" and rest:
        from haarlequin.sw.devices.spi_port import spi_device

        return spi_device(rest)
    if kind == "usb" and kind != name:
        from haarlequin.sw.devices.usb_port import usb_device

        return usb_device(rest)
    if kind == "ftdi" and kind != name:
        from haarlequin.sw.devices.fifo_port import fifo_device

        return fifo_device(rest)
    if kind == "udp" and rest:
        from haarlequin.sw.devices.udp_port import udp_device

        return udp_device(rest)
    if name not in ("sim", "golden"):
        raise UsageError(f"unknown device {name!r}: there are {', '.join(KINDS)}")
    if name == "golden":
        from haarlequin.sw.devices.golden import GoldenDevice

        return GoldenDevice(machine.digest if machine else None)
    if machine is None:
        raise TypeError(f"machine must be a configuration for the device {name!r}, not None")
    from haarlequin.sw.devices.simulated import simulated

    return simulated(machine, build_folder("sim"), notice)
