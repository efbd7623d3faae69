"""The start from a flash: tables go from a SPI flash into the accelerator, before the host is connected.

A boot image consists of the `identity_crc` of the accelerator (4 bytes, lowest first), the length of the
rest (3 bytes, lowest first), and the same frames that a host would send: a LOAD for every piece of the
tables, numbered from 0 on modulo 256, and a SEAL with the next number. Anything may lie after it.
`sw/boot_image.py` makes the boot image that this block reads.
"""

import zlib
from dataclasses import replace

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import CRC_BYTES, HEADER_BYTES, FrameType

FASTEST = 33_000_000
"""The clock in Hz at which every SPI flash can do a `READ`."""
WAKE_MICROSECONDS = 30
"""The longest time that a flash takes to wake up."""
RELEASE, READ = 0xAB, 0x03
ADDRESS_BITS = 24
FRAME_BYTES = HEADER_BYTES + CRC_BYTES
TYPE_AT, SEQUENCE_AT = 1, 2


IDENTITY_CRC_BYTES = 4
LENGTH_BYTES = 3


def identity_crc(identity: Identity) -> int:
    """A CRC-32 that tells accelerators apart by configuration and memories, whatever their clock."""
    return zlib.crc32(replace(identity, clock_hz=1).encode())


class FlashBoot(wiring.Component):
    """Sends the boot image of a flash to the link after a reset, and then connects the host to the link.

    It lies between the UART and the accelerator. If the flash has no image for this accelerator, which the
    `identity_crc` tells (an erased flash has none), then the block sends nothing, has not failed, and
    connects the host at once: two times `WAKE_MICROSECONDS` and 72 bits of the flash after the reset.

    The block counts the answers of the link, which must be ACKs with the numbers 0, 1, … up to the SEAL's.
    After any other answer (an ERROR, or an answer after a frame that the link has missed) it sends nothing
    more, so that incomplete tables are never sealed. The host then has to load the tables.

    The link gets one byte in ``byte_cycles`` cycles or more, and its timeout must be longer than that. It
    never waits for this block, because its answers are always taken. It must answer LOAD and SEAL within
    `ANSWER_CYCLES` cycles; `Link` needs 20. Both must be reset together, so that neither of them remains
    within a frame from before the reset.

    Parameters
    ----------
    identity : Identity
        The identity of the accelerator, with its clock.
    address : int
        The byte of the flash at which the boot image begins. Raises `ValueError` if it has more than 24 bits.
    divider : int, optional
        The clock of the flash is the ``sync`` clock / (2 · ``divider``). By default it is as fast as
        `FASTEST` allows. Raises `ValueError` if it is faster than that.

    Members
    -------
    host_rx, host_tx : In, Out(stream.Signature(8))
        Bytes from the host, and bytes to it.
    link_rx, link_tx : Out, In(stream.Signature(8))
        Bytes to the link, and bytes from it.
    cs, clk, copi : Out(1)
        Chip select, clock and data to the flash, in SPI mode 0 and active high.
    cipo : In(1)
        Data from the flash, active high. It is sampled when ``clk`` falls, so that it has a whole period to
        arrive, less one ``sync`` cycle for each register on its way.
    busy : Out(1)
        The link is connected to the flash. Bytes from the host are not taken, and the host gets no answers.
        On a line without flow control its bytes are lost. That costs only time: the host sends again what
        has not been answered, and the link gives up the rest of a frame after its timeout.
    failed : Out(1)
        There was an image, but the link did not acknowledge every frame of it. After that it is high until
        the next reset.
    """

    ANSWER_CYCLES = 48
    """The most cycles from the last byte of a frame to the last byte of its answer. The number of the SEAL is
    checked three bytes after the last LOAD, which is after 51 cycles or more."""

    host_rx: In(stream.Signature(8))
    host_tx: Out(stream.Signature(8))
    link_rx: Out(stream.Signature(8))
    link_tx: In(stream.Signature(8))
    cs: Out(1)
    clk: Out(1)
    copi: Out(1)
    cipo: In(1)
    busy: Out(1)
    failed: Out(1)

    def __init__(self, identity: Identity, address: int, divider: int | None = None):
        hertz = identity.clock_hz
        slowest = -(-hertz // (2 * FASTEST))
        if not (type(address) is int and 0 <= address < 1 << ADDRESS_BITS):
            raise ValueError(f"FlashBoot address must have {ADDRESS_BITS} bits, not be {address!r}")
        if divider is None:
            divider = slowest
        if not (type(divider) is int and divider >= slowest):
            raise ValueError(f"FlashBoot divider must be at least {slowest} at {hertz} Hz, not {divider!r}")
        self.address, self.divider, self.identity_crc = address, divider, identity_crc(identity)
        self.byte_cycles = 16 * divider + 1
        self.wake_cycles = -(-hertz * WAKE_MICROSECONDS // 10**6)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        shift, bits, phase = Signal(8 * IDENTITY_CRC_BYTES), Signal(range(33)), Signal(range(self.divider))
        rest, awake = Signal(range(max(self.wake_cycles, self.ANSWER_CYCLES))), Signal()
        left, expected = Signal(8 * LENGTH_BYTES), Signal(8)
        answered, confirmed = self._watch(m, expected), Signal()

        m.d.comb += [self.copi.eq(shift[-1]), self.busy.eq(1)]
        with m.If(bits != 0):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == self.divider - 1):
                m.d.sync += [phase.eq(0), self.clk.eq(~self.clk)]
                with m.If(self.clk):
                    m.d.sync += [shift.eq(Cat(self.cipo, shift)), bits.eq(bits - 1)]

        with m.FSM():
            with m.State("REST"):
                m.d.sync += rest.eq(rest + 1)
                with m.If(rest == self.wake_cycles - 1):
                    wake = Const(RELEASE << len(shift) - 8, len(shift))
                    read = Const(READ << ADDRESS_BITS | self.address, len(shift))
                    m.d.sync += [rest.eq(0), self.cs.eq(1), shift.eq(Mux(awake, read, wake))]
                    m.d.sync += bits.eq(Mux(awake, len(read), 8))
                    m.next = "COMMAND"
            with m.State("COMMAND"), m.If(bits == 0):
                m.d.sync += awake.eq(1)
                with m.If(awake):
                    m.d.sync += bits.eq(8 * IDENTITY_CRC_BYTES)
                    m.next = "IDENTITY_CRC"
                with m.Else():
                    m.d.sync += self.cs.eq(0)
                    m.next = "REST"
            with m.State("IDENTITY_CRC"), m.If(bits == 0):
                with m.If(_first(shift, IDENTITY_CRC_BYTES) == self.identity_crc):
                    m.d.sync += bits.eq(8 * LENGTH_BYTES)
                    m.next = "LENGTH"
                with m.Else():
                    m.d.sync += self.cs.eq(0)
                    m.next = "HOST"
            with m.State("LENGTH"), m.If(bits == 0):
                m.d.sync += [left.eq(_first(shift, LENGTH_BYTES)), bits.eq(8)]
                m.next = "BYTE"
                with m.If(_first(shift, LENGTH_BYTES) == 0):
                    m.d.sync += [bits.eq(0), self.cs.eq(0)]
                    m.next = "END"
            with m.State("BYTE"):
                byte = shift[:8]
                m.d.comb += [self.link_rx.valid.eq(bits == 0), self.link_rx.payload.eq(byte)]
                no_seal = (left == FRAME_BYTES - TYPE_AT) & (byte != FrameType.SEAL)
                too_few = (left == FRAME_BYTES - SEQUENCE_AT) & (byte != expected)
                with m.If(self.link_rx.valid & self.link_rx.ready):
                    m.d.sync += [left.eq(left - 1), bits.eq(8)]
                    with m.If(no_seal | too_few):
                        m.d.sync += self.failed.eq(1)
                    with m.If(no_seal | too_few | self.failed | (left == 1)):
                        m.d.sync += [bits.eq(0), self.cs.eq(0)]
                        m.next = "END"
            with m.State("END"):
                m.d.sync += rest.eq(rest + 1)
                with m.If(answered):
                    m.d.sync += confirmed.eq(1)
                with m.If(rest == self.ANSWER_CYCLES - 1):
                    with m.If(~confirmed):
                        m.d.sync += self.failed.eq(1)
                    m.next = "HOST"
            with m.State("HOST"):
                m.d.comb += [
                    self.busy.eq(0),
                    self.link_rx.valid.eq(self.host_rx.valid),
                    self.link_rx.payload.eq(self.host_rx.payload),
                    self.host_rx.ready.eq(self.link_rx.ready),
                    self.host_tx.valid.eq(self.link_tx.valid),
                    self.host_tx.payload.eq(self.link_tx.payload),
                ]
        m.d.comb += self.link_tx.ready.eq(self.busy | self.host_tx.ready)
        return m

    def _watch(self, m: Module, expected: Signal) -> Signal:
        """Count the answers in ``expected``. Any answer but the next ACK is a failure. High when one ends."""
        place, answered, byte = Signal(range(FRAME_BYTES)), Signal(), self.link_tx.payload
        no_ack = (place == TYPE_AT) & (byte != FrameType.ACK)
        skipped = (place == SEQUENCE_AT) & (byte != expected)
        with m.If(self.busy & self.link_tx.valid):
            m.d.sync += place.eq(place + 1)
            with m.If(no_ack | skipped):
                m.d.sync += self.failed.eq(1)
            with m.If(place == FRAME_BYTES - 1):
                m.d.comb += answered.eq(1)
                m.d.sync += [place.eq(0), expected.eq(expected + 1)]
        return answered


def _first(shift: Signal, count: int) -> Value:
    """The last ``count`` bytes that were shifted in, with the first of them in the lowest bits."""
    return Cat(shift[8 * i : 8 * i + 8] for i in reversed(range(count)))
