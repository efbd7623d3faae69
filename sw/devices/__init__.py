"""What runs a compiled model: the RTL in simulation, the golden model, an accelerator on a serial port.

`open_device` makes one of them; all are `Device`s and give the same results.
"""

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder
from haarlequin.sw.devices.device import CompiledModel, Device, DeviceError, Notice, Result

__all__ = ["KINDS", "CompiledModel", "Device", "DeviceError", "Notice", "Result", "open_device"]

KINDS = {
    "sim": "the RTL in Verilator, in this process; built once",
    "golden": "the integer model; its cycles are predicted",
    "serial:PORT[@BAUD]": "an accelerator on a serial port, serial:/dev/ttyUSB0@3000000 for example",
}


def open_device(name: str, machine: AcceleratorConfig | None, notice: Notice = print) -> Device:
    """The device of that name; the caller closes it.

    Arguments:
        name: one of `KINDS`.
        machine: what to simulate; None for a serial port, which has what it has: `Device.digest` says what.
        notice: told what takes long.

    Raises:
        UsageError: there is no such device, or the machine lacks what it needs.
        DeviceError: it does not answer.
    """
    kind, _, rest = name.partition(":")
    if name == "golden":
        from haarlequin.sw.devices.golden import GoldenDevice

        return GoldenDevice(machine.digest)
    if name == "sim":
        from haarlequin.sw.devices.simulated import simulated

        return simulated(machine, build_folder("sim"), notice)
    if kind == "serial" and rest:
        from haarlequin.sw.devices.serial_port import serial_device

        return serial_device(rest)
    raise UsageError(f"unknown device {name!r}: there are {', '.join(KINDS)}")
