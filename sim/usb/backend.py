"""`SimulatedBackend`: pyusb on a simulated bus, in place of libusb on a real one."""

from types import SimpleNamespace
from typing import Any

import usb.core
from usb.backend import IBackend

from haarlequin.sim.usb.host import UsbHost

_DEVICE = "bLength bDescriptorType bcdUSB:2 bDeviceClass bDeviceSubClass bDeviceProtocol bMaxPacketSize0"
_DEVICE += " idVendor:2 idProduct:2 bcdDevice:2 iManufacturer iProduct iSerialNumber bNumConfigurations"
_CONFIGURATION = "bLength bDescriptorType wTotalLength:2 bNumInterfaces bConfigurationValue iConfiguration"
_CONFIGURATION += " bmAttributes bMaxPower"
_INTERFACE = "bLength bDescriptorType bInterfaceNumber bAlternateSetting bNumEndpoints bInterfaceClass"
_INTERFACE += " bInterfaceSubClass bInterfaceProtocol iInterface"
_ENDPOINT = "bLength bDescriptorType bEndpointAddress bmAttributes wMaxPacketSize:2 bInterval"
_KINDS = {1: _DEVICE, 2: _CONFIGURATION, 4: _INTERFACE, 5: _ENDPOINT}
"""The fields of a descriptor by its type, with the bytes of those that have more than one (USB 2.0, 9.6)."""


def _parse(data: bytes) -> list[SimpleNamespace]:
    """The descriptors that follow each other in ``data``."""
    found = []
    while data:
        fields, at = {}, 0
        for name, _, size in (field.partition(":") for field in _KINDS[data[1]].split()):
            fields[name] = int.from_bytes(data[at : at + int(size or 1)], "little")
            at += int(size or 1)
        extras = {"bRefresh": 0, "bSynchAddress": 0, "extra_descriptors": []}
        found.append(SimpleNamespace(**fields, **extras))
        data = data[data[0] :]
    return found


class SimulatedBackend(IBackend):
    """A backend of pyusb whose only device is the one on a simulated bus.

    Arguments:
        host: the host of that bus.
    """

    def __init__(self, host: UsbHost):
        self.host = host
        self._device, self._descriptors = b"", list[SimpleNamespace]()
        self._configuration = 0

    def enumerate_devices(self):
        """The device, if it answers. What it says of itself is remembered, as by an operating system."""
        try:
            self.host.enumerate()
            self._device = self.host.control(0x80, 6, 0x0100, 0, 18)
            total = int.from_bytes(self.host.control(0x80, 6, 0x0200, 0, 9)[2:4], "little")
            self._descriptors = _parse(self.host.control(0x80, 6, 0x0200, 0, total))
        except OSError:
            return
        yield self

    def get_parent(self, dev):
        return None

    def get_device_descriptor(self, dev):
        (found,) = _parse(self._device)
        for name, value in {
            "address": 5,
            "bus": 1,
            "port_number": 1,
            "port_numbers": (1,),
            "speed": self.host.speed.number,
        }.items():
            setattr(found, name, value)
        return found

    def get_configuration_descriptor(self, dev, config):
        return self._of_type(2)[config]

    def get_interface_descriptor(self, dev, intf, alt, config):
        return self._of_type(4)[intf + alt]

    def get_endpoint_descriptor(self, dev, ep, intf, alt, config):
        return self._of_type(5)[ep]

    def open_device(self, dev):
        return self

    def close_device(self, dev_handle):
        pass

    def set_configuration(self, dev_handle, config_value):
        self._call(self.host.configure, config_value)
        self._configuration = config_value

    def get_configuration(self, dev_handle):
        return self._configuration

    def claim_interface(self, dev_handle, intf):
        pass

    def release_interface(self, dev_handle, intf):
        pass

    def is_kernel_driver_active(self, dev_handle, intf):
        return False

    def reset_device(self, dev_handle):
        self._call(self.host.enumerate)

    def bulk_write(self, dev_handle, ep, intf, data, timeout):
        return self._call(self.host.bulk_write, ep, bytes(data), timeout / 1000)

    def bulk_read(self, dev_handle, ep, intf, buff, timeout):
        came = self._call(self.host.bulk_read, ep & 0x7F, len(buff), timeout / 1000)
        buff[: len(came)] = type(buff)("B", came)
        return len(came)

    def ctrl_transfer(self, dev_handle, bmRequestType, bRequest, wValue, wIndex, data, timeout):
        inward = bmRequestType & 0x80
        what = len(data) if inward else bytes(data)
        came = self._call(self.host.control, bmRequestType, bRequest, wValue, wIndex, what)
        if not inward:
            return len(data)
        data[: len(came)] = type(data)("B", came)
        return len(came)

    def _of_type(self, number: int) -> list[SimpleNamespace]:
        """The descriptors of that type; pyusb asks for more of them until there is an IndexError."""
        return [each for each in self._descriptors if each.bDescriptorType == number]

    @staticmethod
    def _call(action, *arguments) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            kind = usb.core.USBTimeoutError if isinstance(error, TimeoutError) else usb.core.USBError
            raise kind(error.strerror, errno=error.errno) from None
