"""The Internet checksum: sixteen bits, summed in ones' complement (RFC 1071)."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


def checksum(data: bytes) -> int:
    """The checksum of ``data``, by RFC 1071: of whole words, with a zero after a byte that is left over."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class InternetSum(wiring.Component):
    """A sum in ones' complement of words of sixteen bits. Its complement is the checksum.

    Members
    -------
    begin : In(1)
        The sum becomes 0.
    word : In(16)
        A word.
    add : In(1)
        It is added.
    total : Out(16)
        The sum, two cycles after the last ``add``.
    """

    begin: In(1)
    word: In(16)
    add: In(1)
    total: Out(16)

    def elaborate(self, platform):
        m = Module()
        low, carry = Signal(16), Signal()
        # The carry is added one cycle later, with the next word or with none.
        following = Signal(17)
        m.d.comb += following.eq(low + (self.word & self.add.replicate(16)) + carry)
        m.d.sync += Cat(low, carry).eq(following)
        with m.If(self.begin):
            m.d.sync += Cat(low, carry).eq(0)
        m.d.comb += self.total.eq(low)
        return m
