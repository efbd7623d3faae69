"""`BoardTop`: the accelerator on a board, with its clock, its lines, its lamps and its button."""

from math import ceil

from amaranth.build import Platform
from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Module,
    Mux,
    ResetInserter,
    Signal,
    Value,
)
from amaranth.lib import io, stream, wiring
from amaranth.lib.cdc import AsyncFFSynchronizer

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.boards import phy
from haarlequin.hw.boards.board import Board, BoardError
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.link.boot import FlashBoot
from haarlequin.hw.link.ethernet.line import EthernetLine
from haarlequin.hw.link.fifo import FifoMaster
from haarlequin.hw.link.spi import SpiSlave
from haarlequin.hw.link.switch import LineSwitch
from haarlequin.hw.link.uart import Uart
from haarlequin.hw.link.ulpi import UlpiDevice
from haarlequin.hw.link.usb import IO_HZ, USB_HZ, UsbDevice

SECONDS_OF_SILENCE = 0.1
"""The pause after which an incomplete frame is given up. A USB bridge pauses for tens of milliseconds."""

GLOW_SECONDS = 0.05
"""The shortest time that a lamp stays lit, so that it is seen."""


def clocks(board: Board, baud: int) -> list[int]:
    """The clocks that the PLL of a board can make and its UART can divide to ``baud``, the lowest first.

    They are in Hz and rounded up, so that each of them can be wished for.
    """

    def divides(hertz: int) -> bool:
        try:
            return board.divisor(hertz, baud) > 0
        except BoardError:
            return False

    possible = FAMILIES[board.family].setting.possible(board.input_hz, _also(board))
    made = {setting.hertz for setting in possible}
    return [ceil(hertz) for hertz in sorted(made) if divides(round(hertz))]


def _also(board: Board) -> tuple[int, ...]:
    """The clocks that its lines need besides the accelerator's."""
    return (IO_HZ, USB_HZ) if board.usb and not board.has_high_speed else ()


