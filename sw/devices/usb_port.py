"""An accelerator that is a USB device itself: ULX3S by its second plug, OrangeCrab, ECPIX-5."""

import errno
import re
from typing import Any

from haarlequin.hw.link.usb_ids import ENDPOINT, HIGH_SPEED_PACKET, PRODUCT_ID, VENDOR_ID
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.port_errors import why

MOST = 32 * HIGH_SPEED_PACKET
"""Bytes of a transfer at most; a whole number of packets at either speed, so that none is cut off."""

LATENCY = 0.05
"""Seconds within which an answer begins: what else is on the bus has its turns before."""

STUCK_SECONDS = 10.0
"""Seconds after which a transfer of `MOST` bytes that are not taken has failed."""

_NAME = re.compile(r"(?:([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})(?::|$))?([^:]*)")


class UsbLine(Line):
    """The bulk endpoints of a `hw.link.usb.UsbDevice` or a `hw.link.ulpi.UlpiDevice`.

    Packets have checksums and are sent again by the bus, so that bytes are lost only where the device is. A
    write that ends with a full packet needs no empty one after it, since the device knows no transfers. A
    read ends with a packet that is not full, or with its time.

    Arguments:
        name: the name that messages give it.
        device: a `usb.core.Device` of pyusb, whose configuration is chosen here.
        latency: as in `Line`.

    Raises `DeviceError` where the device cannot be used.
    """

    exact, flow_control = False, True
    silence_hint = "; is its bitstream one of this version, and is its clock running?"

    def __init__(self, name: str, device: Any, latency: float):
        import usb.util

        self.name, self.latency, self._device = name, latency, device
        self._dispose = usb.util.dispose_resources
        self._claim = usb.util.claim_interface
        try:
            device.set_configuration()
            self._claim(device, 0)
        except OSError as error:
            self.close()
            raise DeviceError(f"{name}: {_reason(error)}") from None

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator; it has taken them when this returns."""
        try:
            while data:
                sent = self._device.write(ENDPOINT, data[:MOST], round(1000 * STUCK_SECONDS))
                data = data[sent:]
        except OSError as error:
            raise Unplugged(f"{self.name}: {why(error)}; was the board unplugged?") from None

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        try:
            return bytes(self._device.read(0x80 | ENDPOINT, MOST, max(1, round(1000 * seconds))))
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                return b""
            raise Unplugged(f"{self.name}: {why(error)}; was the board unplugged?") from None

    def close(self) -> None:
        """Give the device back."""
        self._dispose(self._device)


def usb_device(where: str) -> LinkDevice:
    """Open the accelerator ``[VID:PID:][SERIAL]``; the first one found, where nothing is said.

    Raises `UsageError` for another form, or where pyusb is missing, and `DeviceError` where there is no such
    device, or it does not answer.
    """
    form = _NAME.fullmatch(where)
    if not form:
        raise UsageError(f"usb:{where} is not usb:[VID:PID:][SERIAL], with two numbers of hexadecimal digits")
    vendor, product, serial = form.groups()
    numbers = int(vendor or f"{VENDOR_ID:x}", 16), int(product or f"{PRODUCT_ID:x}", 16)
    return LinkDevice(lambda: _line(where, numbers, serial))


def _line(where: str, numbers: tuple[int, int], serial: str) -> UsbLine:
    """Open the line; raises as `usb_device`."""
    there = found(*numbers)
    chosen = [device for device in there if not serial or serial_number(device) == serial]
    if not chosen:
        others = ", ".join(filter(None, map(serial_number, there)))
        what = f"there are those with the serial numbers {others}" if others else "none is plugged in"
        raise DeviceError(
            f"usb:{where}: no such accelerator; {what}; docs/boards.md has the plugs and rights"
        )
    return UsbLine(f"usb:{serial_number(chosen[0])}", chosen[0], LATENCY)


def found(vendor: int = VENDOR_ID, product: int = PRODUCT_ID) -> list[Any]:
    """The devices with these numbers that are plugged in, as pyusb's `usb.core.Device`.

    Raises `UsageError` where pyusb or its libusb is missing.
    """
    try:
        import usb.core

        return list(usb.core.find(find_all=True, idVendor=vendor, idProduct=product, backend=_libusb()))
    except ImportError as error:
        raise UsageError(f"usb: needs pyusb ({error}): pip install pyusb libusb-package") from None
    except usb.core.NoBackendError:
        raise UsageError("usb: needs libusb: pip install libusb-package") from None


def _libusb() -> Any:
    """The libusb that PyPI has, or None for the operating system's."""
    try:
        import libusb_package
    except ImportError:
        return None
    return libusb_package.get_libusb1_backend()


def serial_number(device: Any) -> str:
    """A device's serial number; empty where it cannot be read."""
    try:
        return device.serial_number or ""
    except (OSError, ValueError):  # no right to ask for it, or it has none
        return ""


def _reason(error: OSError) -> str:
    """Why a device cannot be used, and what to do about it."""
    if error.errno == errno.EACCES:
        return f"{why(error)}; docs/boards.md has the udev rule that gives you the right"
    if error.errno == errno.EBUSY:
        return f"{why(error)}; another program has it open"
    return f"{why(error)}; was the board unplugged?"
