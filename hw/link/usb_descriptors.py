"""The descriptors of a USB device, by which it says what it is. Some depend on the speed of its bus."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from luna.gateware.usb.request.standard import StandardRequestHandler
from usb_protocol.emitters import DeviceDescriptorCollection
from usb_protocol.emitters.descriptors.microsoft10 import MicrosoftOS10DescriptorCollection
from usb_protocol.emitters.descriptors.standard import (
    ConfigurationDescriptorEmitter,
    get_string_descriptor,
)
from usb_protocol.types.descriptors.microsoft10 import RegistryTypes
from usb_protocol.types.descriptors.standard import StandardDescriptorNumbers

from haarlequin.hw.link.usb_ids import (
    ENDPOINT,
    HIGH_SPEED_PACKET,
    MANUFACTURER,
    PACKET,
    PRODUCT,
    PRODUCT_ID,
    VENDOR_ID,
)

WINDOWS = 0xEE
"""The request by which Windows asks for its own descriptors; it finds this number in a string."""
_GUID = "{8d0b4d9e-5f0a-4f57-9a55-0f4c3b3e1d63}"
"""The interface that Windows registers the device under. It was drawn by chance, for this project."""

_NAKS = 1
"""The interval of a bulk endpoint at high speed: it may refuse a packet per microframe (section 9.6.6)."""

_CONFIGURATION, _OTHER_SPEED = StandardDescriptorNumbers.CONFIGURATION, StandardDescriptorNumbers.OTHER_SPEED
"""The kinds of descriptors that depend on the speed: of its own configuration, and of the other speed's."""
_QUALIFIER = bytes([10, StandardDescriptorNumbers.DEVICE_QUALIFIER, 0, 2, 0, 0, 0, 64, 1, 0])
"""The device at its other speed, where it is the same (section 9.6.2). usb_protocol's has a wrong length."""
_NONE = 0xFF
"""The index of a descriptor that there is not."""


def descriptors(serial: str, high_speed: bool = False) -> DeviceDescriptorCollection:
    """The descriptors of a device (USB 2.0, section 9.6).

    One that can do high speed has its configuration at high speed as number 0, at full speed as number 1,
    and both again, in the same order, as those of the other speed; `BySpeed` chooses between them.
    """
    found = DeviceDescriptorCollection()
    with found.DeviceDescriptor() as device:
        device.idVendor, device.idProduct = VENDOR_ID, PRODUCT_ID
        device.iManufacturer, device.iProduct, device.iSerialNumber = MANUFACTURER, PRODUCT, serial
        device.bNumConfigurations = 1
    full = _configuration(found, PACKET)
    if high_speed:
        high = _configuration(found, HIGH_SPEED_PACKET, bInterval=_NAKS)
        for index, (own, other) in enumerate(((high, full), (full, high))):
            found.add_descriptor(own, index)
            found.add_descriptor(other[:1] + bytes([_OTHER_SPEED]) + other[2:], index)
        found.add_descriptor(_QUALIFIER)
    else:
        found.add_descriptor(full)
    found.add_descriptor(get_string_descriptor(f"MSFT100{chr(WINDOWS)}"), index=0xEE)
    return found


def _configuration(found: DeviceDescriptorCollection, packet: int, **more: int) -> bytes:
    """The configuration with its interface and both endpoints, whose packets have so many bytes at most.

    ``more`` are other fields of the endpoints.
    """
    configuration = ConfigurationDescriptorEmitter(collection=found)
    with configuration.InterfaceDescriptor() as interface:
        interface.bInterfaceNumber = 0
        interface.bInterfaceClass = interface.bInterfaceSubclass = interface.bInterfaceProtocol = 0xFF
        for direction in (0x80, 0x00):  # to the host, and from it
            with interface.EndpointDescriptor() as endpoint:
                endpoint.bEndpointAddress = direction | ENDPOINT
                endpoint.bmAttributes = 0x02  # bulk
                endpoint.wMaxPacketSize = packet
                for name, value in more.items():
                    setattr(endpoint, name, value)
    return configuration.emit()


def windows() -> MicrosoftOS10DescriptorCollection:
    """Microsoft OS 1.0 descriptors, which make Windows take WinUSB as the driver."""
    found = MicrosoftOS10DescriptorCollection()
    with found.ExtendedCompatIDDescriptor() as compatible, compatible.Function() as function:
        function.bFirstInterfaceNumber = 0
        function.compatibleID = "WINUSB"
    with found.ExtendedPropertiesDescriptor() as properties, properties.Property() as guid:
        guid.dwPropertyDataType = RegistryTypes.REG_SZ
        guid.PropertyName, guid.PropertyData = "DeviceInterfaceGUID", _GUID
    return found


class StandardRequests(StandardRequestHandler):
    """LUNA's handler of standard requests, with the descriptors of the speed that the bus has.

    Arguments:
        collection: made by `descriptors` for high speed.
        full_speed: high while the bus has full speed.
    """

    def __init__(self, collection: DeviceDescriptorCollection, full_speed: Signal):
        super().__init__(collection)
        self._full_speed = full_speed

    def get_descriptor_handler_submodule(self):
        """LUNA asks for it when it elaborates the handler."""
        return BySpeed(super().get_descriptor_handler_submodule(), self._full_speed)


class BySpeed(Elaboratable):
    """A handler of GET_DESCRIPTOR, which asks another one for number 0 or 1 of what depends on the speed.

    Number 0 alone may be asked for.
    """

    def __init__(self, handler: Elaboratable, full_speed: Signal):
        self._handler, self._full_speed = handler, full_speed
        self.value = Signal(16)
        self.length, self.start, self.start_position = handler.length, handler.start, handler.start_position
        self.tx, self.stall = handler.tx, handler.stall

    def elaborate(self, platform):
        m = Module()
        m.submodules.handler = self._handler
        index, kind = self.value[:8], self.value[8:]
        depends = (kind == _CONFIGURATION) | (kind == _OTHER_SPEED)
        chosen = Mux(depends, Mux(index == 0, self._full_speed, _NONE), index)
        m.d.comb += self._handler.value.eq(Cat(chosen[:8], kind))
        return m
