"""RGMII: a byte in each cycle over four wires, of which both edges of the clock count."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ETHERNET_HZ = 125_000_000
"""The clock of a gigabit."""

TX_DELAY = 2e-9
"""Seconds by which the clock to the PHY is later than the data, so that its edges are in their middle."""

GMII = wiring.Signature({"data": Out(8), "valid": Out(1), "error": Out(1)})
"""A byte in each cycle in which ``valid`` is high; ``error``: it is damaged. Seen from the sender."""

TWO_EDGES = wiring.Signature({"data": Out(8), "control": Out(2)})
"""The levels of the wires at the two edges of a cycle: the lower bits are those at the rising one."""


class Rgmii(wiring.Component):
    """The two edges of RGMII's wires as bytes of GMII, and back (HP, RGMII 1.3, section 3.0).

    The lower half of a byte travels at the rising edge, the upper one at the falling one. The control wire
    says ``valid`` at the rising edge, and ``valid`` xor ``error`` at the falling one. While nothing is valid,
    a PHY says how fast its line is in the data, which is not looked at: it has to be a gigabit.

    Members
    -------
    wires_in : In(TWO_EDGES)
        The wires from the PHY.
    wires_out : Out(TWO_EDGES)
        The wires to it, a cycle after ``to_send``.
    received : Out(GMII)
        The bytes from the PHY, a cycle after ``wires_in``.
    to_send : In(GMII)
        The bytes to it.

    All of it is in the domain ``sync``, whose clock is that of the line.
    """

    wires_in: In(TWO_EDGES)
    wires_out: Out(TWO_EDGES)
    received: Out(GMII)
    to_send: In(GMII)

    def elaborate(self, platform):
        m = Module()
        came, leaves = self.wires_in, self.to_send
        m.d.sync += [
            self.received.data.eq(came.data),
            self.received.valid.eq(came.control[0]),
            self.received.error.eq(came.control[0] ^ came.control[1]),
            self.wires_out.data.eq(leaves.data),
            self.wires_out.control.eq(Cat(leaves.valid, leaves.valid ^ leaves.error)),
        ]
        return m
