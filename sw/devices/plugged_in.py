"""The devices of this computer, and who holds them: `infer --device list`."""

from contextlib import suppress
from pathlib import Path

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from haarlequin.hw.link.usb_ids import PRODUCT
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices import usb_port
from haarlequin.sw.devices.port_errors import holders

_FTDI = 0x0403
_MASTERS = {0x6014: "232h", 0x6010: "2232h", 0x6011: "4232h"}
"""The product numbers of FTDI's bridges that can be the master of an SPI bus, and pyftdi's names of them."""

_WITH_FIFO = 0x6014
"""The product number of the bridge whose FIFO can be a line, the FT232H."""


def listing() -> str:
    """A line for each device: its name, what is there, and the programs that have it open."""
    rows = [("sim", "simulated here", ""), ("golden", "the integer model", "")]
    for port in sorted(list_ports.comports()):
        holder = _holder(Path(port.device))
        what = " ".join(text for text in (port.manufacturer, port.product) if text)
        rows.append((f"serial:{port.device}", what or port.description, holder))
        if bus := _master(port):
            rows.append((bus, "its SPI bus, if the FPGA is on that one", holder))
            if port.pid == _WITH_FIFO:
                rows.append((bus.replace("spi:", "ftdi:"), "its FIFO, if its EEPROM is set to that", holder))
    rows += [(f"spi:{bus}", "an SPI bus", _holder(bus)) for bus in sorted(Path("/dev").glob("spidev*"))]
    with suppress(UsageError):  # pyusb is missing
        for device in usb_port.found():
            node = Path(f"/dev/bus/usb/{device.bus:03}/{device.address:03}")
            rows.append((f"usb:{usb_port.serial_number(device)}", PRODUCT, _holder(node)))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = (
        f"{name:<{first}}  {what:<{second}}  {f'in use by {holder}' if holder else ''}"
        for name, what, holder in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _master(port: ListPortInfo) -> str | None:
    """The name of the SPI bus of an FTDI bridge whose first port this is, or None."""
    bridge = _MASTERS.get(port.pid) if port.vid == _FTDI else None
    if bridge is None or (port.location or "").partition(":")[2] not in ("", "1.0"):
        return None
    serial = f":{port.serial_number}" if port.serial_number else ""
    return f"spi:ftdi://ftdi:{bridge}{serial}/1"


def _holder(path: Path) -> str:
    try:
        return holders(path.stat())
    except OSError:  # it was unplugged just now, or is no file, as on Windows
        return ""
