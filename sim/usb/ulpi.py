"""A USB host at the other end of a PHY with ULPI, and that PHY's pins."""

from amaranth.hdl import Cat, Const, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.sim.usb.bus import CHIRP_MODE, SE0, Bus, J, K
from haarlequin.sim.usb.line_code import POLYNOMIAL, RESIDUE
from haarlequin.sim.usb.packets import Pid
from haarlequin.sim.usb.transactor import LINE, Transactor

FUNCTION = 0x04
"""The register Function Control (ULPI 1.1, section 4.2.2). What is written to others does not matter here."""

DECISION = {True: 14, False: 22}
"""Cycles in which a device must begin to answer, by high speed (ULPI 1.1, section 3.8.2.6.2). At full speed
it should need 18; LUNA's device takes more, and hosts wait for 80."""
GAP = {True: 12, False: 15}
"""Cycles between two packets of the host, at high speed for 88 bits at least (USB 2.0, section 7.1.18.2)."""
BYTE = {True: 1, False: 40}
"""Cycles of a byte."""
END_CYCLES = 10
"""Cycles of the end of a packet at full speed."""


class UlpiPhy(wiring.Component):
    """The PHY, the bus and the port of a host on its other side, as the line of a `Transactor`.

    It takes writes to its registers and tells levels by RX CMDs. There are pauses at random before it takes a
    command, and where bits are stuffed in; then a packet for the device begins in one of the two ways that
    PHYs have: by ``dir`` and ``nxt`` at once, or by an RX CMD.

    Parameters
    ----------
    cycles : int
        Cycles of the bench for one of the PHY's clock, at least 2.

    Members
    -------
    tick : In(1)
        The pins change with the next edge of the bench's clock, which is not one at which the PHY's rises.
    line : In(LINE)
        The transactor's line.
    data_in, stp : In(8), In(1)
        The pins that the device drives.
    data_out, dir, nxt : Out(8), Out(1), Out(1)
        Those that the PHY drives; the data while ``dir`` is high.
    """

    tick: In(1)  # type: ignore[valid-type]  # Amaranth's ports are annotated by values
    line: In(LINE)  # type: ignore[valid-type]
    data_in: In(8)  # type: ignore[valid-type]
    stp: In(1)  # type: ignore[valid-type]
    data_out: Out(8)  # type: ignore[valid-type]
    dir: Out(1)  # type: ignore[valid-type]
    nxt: Out(1)  # type: ignore[valid-type]

    def __init__(self, cycles: int):
        self._cycles = cycles
        self._bus, self._dice = Bus(), Signal(16, init=1)
        self._sending, self._sent = Signal(), Signal()
        self._ready, self._strobe, self._ended = Signal(), Signal(), Signal()
        super().__init__()

    def elaborate(self, platform):
        m, clocked = Module(), Module()
        m.submodules.clocked = EnableInserter(self.tick)(clocked)
        line, tick, dice = self.line, self.tick, self._dice
        clocked.submodules.bus = bus = self._bus
        resetting, done = Signal(), tick & (self._sent | bus.over)
        with m.If(line.start):
            m.d.sync += self._sending.eq(1)
        with m.If(line.reset):
            m.d.sync += resetting.eq(1)
        with m.If(done):
            m.d.sync += [self._sending.eq(0), resetting.eq(0)]
        m.d.comb += [
            line.gap.eq(Mux(line.high, GAP[True], GAP[False]) * self._cycles),
            line.patience.eq(Mux(line.high, DECISION[True], DECISION[False]) * self._cycles),
            line.ready.eq(tick & self._ready),
            line.strobe.eq(tick & self._strobe),
            line.ended.eq(tick & self._ended),
            line.done.eq(done),
            line.high.eq(bus.high),
            bus.reset.eq(resetting),
            bus.answers.eq(line.chirps),
        ]
        clocked.d.sync += dice.eq(Cat(dice[1:], dice[0] ^ dice[2] ^ dice[3] ^ dice[5]))
        self._pins(clocked)
        return m

    def _pins(self, m: Module) -> None:
        line, dice, mode = self.line, self._dice, self._bus.mode
        address, value, first, crc, of_data = Signal(6), Signal(8), Signal(), Signal(16), Signal()
        wait, ending, told, knows = Signal(6), Signal(range(END_CYCLES + 1)), Signal(2), Signal()
        levels = Signal(2)
        m.d.comb += [
            levels.eq(Mux(ending != 0, SE0, self._bus.levels)),
            line.right.eq(of_data & (crc == RESIDUE)),
        ]
        m.d.sync += [ending.eq(ending - (ending != 0)), wait.eq(wait - (wait != 0)), self.nxt.eq(0)]
        byte_cycles = Mux(line.high, BYTE[True], BYTE[False])
        pause = Mux(line.high, dice[:5] == 0, wait != 0)

        def tell(what, active):
            """An RX CMD, with the next cycle: levels, 5 V, and the plug of a device (ULPI 1.1, table 7)."""
            m.d.sync += [
                self.data_out.eq(Cat(what, Const(0b11, 2), Const(active, 2), Const(0b01, 2))),
                told.eq(what),
                knows.eq(1),
            ]

        def take(byte):
            """Take a byte of the device with the next cycle."""
            after: Value = crc
            for bit in byte:
                after = (after >> 1) ^ Mux(after[0] ^ bit, POLYNOMIAL, 0)
            m.d.comb += self._strobe.eq(1)
            m.d.sync += [
                self.nxt.eq(1),
                line.came.eq(byte),
                crc.eq(Mux(first, 0xFFFF, after)),
                first.eq(0),
                wait.eq(byte_cycles - 1),
            ]
            with m.If(first):
                m.d.sync += of_data.eq((byte == Pid.DATA0.byte) | (byte == Pid.DATA1.byte))

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [wait.eq(dice[4:6]), first.eq(1)]
                with m.If(self._sending):
                    m.d.sync += [
                        self.dir.eq(1),
                        self.nxt.eq(dice[0]),
                        self.data_out.eq(dice),
                        wait.eq(dice[4:7]),
                    ]
                    m.next = "TURN"
                with m.Elif((~knows | (told != levels)) & (dice[1] | ~self.data_in[6:].any())):
                    m.d.sync += [self.dir.eq(1), self.data_out.eq(dice)]
                    m.next = "TELL"
                with m.Elif(self.data_in[6:] == 0b10):
                    m.next = "WRITE"
                with m.Elif(self.data_in[6:] == 0b01):
                    m.next = "SEND"
            with m.State("TELL"):
                tell(levels, 0)
                m.next = "TOLD"
            with m.State("TOLD"):
                m.d.sync += self.dir.eq(0)
                m.next = "TURNED"
            with m.State("TURNED"):  # the wires are nobody's
                m.next = "IDLE"

            with m.State("WRITE"), m.If(wait == 0):
                m.d.sync += [self.nxt.eq(1), address.eq(self.data_in)]
                m.next = "VALUE"
            with m.State("VALUE"), m.If(dice[0]):
                m.d.sync += [self.nxt.eq(1), value.eq(self.data_in)]
                m.next = "STOP"
            with m.State("STOP"):
                with m.If(self.stp & (address == FUNCTION)):
                    m.d.sync += mode.eq(value)
                m.next = "IDLE"

            with m.State("SEND"):
                m.d.comb += line.active.eq(mode != CHIRP_MODE)
                with m.If(wait == 0):
                    with m.If(mode == CHIRP_MODE):
                        m.d.sync += self.nxt.eq(1)
                        m.next = "CHIRP"
                    with m.Else():
                        take(Cat(self.data_in[:4], ~self.data_in[:4]))
                        m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += line.active.eq(1)
                with m.If(self.stp):
                    m.d.sync += ending.eq(Mux(line.high, 0, END_CYCLES))
                    m.next = "END"
                with m.Elif(~pause):
                    take(self.data_in)
            with m.State("END"):
                m.d.comb += [line.active.eq(1), self._ended.eq(ending == 0)]
                with m.If(ending == 0):
                    m.next = "IDLE"
            with m.State("CHIRP"):
                m.d.comb += self._bus.chirping.eq(1)
                m.d.sync += self.nxt.eq(~self.stp)
                with m.If(self.stp):
                    m.next = "IDLE"

            with m.State("TURN"):
                with m.If(self.nxt & dice[3]):  # dir and nxt said it already
                    m.d.sync += [self.nxt.eq(line.valid), self.data_out.eq(line.byte)]
                    m.d.comb += self._ready.eq(line.valid)
                    m.d.sync += wait.eq(byte_cycles - 1)
                    m.next = "RECEIVE"
                with m.Else():
                    tell(Mux(line.high, J, K), 0b01)
                    m.d.sync += wait.eq(dice[4:6] + 2)
                    m.next = "ACTIVE"
            with m.State("ACTIVE"), m.If(wait == 0):
                m.next = "RECEIVE"
            with m.State("RECEIVE"):
                with m.If(~pause & line.valid):
                    m.d.sync += [self.nxt.eq(1), self.data_out.eq(line.byte), wait.eq(byte_cycles - 1)]
                    m.d.comb += self._ready.eq(1)
                with m.Elif(~pause):
                    tell(Mux(line.high, levels, SE0), 0)
                    m.d.sync += ending.eq(Mux(line.high, 0, END_CYCLES))
                    m.next = "RECEIVED"
                with m.Else():
                    tell(Mux(line.high, J, K), 0b01)
            with m.State("RECEIVED"):
                m.d.sync += self.dir.eq(0)
                m.d.comb += self._sent.eq(1)
                m.next = "TURNED"


class UlpiPort(wiring.Component):
    """A `Transactor` with a `UlpiPhy`, whose parameter and pins it has."""

    tick: In(1)  # type: ignore[valid-type]
    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]
    data_in: In(8)  # type: ignore[valid-type]
    stp: In(1)  # type: ignore[valid-type]
    data_out: Out(8)  # type: ignore[valid-type]
    dir: Out(1)  # type: ignore[valid-type]
    nxt: Out(1)  # type: ignore[valid-type]

    def __init__(self, cycles: int):
        self._cycles = cycles
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.transactor = transactor = Transactor()
        m.submodules.phy = phy = UlpiPhy(self._cycles)
        wiring.connect(m, transactor.line, phy.line)
        wiring.connect(m, wiring.flipped(self.rx), transactor.rx)
        wiring.connect(m, transactor.tx, wiring.flipped(self.tx))
        m.d.comb += [phy.tick.eq(self.tick), phy.data_in.eq(self.data_in), phy.stp.eq(self.stp)]
        m.d.comb += [self.data_out.eq(phy.data_out), self.dir.eq(phy.dir), self.nxt.eq(phy.nxt)]
        return m
