"""The frames of the host protocol in hardware: their headers as they travel, and their CRC.

`hw/link/protocol.py` has their layout in bytes, docs/protocol.md the protocol.
"""

from amaranth.lib import data
from amaranth.lib.crc import catalog
from amaranth.utils import ceil_log2

from haarlequin.hw.link.protocol import ADDRESS_BITS, LENGTH_BITS, PAYLOAD

CRC = catalog.CRC16_IBM_3740(8)
"""The CRC of `hw.link.protocol.crc`, for one byte per cycle."""

HEADER = data.StructLayout(
    {"type": 8, "sequence": 8, "detail": 8, "address": ADDRESS_BITS, "length": LENGTH_BITS}
)
"""A header as it travels, after the sync byte."""

ANSWER = data.StructLayout({"type": 8, "sequence": 8, "detail": 8, "length": LENGTH_BITS})
"""The header of an answer. Its address is left out here, and is sent as 0."""

PAYLOAD_BIT = ceil_log2(PAYLOAD)
"""The bit of a frame's type that says that it has a payload."""
