"""The scalar core: runs firmware, an instruction in two cycles or more."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sw.scalar.isa import (
    ACC,
    ADDRESS,
    CODE,
    IMMEDIATE,
    INSTRUCTION,
    OP,
    REGISTERS,
    SATURATIONS,
    WORD,
    Alu,
    Control,
    R,
    Source,
)

COUNTER_BITS = 32
COUNT_BITS = 6
"""Of a DOT's words and a shift's places."""

FIELDS = data.StructLayout({"op": OP - 2, "source": 2, "r": R, "immediate": signed(IMMEDIATE)})


class ScalarCore(wiring.Component):
    """Runs the code of `sw/scalar/isa.py` from instruction 0 to HALT for each image.

    ``start``, one cycle while ``running`` is low, begins an image; ``done`` is high in HALT's last cycle, the
    last one in which ``running`` is. Registers, ACC, T and B stay from image to image; a reset leaves them as
    they are, and ends the image.

    - ``instruction`` is the word of code at ``code_addr`` of a cycle before.
    - ``data`` is the word of data at ``addr`` of a cycle before; where ``write`` is high, ``write_data`` goes
      to ``addr`` instead.
    - ``results`` has every OUT's ACC. ACC waits there until it is taken.
    - ``counted`` is high in the image's cycles but those in which an OUT waited. ``cycles``, how many of them
      it had, and ``saturations``, its SATs that clipped, are complete a cycle behind ``done``, until the next
      ``start``.

    A cycle looks up an instruction's register, the next executes it; words of data and places of a shift take
    one each behind that.
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
        m.submodules.registers = registers = Memory(shape=WORD, depth=REGISTERS, init=[])
        looked_up, kept = registers.read_port(), registers.write_port()
        acc, t = Signal(signed(ACC), reset_less=True), Signal(signed(WORD), reset_less=True)
        b = Signal(WORD, reset_less=True)
        word = data.View(FIELDS, self.instruction)  # stays until the cycle behind ``last``
        of_alu, of_memory = word.source != Source.NONE, word.source == Source.MEM

        def alu(*ops: Alu) -> Value:
            return of_alu & word.op.matches(*ops)

        def control(*ops: Control) -> Value:
            return ~of_alu & word.op.matches(*ops)

        jumps, counts_down, halts = control(Control.JMP), control(Control.DJNZ), control(Control.HALT)
        stores, keeps = control(Control.ST, Control.STB), control(Control.STR, Control.STBR)
        dots, loads_indexed = control(Control.DOT, Control.DOTA), control(Control.LDX)
        paired, negative = alu(Alu.LDP, Alu.MULP), acc < 0
        coming = Signal()  # the sign that ACC gets while the next instruction's register is looked up

        last, waiting = Signal(), Signal()
        left = Signal(COUNT_BITS, reset_less=True)  # words of a DOT, places of a shift
        with m.FSM() as fsm:
            with m.State("REST"), m.If(self.start):
                m.next = "LOOK UP"
            with m.State("LOOK UP"):
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.If(of_memory | loads_indexed):
                    m.next = "LOAD"
                with m.Elif(control(Control.ASR, Control.ASRR)):
                    m.next = "SHIFT"
                with m.Elif(dots & (word.immediate[:COUNT_BITS] != 0)):
                    m.next = "DOT"
                with m.Elif(~waiting):
                    m.d.comb += last.eq(1)
                    m.next = "LOOK UP"
                    with m.If(halts):
                        m.next = "REST"
            with m.State("LOAD"):
                m.d.comb += last.eq(1)
                m.next = "LOOK UP"
            with m.State("DOT"), m.If(left == 1):
                m.d.comb += last.eq(1)
                m.next = "LOOK UP"
            with m.State("SHIFT"), m.If(left == 0):
                m.d.comb += last.eq(1)
                m.next = "LOOK UP"
        look_up, execute, load = (fsm.ongoing(name) for name in ("LOOK UP", "EXECUTE", "LOAD"))
        dot, shift = fsm.ongoing("DOT"), fsm.ongoing("SHIFT")
        by_eight = left >= 8
        with m.If(execute):
            m.d.sync += left.eq(word.immediate)
        with m.Else():
            m.d.sync += left.eq(left - Mux(shift & by_eight, 8, 1))

        # The register's word, or a DOT's pointer, and where it moves to: one adder for addresses and counts.
        pointer, base, step, carry = Signal(WORD, reset_less=True), Signal(WORD), Signal(WORD), Signal()
        moved = _sum(base, step, carry)[:WORD]
        m.d.comb += base.eq(Mux(dot, pointer, looked_up.data))
        m.d.sync += pointer.eq(moved)
        with m.If(execute & loads_indexed):
            m.d.comb += step.eq(acc)
        with m.Elif(load | stores):
            m.d.comb += step.eq(word.immediate)
        with m.Elif(counts_down):
            m.d.comb += step.eq(-1)
        with m.If(dots):
            m.d.comb += carry.eq(~last)
        with m.Elif(execute):
            m.d.comb += carry.eq(of_memory & paired & negative)
        stored = Mux(word.op.matches(Control.STB, Control.STBR), b, acc)
        m.d.comb += [
            self.addr.eq(Mux(execute & (of_memory | loads_indexed), moved, base)),
            self.write.eq(execute & stores),
            self.write_data.eq(stored),
            kept.addr.eq(word.r),
            kept.data.eq(Mux(keeps, stored, moved)),
            kept.en.eq((execute & (stores | keeps | counts_down)) | (load & of_memory) | (dot & last)),
        ]
        number = Signal(range(REGISTERS), reset_less=True)
        m.d.sync += number.eq(looked_up.addr)
        with m.If(dot):
            m.d.comb += looked_up.addr.eq(number + 1)
        with m.Elif(execute & dots):
            m.d.comb += looked_up.addr.eq(word.immediate[COUNT_BITS:])
        with m.Else():
            # Unchanged while a word of data is waited for: its pointer moves behind that.
            m.d.comb += looked_up.addr.eq(word.r + ((word.source == Source.REG) & paired & coming))

        following = Signal.like(self.code_addr)
        at = Signal.like(self.code_addr)
        with m.If(halts):
            m.d.comb += following.eq(0)
        with m.Elif(jumps | (counts_down & (moved != 0))):
            m.d.comb += following.eq(word.immediate)
        with m.Else():
            m.d.comb += following.eq(at + 1)
        m.d.comb += self.code_addr.eq(Mux(last, following, at))
        m.d.sync += at.eq(self.code_addr)

        out = execute & control(Control.OUT)
        m.d.comb += [
            self.results.valid.eq(out),
            self.results.payload.eq(acc),
            waiting.eq(out & ~self.results.ready),
            self.counted.eq(self.running & ~waiting),
            self.done.eq(execute & halts),
            self.running.eq(~fsm.ongoing("REST")),
        ]
        # Products, and a DOT's ones, come to ACC a cycle late, the last of them as the next instruction is
        # looked up: else they would be the longest paths.
        found = load | (execute & of_alu & ~of_memory)  # the operand, so that the ALU ends its work
        operand, rounding = Signal(signed(R + IMMEDIATE)), Signal(reset_less=True)
        left_factor, right_factor = (Signal(signed(WORD), reset_less=True) for _ in range(2))
        multiplied, accumulated = Signal(), Signal()
        m.d.sync += [
            left_factor.eq(Mux(word.op == Alu.MAC, t, acc)),
            right_factor.eq(operand),
            multiplied.eq(found & alu(Alu.MUL, Alu.MULP)),
            accumulated.eq(found & alu(Alu.MAC)),
        ]
        ones = Signal(range(WORD + 1))
        both, differ = self.data & looked_up.data, self.data ^ looked_up.data
        with m.If(dot):
            m.d.sync += ones.eq(sum(Mux(word.op == Control.DOTA, both, ~differ)))
        with m.Else():
            m.d.sync += ones.eq(0)

        # The operand, or what a DOT and an ASRR add and a SAT leaves.
        wide, narrow = (acc[bits - 1 :] ^ negative.replicate(ACC - bits + 1) for bits in SATURATIONS)
        clips = Mux(word.immediate[0], narrow.any(), wide.any())
        bound = Mux(word.immediate[0], *((1 << bits - 1) - 1 for bits in reversed(SATURATIONS)))
        with m.If(look_up | dot):
            m.d.comb += operand.eq(2 * ones)
        with m.Else(), m.Switch(word.source):
            with m.Case(Source.MEM):
                m.d.comb += operand.eq(self.data.as_signed())
            with m.Case(Source.REG):
                m.d.comb += operand.eq(looked_up.data.as_signed())
            with m.Case(Source.IMM):
                m.d.comb += operand.eq(Cat(word.r, word.immediate).as_signed())
            with m.Case(Source.NONE), m.Switch(word.op):
                with m.Case(Control.LDX):
                    m.d.comb += operand.eq(self.data.as_signed())
                with m.Case(Control.SAT):
                    m.d.comb += operand.eq((bound ^ negative.replicate(WORD)).as_signed())
                with m.Case(Control.ASRR):
                    m.d.comb += operand.eq(rounding)

        addend, subtracts = Signal(signed(ACC + 1)), alu(Alu.SUB, Alu.MIN) & ~look_up
        m.d.comb += addend.eq(Mux(multiplied | accumulated, left_factor * right_factor, operand))
        total = _sum(Cat(acc, negative), addend ^ subtracts.replicate(ACC + 1), subtracts)[: ACC + 1]
        below = total[ACC]
        m.d.comb += coming.eq(Mux(multiplied, addend[ACC], below))
        takes = alu(Alu.LD, Alu.LDP) | loads_indexed | (alu(Alu.MIN) & ~below)
        saturates = execute & control(Control.SAT) & clips
        with m.If(shift & ~last):
            m.d.sync += acc.eq(Mux(by_eight, acc >> 8, acc >> 1))
            m.d.sync += rounding.eq(Mux(by_eight, acc[7], acc[0]))
        with m.Elif((found & takes) | saturates | multiplied):
            m.d.sync += acc.eq(addend)
        with m.Elif((found & alu(Alu.ADD, Alu.SUB)) | look_up | dot | shift):
            m.d.sync += acc.eq(total)
        with m.If(execute):
            m.d.sync += rounding.eq(0)
        with m.If(found & alu(Alu.LDT)):
            m.d.sync += t.eq(operand)
        with m.If(found & alu(Alu.BIT)):
            m.d.sync += b.eq(Cat(b[1:], ~below))

        with m.If(self.start):
            m.d.sync += [self.cycles.eq(0), self.saturations.eq(0)]
        with m.Else():
            m.d.sync += self.cycles.eq(self.cycles + self.counted)
            m.d.sync += self.saturations.eq(self.saturations + saturates)
        return m


def _sum(a: Value, b: Value, carry: Value) -> Value:
    """a + b + carry on one chain: a bit below the lowest makes the carry."""
    return (Cat(Const(1, 1), a) + Cat(carry, b))[1:]
