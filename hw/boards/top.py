"""`BoardTop`: the accelerator on a board, with its clock, its UART, its lamps and its button."""

from math import ceil

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import AsyncFFSynchronizer

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.boards.board import Board, BoardError
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.link.boot import FlashBoot
from haarlequin.hw.link.uart import Uart

SECONDS_OF_SILENCE = 0.1
"""After which a frame that was begun is cut: a USB bridge pauses for tens of milliseconds."""

GLOW_SECONDS = 0.05
"""For which a lamp stays lit at least, so that it is seen."""


def clocks(board: Board, baud: int) -> list[int]:
    """Those that a board's PLL can make and its UART can divide to ``baud``, the lowest first: in Hz, rounded
    up, so that a wish for one finds it.
    """

    def divides(hertz: int) -> bool:
        try:
            return board.divisor(hertz, baud) > 0
        except BoardError:
            return False

    made = {setting.hertz for setting in FAMILIES[board.family].setting.possible(board.input_hz)}
    return [ceil(hertz) for hertz in sorted(made) if divides(round(hertz))]


class BoardTop(Elaboratable):
    """What becomes the bitstream.

    Lamps: *ready*, the tables are loaded and sealed; *busy*, tables are being loaded from the flash, or an
    image is in the machine; *error*, the last frame was refused, or what lies in the flash. The button resets
    all but the memories, which have to be sealed again, from the flash or by the host.
    """

    def __init__(self, board: Board, config: AcceleratorConfig, clock_hz: int, baud: int):
        self.board, self.config = board, config
        self._family = FAMILIES[board.family]
        self.setting = self._family.setting.solve(board.input_hz, clock_hz)
        self.clock_hz = round(self.setting.hertz)
        """As the PLL makes it, at most what was wished for."""
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

        timeout = round(self.clock_hz * SECONDS_OF_SILENCE)
        m.submodules.accelerator = accelerator = Accelerator(self.config, self.clock_hz, timeout, reset)
        around.submodules.uart = uart = Uart(self.divisor)
        pins = platform.request("uart", 0, dir="-")
        m.d.comb += [uart.rx.eq(self._pin(m, "i", pins.rx)), self._pin(m, "o", pins.tx).eq(uart.tx)]
        busy, error = accelerator.busy, accelerator.error
        if board.tables_at is None:
            wiring.connect(m, uart.received, accelerator.rx)
            answers = accelerator.tx
        else:
            around.submodules.boot = boot = FlashBoot(accelerator.identity, board.tables_at)
            self._flash(m, platform, boot)
            wiring.connect(m, uart.received, boot.host_rx)
            wiring.connect(m, boot.link_rx, accelerator.rx)
            wiring.connect(m, accelerator.tx, boot.link_tx)
            answers = boot.host_tx
            busy, error = busy | boot.busy, error | boot.failed
        # All behind it that can wait would else wait for the bits of a byte in one cycle.
        wiring.connect(m, skid_buffer(around, answers), uart.to_send)

        lamps = accelerator.sealed, busy, error
        for lamp, resource in zip(lamps, board.leds, strict=True):
            m.d.comb += self._pin(m, "o", platform.request(*resource, dir="-")).eq(self._glow(around, lamp))
        return m

    def _flash(self, m: Module, platform: Platform, boot: FlashBoot) -> None:
        """The SPI flash's pins; what it has besides stays inactive."""
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
        """What a pin says, or is told, through its buffer."""
        buffer = io.Buffer(direction, port)
        m.submodules += buffer
        return getattr(buffer, direction)

    def _glow(self, m: Module, lamp) -> Signal:
        """``lamp``, but lit for `GLOW_SECONDS` at least."""
        cycles = round(self.clock_hz * GLOW_SECONDS)
        left, lit = Signal(range(cycles + 1)), Signal()
        m.d.sync += [left.eq(Mux(lamp, cycles, Mux(left == 0, 0, left - 1))), lit.eq(left != 0)]
        return lit
