"""The addresses by which a host finds a board on a network."""

import ipaddress
from dataclasses import dataclass

from haarlequin.models.common.errors import UsageError

PORT = 42_241
"""The UDP port, a5 01 in hexadecimal."""

DEFAULT = "192.168.2.50"
"""The IPv4 address of a board, if nothing else is said when its bitstream is made."""

_LOCAL = bytes((0x02, 0x00))
"""The beginning of a MAC address that is administered locally (IEEE 802, section 8.4)."""


@dataclass(frozen=True)
class Address:
    """A board's IPv4 address. Its MAC address is 02:00 and the four bytes of that, so that boards with
    different addresses have different ones.

    Raises `UsageError` where ``ip`` is no address that one computer can have.
    """

    ip: str = DEFAULT

    def __post_init__(self):
        try:
            found = ipaddress.IPv4Address(self.ip)
        except ValueError:
            raise UsageError(f"{self.ip!r} is not an IPv4 address such as {DEFAULT}") from None
        if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_reserved:
            raise UsageError(f"{self.ip} is no address for a board: take one such as {DEFAULT}")

    @property
    def ip_bytes(self) -> bytes:
        """The four bytes, in the order in which they travel."""
        return ipaddress.IPv4Address(self.ip).packed

    @property
    def mac_bytes(self) -> bytes:
        """The six bytes of the MAC address, in the order in which they travel."""
        return _LOCAL + self.ip_bytes

    @property
    def mac(self) -> str:
        """The MAC address as text."""
        return self.mac_bytes.hex(":")
