"""Devices on USB that cannot be opened or fail; tests/sw/devices/test_devices.py has one that works."""

import errno
import sys
from types import SimpleNamespace

import pytest
import usb.core
import usb.util

from haarlequin.hw.link.usb_ids import ENDPOINT, PACKET, PRODUCT_ID, VENDOR_ID
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import ROOT
from haarlequin.sw.devices import DeviceError, open_device, usb_port
from haarlequin.sw.devices.usb_port import MOST, UsbLine


class Stand:
    """In place of pyusb's device; what is in ``fails`` by the name of a method is raised there."""

    def __init__(self, serial="one", takes=10**9, **fails):
        self.serial_number, self._takes, self._fails = serial, takes, fails
        self.bus, self.address, self.written, self.answers, self.waited = 1, 2, [], [], []

    def _fail(self, name):
        if name in self._fails:
            raise self._fails[name]

    def set_configuration(self):
        self._fail("set_configuration")

    def write(self, endpoint, data, timeout):
        self._fail("write")
        assert endpoint == ENDPOINT
        taken = data[: self._takes]
        self.written.append(taken)
        return len(taken)

    def read(self, endpoint, size, timeout):
        self._fail("read")
        assert endpoint == 0x80 | ENDPOINT
        assert size % PACKET == 0
        self.waited.append(timeout)
        if not self.answers:
            raise usb.core.USBTimeoutError("timed out", errno=errno.ETIMEDOUT)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def claims(monkeypatch):
    """What pyusb's helpers are told of a device; they ask a backend otherwise."""
    told = []
    monkeypatch.setattr(usb.util, "claim_interface", lambda device, number: told.append(("claimed", number)))
    monkeypatch.setattr(usb.util, "dispose_resources", lambda device: told.append("closed"))
    return told


@pytest.fixture
def plugged(monkeypatch):
    """The devices of the computer, by pyusb."""
    there, asked = [], []

    def find(**arguments):
        asked.append((arguments["idVendor"], arguments["idProduct"]))
        return iter(there)

    monkeypatch.setattr(usb.core, "find", find)
    return SimpleNamespace(devices=there, asked=asked)


def test_long_frames_go_in_several_transfers(claims):
    device = Stand(takes=5000)
    line = UsbLine("usb:one", device, 0.05)
    frame = bytes(range(256)) * 100
    line.send(frame)
    assert b"".join(device.written) == frame
    assert max(map(len, device.written)) == 5000 < MOST
    line.close()
    assert claims == [("claimed", 0), "closed"]


def test_bytes_come_and_silence_is_as_long_as_was_said():
    device = Stand()
    line = UsbLine("usb:one", device, 0.05)
    device.answers = [b"yes"]
    assert line.receive(0.25) == b"yes"
    assert line.receive(0.25) == b""
    assert line.receive(0.0) == b""
    assert device.waited == [250, 250, 1]  # 0 would be for ever


@pytest.mark.parametrize("method", ["write", "read"])
def test_a_device_that_goes_away(method):
    line = UsbLine("usb:one", Stand(**{method: usb.core.USBError("gone", errno=errno.ENODEV)}), 0.05)
    with pytest.raises(DeviceError, match=r"^usb:one: .*; was the board unplugged[?]$"):
        line.send(b"x") if method == "write" else line.receive(1.0)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "docs/boards.md has the udev rule that gives you the right"),
        (errno.EBUSY, "another program has it open"),
        (errno.EIO, "was the board unplugged?"),
    ],
)
def test_a_device_that_cannot_be_used(plugged, claims, number, hint):
    """It is given back, since it is tried again and again after it was unplugged."""
    plugged.devices.append(Stand(set_configuration=usb.core.USBError("no", errno=number)))
    with pytest.raises(DeviceError) as error:
        open_device("usb:", None)
    assert claims == ["closed"]
    assert str(error.value).startswith("usb:one: ")
    assert str(error.value).endswith(hint)


@pytest.mark.parametrize(
    ("name", "numbers", "there", "message"),
    [
        ("usb:", (VENDOR_ID, PRODUCT_ID), [], "none is plugged in"),
        ("usb:two", (VENDOR_ID, PRODUCT_ID), ["one", "three"], "the serial numbers one, three"),
        ("usb:1d50:615c", (0x1D50, 0x615C), [], "none is plugged in"),
        ("usb:1D50:615c:two", (0x1D50, 0x615C), ["one"], "the serial numbers one"),
    ],
)
def test_a_device_that_is_not_there(plugged, name, numbers, there, message):
    plugged.devices += map(Stand, there)
    with pytest.raises(DeviceError) as error:
        open_device(name, None)
    assert plugged.asked == [numbers]
    assert str(error.value).startswith(f"{name}: no such accelerator; ")
    assert message in str(error.value)


def test_the_one_that_is_meant_is_opened(plugged):
    plugged.devices += [Stand("one", write=AssertionError), Stand("two", write=OSError(errno.ENODEV, "gone"))]
    with pytest.raises(DeviceError, match=r"^usb:two: "):
        open_device("usb:two", None)


@pytest.mark.parametrize("name", ["usb:1209:", "usb:12345:1", "usb:a:b:c:d", "usb:xyz:1"])
def test_names_of_another_form(name):
    with pytest.raises(UsageError, match="is not usb:"):
        open_device(name, None)


def test_the_numbers_are_those_of_the_udev_rule():
    page = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    assert f'ATTRS{{idVendor}}=="{VENDOR_ID:04x}", ATTRS{{idProduct}}=="{PRODUCT_ID:04x}"' in page


def test_a_serial_number_that_cannot_be_read():
    class Closed:
        @property
        def serial_number(self):
            raise ValueError("The device has no langid")

    assert usb_port.serial_number(Closed()) == ""
    assert usb_port.serial_number(SimpleNamespace(serial_number=None)) == ""


def test_a_computer_without_pyusb(monkeypatch):
    monkeypatch.setitem(sys.modules, "usb.core", None)
    with pytest.raises(UsageError, match="pip install pyusb libusb-package"):
        open_device("usb:", None)


def test_a_computer_without_libusb(monkeypatch):
    monkeypatch.setitem(sys.modules, "libusb_package", None)
    monkeypatch.setattr(usb.core, "find", lambda **_: (_ for _ in ()).throw(usb.core.NoBackendError("none")))
    with pytest.raises(UsageError, match="pip install libusb-package"):
        open_device("usb:", None)
