"""The bus between a USB host and a device of high speed: its levels at rest, resets and chirps."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SE0, J, K = 0b00, 0b01, 0b10
"""D+ and D− as ULPI tells them; at high speed J is that there is a signal, and SE0 that there is none."""

CHIRP_MODE, FULL_SPEED_MODE, HIGH_SPEED_MODE = 0b10100, 0b00101, 0b00000
"""A device's operating mode, resistor and transceiver (ULPI 1.1, section 4.2.2): for a chirp, at full speed,
and at high speed."""

ATTACH, LEAST_CHIRP, ANSWER, PAIRS = 120_000, 60_000, 2_400, 4
"""Cycles in which a device must show its resistor, of its chirp at least, and of each of the host's chirps, K
and J, of which there are so many pairs (USB 2.0, section 7.1.7.5)."""
SILENCE, UNANSWERED, AFTER = 360_000, 180_000, 6_000
"""Cycles that a host waits for a chirp, of SE0 after one that it does not answer, and before and at the end
of a reset; a host gives its devices 100 ms before one."""


class Bus(wiring.Component):
    """Levels of the two wires while no packet is on them, in a domain of 60 MHz.

    Members
    -------
    mode, chirping : In(5), In(1)
        The mode of the device's PHY, and whether it drives a chirp.
    reset : In(1)
        The host is to reset the bus; high until ``over`` is high for a cycle.
    answers : In(1)
        The host answers a chirp of the device, which then has high speed.
    levels : Out(2)
        The levels.
    high : Out(1)
        The bus has high speed; this changes with ``over``.
    """

    mode: In(5, init=1)  # type: ignore[valid-type]  # Amaranth's ports are annotated by values
    chirping: In(1)  # type: ignore[valid-type]
    reset: In(1)  # type: ignore[valid-type]
    answers: In(1)  # type: ignore[valid-type]
    levels: Out(2)  # type: ignore[valid-type]
    over: Out(1)  # type: ignore[valid-type]
    high: Out(1)  # type: ignore[valid-type]

    def elaborate(self, platform):
        m = Module()
        count, pair, k = Signal(range(SILENCE + 1)), Signal(range(PAIRS)), Signal()
        resting = Mux(self.mode[2], J, SE0)
        m.d.sync += count.eq(count + 1)

        def begin(state):
            m.d.sync += count.eq(0)
            m.next = state

        with m.FSM():
            with m.State("RESTING"):
                m.d.comb += self.levels.eq(resting)
                with m.If(self.reset):
                    begin("ATTACHED")
            with m.State("ATTACHED"):
                m.d.comb += self.levels.eq(resting)
                with m.If(self.high | (self.mode == FULL_SPEED_MODE)):
                    begin("SETTLED")
                with m.Elif(count == ATTACH):
                    begin("FULL")
            with m.State("SETTLED"):
                m.d.comb += self.levels.eq(resting)
                with m.If(count == AFTER):
                    begin("RESET")
            with m.State("RESET"):
                with m.If(self.chirping):
                    begin("CHIRP")
                with m.Elif(count == SILENCE):
                    begin("RELEASED")
            with m.State("CHIRP"):
                m.d.comb += self.levels.eq(K)
                with m.If(~self.chirping):
                    m.d.sync += [pair.eq(0), k.eq(1)]
                    begin("UNANSWERED")
                    with m.If(self.answers & (count >= LEAST_CHIRP)):
                        begin("ANSWER")
            with m.State("ANSWER"):
                m.d.comb += self.levels.eq(Mux(k, K, J))
                with m.If(count == ANSWER):
                    m.d.sync += [k.eq(~k), pair.eq(pair + ~k), count.eq(0)]
                    with m.If(~k & (pair == PAIRS - 1)):
                        begin("AFTER")
            with m.State("UNANSWERED"), m.If(count == UNANSWERED):
                begin("RELEASED")
            with m.State("RELEASED"):
                m.d.comb += self.levels.eq(resting)
                with m.If(count == AFTER):
                    begin("FULL")
            with m.State("FULL"):
                m.d.comb += [self.levels.eq(resting), self.over.eq(1)]
                m.d.sync += self.high.eq(0)
                m.next = "OVER"
            with m.State("AFTER"), m.If(count == AFTER):
                with m.If(self.mode == HIGH_SPEED_MODE):
                    m.d.comb += self.over.eq(1)
                    m.d.sync += self.high.eq(1)
                    m.next = "OVER"
                with m.Else():
                    begin("RELEASED")
            with m.State("OVER"):  # the order has been taken back by now
                m.d.comb += self.levels.eq(resting)
                m.next = "RESTING"
        return m
