"""The scalar core. It runs firmware, and takes two cycles or more for an instruction."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.counters import COUNTER_BITS
from haarlequin.hw.common.sliced_memory import sized_memory
from haarlequin.hw.scalar.isa import (
    ACC,
    ADDRESS,
    CODE,
    IMMEDIATE,
    INSTRUCTION,
    REGISTERS,
    WORD,
    Alu,
    Control,
    R,
    Saturation,
    Source,
)
from haarlequin.hw.scalar.step import COUNT_BITS, Step


class ScalarCore(wiring.Component):
    """Runs the instructions of `hw/scalar/isa.py`, from instruction 0 to HALT for each image.

    One cycle looks up the register of an instruction, and the next cycle executes it. After that come the
    cycles in which an instruction waits for words of data or shifts; the table of `hw/scalar/isa.py` has
    their numbers. Registers, ACC, T and B keep their values from image to image. A reset ends the image and
    does not change them.

    Members
    -------
    start : In(1)
        Begins an image, if it is high for one cycle while ``running`` is low.
    done : Out(1)
        High in the last cycle of HALT, which is the last cycle with ``running``.
    running : Out(1)
        An image is being computed.
    code_addr : Out(ceil_log2(CODE))
        The address of the instruction that the next cycle needs.
    instruction : In(INSTRUCTION)
        The instruction at ``code_addr`` of the cycle before.
    addr : Out(ADDRESS)
        The address of a word of data.
    write : Out(1)
        Writes ``write_data`` to ``addr``.
    write_data : Out(WORD)
        The word to be written, valid with ``write``.
    data : In(WORD)
        The word of data at ``addr`` of the cycle before, if that did not write.
    results : Out(stream.Signature(signed(ACC)))
        The ACC of every OUT. The core waits until it is taken.
    counted : Out(1)
        High in every cycle of an image except those in which an OUT waits.
    cycles : Out(COUNTER_BITS)
        The number of cycles of the image with ``counted``. Like ``saturations`` it is complete from the cycle
        after ``done`` until the next ``start``.
    saturations : Out(COUNTER_BITS)
        The number of SATs of the image that clipped ACC.
    """

    start: In(1)
    done: Out(1)
    running: Out(1)
    code_addr: Out(ceil_log2(CODE))
    instruction: In(INSTRUCTION)
    addr: Out(ADDRESS)
    write: Out(1)
    write_data: Out(WORD)
    data: In(WORD)
    results: Out(stream.Signature(signed(ACC)))
    counted: Out(1)
    cycles: Out(COUNTER_BITS)
    saturations: Out(COUNTER_BITS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = sized_memory(WORD, REGISTERS)
        self._looked_up, self._kept = registers.read_port(), registers.write_port()
        self._acc = Signal(signed(ACC), reset_less=True)
        self._b = Signal(WORD, reset_less=True)
        self._waiting = Signal()
        self._now = now = Step(m, self.instruction, self.start, self._waiting)
        self._negative, self._paired = self._acc < 0, now.alu(Alu.LDP, Alu.MULP)
        m.d.comb += [self.running.eq(now.running), self.done.eq(now.done)]
        saturates, coming = self._accumulate(m)
        moved = self._points(m, coming)
        self._goes_on(m, moved)
        m.d.comb += [
            self.results.valid.eq(now.execute & now.control(Control.OUT)),
            self.results.payload.eq(self._acc),
            self._waiting.eq(self.results.valid & ~self.results.ready),
            self.counted.eq(self.running & ~self._waiting),
        ]
        with m.If(self.start):
            m.d.sync += [self.cycles.eq(0), self.saturations.eq(0)]
        with m.Else():
            m.d.sync += self.cycles.eq(self.cycles + self.counted)
            m.d.sync += self.saturations.eq(self.saturations + saturates)
        return m

    def _points(self, m: Module, coming: Value) -> Value:
        """Address registers and data, and write them. Returns the new value of the register or pointer.

        ``coming`` is the sign that ACC gets in the cycle in which the next instruction's register is found.
        """
        now, looked_up, kept = self._now, self._looked_up, self._kept
        word, execute = now.word, now.execute
        dots, indexed = now.control(Control.DOT, Control.DOTA), now.control(Control.LDX)
        stores = now.control(Control.ST, Control.STB)
        keeps, counts_down = now.control(Control.STR, Control.STBR), now.control(Control.DJNZ)
        # One adder computes addresses and counts, from the register's word or the pointer of a DOT.
        pointer, base, step, carry = Signal(WORD, reset_less=True), Signal(WORD), Signal(WORD), Signal()
        moved = _sum(base, step, carry)[:WORD]
        m.d.comb += base.eq(Mux(now.dot, pointer, looked_up.data))
        m.d.sync += pointer.eq(moved)
        with m.If(execute & indexed):
            m.d.comb += step.eq(self._acc)
        with m.Elif(now.load | stores):
            m.d.comb += step.eq(word.immediate)
        with m.Elif(counts_down):
            m.d.comb += step.eq(-1)
        with m.If(dots):
            m.d.comb += carry.eq(~now.last)
        with m.Elif(execute):
            m.d.comb += carry.eq(now.of_memory & self._paired & self._negative)
        stored = Mux(word.op.matches(Control.STB, Control.STBR), self._b, self._acc)
        found_again = (now.load & now.of_memory) | (now.dot & now.last)
        m.d.comb += [
            self.addr.eq(Mux(execute & (now.of_memory | indexed), moved, base)),
            self.write.eq(execute & stores),
            self.write_data.eq(stored),
            kept.addr.eq(word.r),
            kept.data.eq(Mux(keeps, stored, moved)),
            kept.en.eq((execute & (stores | keeps | counts_down)) | found_again),
        ]
        number = Signal(range(REGISTERS), reset_less=True)
        m.d.sync += number.eq(looked_up.addr)
        with m.If(now.dot):
            m.d.comb += looked_up.addr.eq(number + 1)
        with m.Elif(execute & dots):
            m.d.comb += looked_up.addr.eq(word.immediate[COUNT_BITS:])
        with m.Else():
            # It does not change while a word of data is waited for, because its pointer moves after that.
            m.d.comb += looked_up.addr.eq(word.r + ((word.source == Source.REG) & self._paired & coming))
        return moved

    def _goes_on(self, m: Module, moved: Value) -> None:
        """Give the address of the next instruction, in the last cycle of this one."""
        now, at, following = self._now, Signal.like(self.code_addr), Signal.like(self.code_addr)
        with m.If(now.control(Control.HALT)):
            m.d.comb += following.eq(0)
        with m.Elif(now.control(Control.JMP) | (now.control(Control.DJNZ) & (moved != 0))):
            m.d.comb += following.eq(now.word.immediate)
        with m.Else():
            m.d.comb += following.eq(at + 1)
        m.d.comb += self.code_addr.eq(Mux(now.last, following, at))
        m.d.sync += at.eq(self.code_addr)

    def _operand(self, m: Module, ones: Signal, rounding: Signal) -> Signal:
        """The operand of the ALU, or what a DOT or an ASRR adds, or the value that a SAT clips to."""
        now, negative, operand = self._now, self._negative, Signal(signed(R + IMMEDIATE))
        word = now.word
        wide, feature = ((1 << kind.bits - 1) - 1 for kind in (Saturation.WIDE, Saturation.FEATURE))
        bound = Mux(word.immediate[0], feature, wide)  # the immediate is a `Saturation`
        with m.If(now.look_up | now.dot):
            m.d.comb += operand.eq(2 * ones)
        with m.Else(), m.Switch(word.source):
            with m.Case(Source.MEM):
                m.d.comb += operand.eq(self.data.as_signed())
            with m.Case(Source.REG):
                m.d.comb += operand.eq(self._looked_up.data.as_signed())
            with m.Case(Source.IMM):
                m.d.comb += operand.eq(Cat(word.r, word.immediate).as_signed())
            with m.Case(Source.NONE), m.Switch(word.op):
                with m.Case(Control.LDX):
                    m.d.comb += operand.eq(self.data.as_signed())
                with m.Case(Control.SAT):
                    m.d.comb += operand.eq((bound ^ negative.replicate(WORD)).as_signed())
                with m.Case(Control.ASRR):
                    m.d.comb += operand.eq(rounding)
        return operand

    def _accumulate(self, m: Module) -> tuple[Value, Value]:
        """Compute ACC, T and B. Returns whether a SAT clips, and the next sign of ACC.

        Products, and the ones that a DOT counts, come to ACC one cycle late. The last of them comes while the
        register of the next instruction is looked up. Without this delay they would be the longest paths.
        """
        now, acc = self._now, self._acc
        word, alu, shift = now.word, now.alu, now.shift
        # The last cycle of an instruction with an operand, in which the operand is there.
        found = now.load | (now.execute & now.of_alu & ~now.of_memory)
        t, rounding = Signal(signed(WORD), reset_less=True), Signal(reset_less=True)
        ones = Signal(range(WORD + 1))
        both, differ = self.data & self._looked_up.data, self.data ^ self._looked_up.data
        m.d.sync += ones.eq(0)
        with m.If(now.dot):
            m.d.sync += ones.eq(sum(Mux(word.op == Control.DOTA, both, ~differ)))
        operand = self._operand(m, ones, rounding)
        left_factor, right_factor = (Signal(signed(WORD), reset_less=True) for _ in range(2))
        multiplied, accumulated = Signal(), Signal()
        m.d.sync += [
            left_factor.eq(Mux(word.op == Alu.MAC, t, acc)),
            right_factor.eq(operand),
            multiplied.eq(found & alu(Alu.MUL, Alu.MULP)),
            accumulated.eq(found & alu(Alu.MAC)),
        ]
        addend, subtracts = Signal(signed(ACC + 1)), alu(Alu.SUB, Alu.MIN) & ~now.look_up
        m.d.comb += addend.eq(Mux(multiplied | accumulated, left_factor * right_factor, operand))
        inverted = addend ^ subtracts.replicate(ACC + 1)
        total = _sum(Cat(acc, self._negative), inverted, subtracts)[: ACC + 1]
        below = total[ACC]

        takes = alu(Alu.LD, Alu.LDP) | now.control(Control.LDX) | (alu(Alu.MIN) & ~below)
        wide, feature = (
            acc[kind.bits - 1 :] ^ self._negative.replicate(ACC - kind.bits + 1)
            for kind in (Saturation.WIDE, Saturation.FEATURE)
        )
        clips = Mux(word.immediate[0], feature.any(), wide.any())
        saturates, by_eight = now.execute & now.control(Control.SAT) & clips, now.left >= 8
        with m.If(shift & ~now.last):
            m.d.sync += acc.eq(Mux(by_eight, acc >> 8, acc >> 1))
            m.d.sync += rounding.eq(Mux(by_eight, acc[7], acc[0]))
        with m.Elif((found & takes) | saturates | multiplied):
            m.d.sync += acc.eq(addend)
        with m.Elif((found & alu(Alu.ADD, Alu.SUB)) | now.look_up | now.dot | shift):
            m.d.sync += acc.eq(total)
        with m.If(now.execute):
            m.d.sync += rounding.eq(0)
        with m.If(found & alu(Alu.LDT)):
            m.d.sync += t.eq(operand)
        with m.If(found & alu(Alu.BIT)):
            m.d.sync += self._b.eq(Cat(self._b[1:], ~below))
        return saturates, Mux(multiplied, addend[ACC], below)


def _sum(a: Value, b: Value, carry: Value) -> Value:
    """a + b + carry in one adder, with an extra lowest bit that makes the carry."""
    return (Cat(Const(1, 1), a) + Cat(carry, b))[1:]