class BoardTop(Elaboratable):
    """The design that becomes the bitstream: an accelerator with a board's clock, lines, lamps and button.

    It has three lamps. *Ready* means that the tables are loaded and sealed. *Busy* means that tables are
    being loaded from the flash, or that an image is in the machine. *Error* means that the last frame was
    refused, or that the boot image in the flash was. The button resets all but the memories, which then have
    to be sealed again, from the flash or by the host.

    Parameters
    ----------
    board : Board
        The board.
    config : AnyConfig
        The sizes of the accelerator.
    clock_hz : int
        The wished clock of the accelerator, in Hz. The PLL makes the closest one that is not higher.
    baud : int
        The wished rate of the UART.
    """

    def __init__(self, board: Board, config: AnyConfig, clock_hz: int, baud: int):
        self.board, self.config = board, config
        self._family = FAMILIES[board.family]
        self.setting = self._family.setting.solve(board.input_hz, clock_hz, _also(board))
        self.clock_hz = round(self.setting.hertz)
        """The clock that the PLL makes, in Hz, which is at most the wished one."""
        self.divisor = board.divisor(self.clock_hz, baud)

    def elaborate(self, platform: Platform):
        m = Module()
        board = self.board
        clock = self._pin(m, "i", platform.request(platform.default_clk, dir="-"))
        m.submodules.pll = source = self._family.pll(self.setting)
        m.domains.sync = ClockDomain(reset_less=True)
        pressed = self._pin(m, "i", platform.request(board.reset, 0, dir="-"))
        reset, around = Signal(), Module()
        m.submodules.reset = AsyncFFSynchronizer(~source.locked | pressed, reset)
        m.submodules.around = ResetInserter(reset)(around)
        m.d.comb += [source.clock.eq(clock), ClockSignal().eq(source.output)]
        if _also(board):
            m.domains.usb_io = ClockDomain(reset_less=True)
            m.domains.usb = ClockDomain(reset_less=True)
            m.d.comb += Cat(ClockSignal("usb_io"), ClockSignal("usb")).eq(source.others)

        timeout = round(self.clock_hz * SECONDS_OF_SILENCE)
        m.submodules.accelerator = accelerator = Accelerator(self.config, self.clock_hz, timeout, reset)
        received, to_send = self._lines(m, around, platform)
        busy, error = accelerator.busy, accelerator.error
        if board.tables_at is None:
            bytes_in = received
            answers = accelerator.tx
        else:
            around.submodules.boot = boot = FlashBoot(accelerator.identity, board.tables_at)
            self._flash(m, platform, boot)
            wiring.connect(m, received, boot.host_rx)
            bytes_in = boot.link_rx
            wiring.connect(m, skid_buffer(around, accelerator.tx), boot.link_tx)
            answers = boot.host_tx
            busy, error = busy | boot.busy, error | boot.failed
        # Without these buffers, a line's valid and ready would go in the same cycle through all blocks that
        # wait for it.
        wiring.connect(m, skid_buffer(around, bytes_in), accelerator.rx)
        wiring.connect(m, skid_buffer(around, answers), to_send)

        lamps = accelerator.sealed, busy, error
        for lamp, resource in zip(lamps, board.leds, strict=True):
            m.d.comb += self._pin(m, "o", platform.request(*resource, dir="-")).eq(self._glow(around, lamp))
        return m

    def _lines(
        self, m: Module, around: Module, platform: Platform
    ) -> tuple[stream.Interface, stream.Interface]:
        """Connect the pins of the board's lines. Returns the bytes that are received, and those to send."""
        around.submodules.uart = uart = Uart(self.divisor)
        pins = platform.request("uart", 0, dir="-")
        m.d.comb += [uart.rx.eq(self._pin(m, "i", pins.rx)), self._pin(m, "o", pins.tx).eq(uart.tx)]
        lines: list[Uart | SpiSlave | UsbDevice | UlpiDevice | FifoMaster | EthernetLine] = [uart]
        # What these hold stays as it is in a reset: their other clock would have to see it as well.
        if self.board.spi:
            m.submodules.spi = spi = SpiSlave()
            lines.append(spi)
            pins = platform.request(*self.board.spi, dir="-")
            for name in ("sck", "cs", "copi"):
                m.d.comb += getattr(spi, name).eq(self._pin(m, "i", getattr(pins, name)))
            m.d.comb += self._pin(m, "o", pins.cipo).eq(spi.cipo)
        if self.board.usb and self.board.has_high_speed:
            m.submodules.usb = ulpi = UlpiDevice(self.board.serial or self.board.name)
            lines.append(ulpi)
            phy.connect_ulpi(m, platform, self.board.usb, ulpi, self.clock_hz)
        elif self.board.usb:
            m.submodules.usb = usb = UsbDevice(self.board.serial or self.board.name)
            lines.append(usb)
            pins = platform.request(*self.board.usb, dir="-")
            for wire, port in ((usb.d_p, pins.d_p), (usb.d_n, pins.d_n)):
                m.submodules += (buffer := io.Buffer("io", port))
                m.d.comb += [wire.i.eq(buffer.i), buffer.o.eq(wire.o), buffer.oe.eq(wire.oe)]
            m.d.comb += self._pin(m, "o", pins.pullup).eq(usb.pullup)
        if self.board.fifo:
            m.submodules.fifo = fifo = FifoMaster(self._family.pin_register)
            lines.append(fifo)
            pins = platform.request(*self.board.fifo, dir="-")
            for name in ("clkout", "rxf_n", "txe_n"):
                m.d.comb += getattr(fifo, name).eq(self._pin(m, "i", getattr(pins, name)))
            for name in ("oe_n", "rd_n", "wr_n", "siwu_n"):
                m.d.comb += self._pin(m, "o", getattr(pins, name)).eq(getattr(fifo, name))
            m.submodules += (bus := io.Buffer("io", pins.data))
            m.d.comb += [bus.o.eq(fifo.data_out), bus.oe.eq(fifo.driving), fifo.data_in.eq(bus.i)]
        if self.board.ethernet:
            m.submodules.ethernet = ethernet = EthernetLine(self.board.address)
            lines.append(ethernet)
            phy.connect_ethernet(m, platform, self._family, self.board.ethernet, ethernet, self.clock_hz)
        if len(lines) == 1:
            return uart.received, uart.to_send
        around.submodules.switch = switch = LineSwitch(len(lines))
        for number, line in enumerate(lines):
            wiring.connect(m, line.received, getattr(switch, f"received_{number}"))
            wiring.connect(m, getattr(switch, f"to_send_{number}"), line.to_send)
        return switch.rx, switch.tx

    def _flash(self, m: Module, platform: Platform, boot: FlashBoot) -> None:
        """Connect the pins of the SPI flash. Its other pins are kept inactive."""
        pins = platform.request(*self.board.flash, dir="-")
        m.d.comb += [self._pin(m, "o", pins.cs).eq(boot.cs), self._pin(m, "o", pins.copi).eq(boot.copi)]
        m.d.comb += boot.cipo.eq(self._pin(m, "i", pins.cipo))
        for port in (getattr(pins, name, None) for name in ("wp", "hold")):
            if port is not None:
                m.d.comb += self._pin(m, "o", port).eq(0)
        if not self._family.flash_clock(m, boot.clk, idle=~boot.busy):
            m.d.comb += self._pin(m, "o", pins.clk).eq(boot.clk)

    @staticmethod
    def _pin(m: Module, direction: str, port: io.SingleEndedPort) -> Signal:
        """The signal of a pin, from or to its buffer."""
        buffer = io.Buffer(direction, port)
        m.submodules += buffer
        return getattr(buffer, direction)

    def _glow(self, m: Module, lamp: Value) -> Signal:
        """``lamp``, but high for at least `GLOW_SECONDS`."""
        cycles = round(self.clock_hz * GLOW_SECONDS)
        left, lit = Signal(range(cycles + 1)), Signal()
        m.d.sync += [left.eq(Mux(lamp, cycles, Mux(left == 0, 0, left - 1))), lit.eq(left != 0)]
        return lit
