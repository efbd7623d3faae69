"""A simulated accelerator with a FIFO, and the FT232H at its pins, as pyftdi sees it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.fifo import FIFO_HZ, FifoMaster
from haarlequin.sim.line_simulator import line_simulator
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.devices.fifo_port import FIFO_TYPE, FIRST, FT232H, READ, STATUS, Fifo, FifoLine, FtdiFifo
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT, say
from haarlequin.sw.verilated.simulation import CHUNK, Simulation

CYCLES, FIFO_CYCLES = 6, 5
"""Cycles of the bench for one of the accelerator, and for one of the chip's 60 MHz."""

HERTZ = CYCLES * CLOCK_HZ
"""The bench's clock."""

assert HERTZ == FIFO_CYCLES * FIFO_HZ

BUFFER = 1024
"""Bytes that the chip holds in each direction (DS_FT232H, section 1)."""

PACKET = 512
"""Bytes of a packet of USB, with the two of status."""

LATENCY_CYCLES = FIFO_HZ // 1000
"""Cycles of the chip, of a millisecond, after which it sends what it has."""

RESET_CYCLES = 4 * CYCLES
"""Cycles of the bench for which a restart resets the accelerator: all edges of its clock that it needs."""


class FifoChip(wiring.Component):
    """An FT232H in its synchronous FIFO mode, without its USB: what comes is what a host sends.

    Both flags go away at random, RXF# and TXE# each for a third of the time, in bursts and in pauses of a few
    cycles. So on average the chip carries two bytes in three cycles of its clock, the 40 MB/s that it can do
    (DS_FT232H, section 1). What it is given waits until there is a packet of it, SIWU# is low, or a
    millisecond has passed.

    Parameters
    ----------
    cycles : int
        Cycles of the bench for one of CLKOUT, at least 4.

    Members
    -------
    rx : In(stream.Signature(8))
        Bytes from the host.
    tx : Out(stream.Signature(8))
        Bytes to it.
    clkout, rxf_n, txe_n : Out(1)
        The pins of the chip. Flags change two cycles of the bench after CLKOUT.
    oe_n, rd_n, wr_n, siwu_n : In(1)
        Its pins, of which it takes what they were when CLKOUT rose.
    wires_in : In(8)
        What the other end drives onto the wires of the data.
    wires_out : Out(8)
        What the chip drives onto them while ``oe_n`` is low.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]
    clkout: Out(1)  # type: ignore[valid-type]
    rxf_n: Out(1, init=1)  # type: ignore[valid-type]
    txe_n: Out(1, init=1)  # type: ignore[valid-type]
    oe_n: In(1)  # type: ignore[valid-type]
    rd_n: In(1)  # type: ignore[valid-type]
    wr_n: In(1)  # type: ignore[valid-type]
    siwu_n: In(1)  # type: ignore[valid-type]
    wires_in: In(8)  # type: ignore[valid-type]
    wires_out: Out(8)  # type: ignore[valid-type]

    def __init__(self, cycles: int):
        self._cycles = cycles
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        count, clock = Signal(range(self._cycles), reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            count.eq(Mux(count == self._cycles - 1, 0, count + 1)),
            clock.eq(count < self._cycles // 2),
        ]
        m.d.comb += self.clkout.eq(clock)
        oe_n, rd_n, wr_n, siwu_n, byte = Signal(), Signal(), Signal(), Signal(), Signal(8)
        pins = Cat(self.oe_n, self.rd_n, self.wr_n, self.siwu_n, self.wires_in)
        with m.If(count == 0):  # CLKOUT rises with this
            m.d.sync += Cat(oe_n, rd_n, wr_n, siwu_n, byte).eq(pins)
        now, after = count == 1, count == 2

        m.submodules.forth = forth = SyncFIFOBuffered(width=8, depth=BUFFER)
        m.submodules.back = back = SyncFIFOBuffered(width=8, depth=BUFFER)
        wiring.connect(m, wiring.flipped(self.rx), forth.w_stream)
        m.d.comb += [
            forth.r_en.eq(now & ~oe_n & ~rd_n & ~self.rxf_n),
            back.w_en.eq(now & ~wr_n & ~self.txe_n),
            back.w_data.eq(byte),
        ]

        dice = Signal(16, init=1)
        gives, takes = Signal(init=1), Signal(init=1)
        with m.If(now):
            m.d.sync += [
                dice.eq(Cat(dice[1:], dice[0] ^ dice[2] ^ dice[3] ^ dice[5])),
                gives.eq(Mux(gives, dice[0:3] != 0, dice[0:2] == 0)),
                takes.eq(Mux(takes, dice[6:9] != 0, dice[6:8] == 0)),
            ]
        with m.If(after):
            m.d.sync += [
                self.rxf_n.eq(~(gives & forth.r_rdy)),
                self.wires_out.eq(forth.r_data),
                self.txe_n.eq(~(takes & back.w_rdy)),
            ]

        waited, released = Signal(range(LATENCY_CYCLES + 1)), Signal(range(BUFFER + 2))
        taken = self.tx.valid & self.tx.ready
        m.d.comb += [
            self.tx.payload.eq(back.r_data),
            self.tx.valid.eq(back.r_rdy & (released != 0)),
            back.r_en.eq(taken),
        ]
        m.d.sync += released.eq(released - taken)
        with m.If(after):
            m.d.sync += waited.eq(waited + 1)
            with m.If(~siwu_n | (back.level >= PACKET - STATUS) | (waited == LATENCY_CYCLES)):
                m.d.sync += [released.eq(back.level - taken), waited.eq(0)]
        return m


class FifoBoard(wiring.Component):
    """An accelerator with a `FifoMaster`, at whose pins there is a `FifoChip`.

    The accelerator has 50 MHz, and the chip its 60. A restart resets all but the master, as the button of a
    board does, and what the chip holds is gone.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]

    def __init__(self, config: AnyConfig):
        self._config = config
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.domains.machine = ClockDomain()
        m.domains.line = ClockDomain(reset_less=True)
        count, clock = Signal(range(CYCLES), reset_less=True), Signal(reset_less=True)
        left = Signal(range(RESET_CYCLES + 1), reset_less=True, init=RESET_CYCLES)
        m.d.sync += [
            count.eq(Mux(count == CYCLES - 1, 0, count + 1)),
            clock.eq(count < CYCLES // 2),
            left.eq(Mux(ResetSignal(), RESET_CYCLES, left - (left != 0))),
        ]
        m.d.comb += [
            ClockSignal("machine").eq(clock),
            ClockSignal("line").eq(clock),
            ResetSignal("machine").eq(left != 0),
        ]
        accelerator, master = Accelerator(self._config, CLOCK_HZ, TIMEOUT), FifoMaster()
        m.submodules.accelerator = DomainRenamer("machine")(accelerator)
        m.submodules.master = DomainRenamer("line")(master)
        m.submodules.chip = chip = FifoChip(FIFO_CYCLES)
        wiring.connect(m, master.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, master.to_send)
        wiring.connect(m, wiring.flipped(self.rx), chip.rx)
        wiring.connect(m, chip.tx, wiring.flipped(self.tx))
        for name in ("clkout", "rxf_n", "txe_n"):
            m.d.comb += getattr(master, name).eq(getattr(chip, name))
        for name in ("oe_n", "rd_n", "wr_n", "siwu_n"):
            m.d.comb += getattr(chip, name).eq(getattr(master, name))
        # Where nobody drives, or both do, the byte is one that no frame begins with.
        chips, fpgas = ~master.oe_n & ~master.driving, master.oe_n & master.driving
        m.d.comb += [
            master.data_in.eq(Mux(chips, chip.wires_out, 0xFF)),
            chip.wires_in.eq(Mux(fpgas, master.data_out, 0xFF)),
        ]
        return m


class SimulatedFtdi:
    """The chip at a `FifoBoard`, with those methods of pyftdi's `Ftdi` and of its device that are asked for.

    Arguments:
        folder: the folder of the board's simulator.
        poll: cycles of the bench after which a read has status alone. A chip's are a millisecond, in which a
            simulation would do nothing.
    """

    BitMode = SimpleNamespace(RESET=SimpleNamespace(name="RESET"), SYNCFF=SimpleNamespace(name="SYNCFF"))
    device_version = FT232H

    def __init__(self, folder: Path, poll: int = 8 * CHUNK * FIFO_CYCLES):
        self.simulation = Simulation(folder)
        self._poll, self._came, self._mode = poll, bytearray(), ""
        self.timeouts = 5000, 5000
        endpoint = SimpleNamespace(bEndpointAddress=READ, wMaxPacketSize=PACKET)
        self.usb_dev = _Device([{(0, 0): [endpoint]}], self._read)

    def open_from_url(self, url: str) -> None:
        """There is one chip. Raises OSError for another name than that of the first one found."""
        if url != FIRST:
            raise OSError(f"No USB device matches URL {url}")

    def read_eeprom(self, addr: int, length: int) -> bytes:
        """The EEPROM of a chip that is set to its FIFO."""
        return bytes([FIFO_TYPE, *bytes(255)])[addr : addr + length]

    def set_bitmode(self, bitmask: int, mode: SimpleNamespace) -> None:
        """Choose a mode; the pins have a clock in SYNCFF alone."""
        self._mode = mode.name

    def set_latency_timer(self, latency: int) -> None:
        """Raises ValueError for another time than the chip's shortest, a millisecond."""
        if latency != 1:
            raise ValueError("Latency out of range")

    def write_data_set_chunksize(self, chunksize: int) -> None:
        """Take any size."""

    def purge_buffers(self) -> None:
        """Forget what has come."""
        self._came.clear()

    def write_data(self, data: bytes) -> int:
        """Send bytes; the chip has them all once this returns. Raises OSError where it does not take them."""
        self._check()
        self.simulation.send(data)
        end = self.simulation.cycle + self.timeouts[1] * HERTZ // 1000
        while self.simulation.waiting:
            self._came += self.simulation.receive(CHUNK * FIFO_CYCLES)
            if self.simulation.cycle > end:
                raise OSError("UsbError: [Errno 110] Operation timed out")
        return len(data)

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def _read(self, endpoint: int, size: int, timeout: int) -> bytes:
        """A transfer of the device: the status, and bytes if there are any."""
        self._check()
        if not self._came:
            self._came += self.simulation.receive(self._poll)
        status = bytes([0x32, 0x60])
        here, self._came = self._came[: PACKET - STATUS], self._came[PACKET - STATUS :]
        return status + bytes(here)

    def _check(self) -> None:
        if self._mode != "SYNCFF":
            raise OSError("the chip is not in its synchronous FIFO mode")


class _Device(list[Any]):
    """A device of pyusb as far as it is asked for: its configurations, and a function that reads."""

    def __init__(self, configurations: list[Any], read: Callable[[int, int, int], bytes]):
        super().__init__(configurations)
        self.read = read


class SimulatedFifoLine(FifoLine):
    """The host's own line over a simulated chip, with the accelerator's time.

    Arguments:
        simulation: the one of that chip.
        fifo: its FIFO, or what damages one.
    """

    def __init__(self, simulation: Simulation, fifo: Fifo):
        # An answer comes as soon as in any simulation, and is sent after a pause; then it is polled for.
        latency = (4096 * CYCLES + 20 * CHUNK * FIFO_CYCLES) / HERTZ
        super().__init__("ftdi:sim", fifo, lambda: simulation.cycle / HERTZ, latency)


def simulated_fifo(folder: Path) -> tuple[Simulation, FtdiFifo]:
    """The FIFO of the simulator in ``folder``, by the host's own code, and its simulation."""
    chip = SimulatedFtdi(folder)
    return chip.simulation, FtdiFifo(chip, FIRST)


def fifo_simulator(machine: AnyConfig, folder: Path, notice: Notice = say) -> Path:
    """The simulator of `FifoBoard` with ``machine``: see `line_simulator`."""
    return line_simulator(FifoBoard, machine, folder, "fifo", notice)
