"""The scalar machine without its link: the core, its memories, images in and results out."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.counters import COUNTER_BITS
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.common.sliced_memory import sized_memory
from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.link.identity import numbers
from haarlequin.hw.link.ports import machine_ports
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, PIXELS_MEMORY, SETTINGS_MEMORY
from haarlequin.hw.scalar.core import ScalarCore
from haarlequin.hw.scalar.isa import (
    ADDRESS,
    CODE,
    CODE_MEMORY,
    DATA_MEMORY,
    INSTRUCTION,
    PIXELS,
    WORD,
    Setting,
    memories,
)
from haarlequin.hw.scalar.ram import SinglePortRam

PIXEL_BITS = 8
IMAGES = 2
"""The image memory holds the image that is computed, and the next one."""

TRACE = data.StructLayout({"store_valid": 1, "store_address": ADDRESS, "store": WORD})


class ScalarMachine(wiring.Component):
    """The scalar core with its memories, ready to be connected to a link like `hw.machine.Machine`.

    The host's bus does one write or read per cycle. It may be used only while ``idle`` is high, except that
    counters may be read at any time, and pixels may be written while ``room`` is high. A reset ends all
    images, but changes neither memories nor settings.

    Parameters
    ----------
    config : ScalarConfig
        The sizes of the memories.

    Members
    -------
    select : In
        The number of a memory in `hw.scalar.isa.memories`.
    address : In(ADDRESS_BITS)
        The address of a word in that memory. Pixels of the next image always have the addresses from 0 on.
    byte : In(8)
        A byte of a word, the lowest first.
    take : In(1)
        Takes ``byte``.
    write : In(1)
        Writes the word whose bytes have been taken.
    position : In
        The place of a byte in a word.
    read : In(1)
        Not used: words are read all the time.
    answer : Out(8)
        The byte at ``position`` of the word at ``address`` of memory ``select``. It is valid from the cycle
        after these were given, as long as they do not change and nothing is written.
    idle : Out(1)
        No image is in the machine.
    room : Out(1)
        The machine can take another image.
    image_bytes : Out(LENGTH_BITS)
        The number of bytes of an image, from the settings.
    commit : In(1)
        Hands over the image whose pixels were written; allowed while ``room`` is high. The core reads its
        bytes in place of the words of data from address `PIXELS` on, ``config.pixels`` / 2 of them.
    again : In(1)
        While it is high, ``commit`` hands over the image of the last ``commit`` before it once more. It may
        change only while ``idle`` is high.
    results : Out(stream.Signature(RESULT))
        For each image the word of every OUT, then its cycles, then its saturations.
    result_words : Out(16)
        The number of these words, if the code has one OUT for each class.
    trace : Out(TRACE)
        The words that the core stores, for verification.
    """

    answer_latency = 1
    """Cycles from ``read`` to ``answer``."""

    def __init__(self, config: ScalarConfig):
        self.config, self.memories = config, memories(config.data, config.pixels)
        super().__init__(machine_ports(self.memories) | {"trace": Out(TRACE)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = ScalarCore()
        m.submodules.ram = ram = SinglePortRam(self.config.data)
        m.submodules.code = code = memory.Memory(shape=INSTRUCTION, depth=CODE, init=[])
        read, write = code.read_port(), code.write_port()
        chosen = {name: self.select == number for name, number in numbers(self.memories).items()}
        # Bytes come in at the top: a word's are the highest ones.
        bytes_in = Signal(8 * max(memory.word_bytes for memory in self.memories), reset_less=True)
        with m.If(self.take):
            m.d.sync += bytes_in.eq(Cat(bytes_in[8:], self.byte))
        written_words = {memory.name: bytes_in[-8 * memory.word_bytes :] for memory in self.memories}
        # They have no reset, so that they keep their values after a RESET, like all that the host loads.
        image_bytes, classes = Signal(WORD, reset_less=True), Signal(WORD, reset_less=True)
        settings = {Setting.IMAGE_BYTES: image_bytes, Setting.CLASSES: classes}
        setting = Array(settings[address] for address in Setting)[self.address[0]]
        spent = Signal(COUNTER_BITS, reset_less=True)
        m.d.sync += spent.eq(spent + core.counted)
        m.d.comb += [
            self.image_bytes.eq(image_bytes),
            self.result_words.eq(classes + 2),
            core.instruction.eq(read.data),
            read.addr.eq(Mux(self.idle, self.address, core.code_addr)),
            write.addr.eq(self.address),
            write.data.eq(written_words[CODE_MEMORY]),
            write.en.eq(self.write & chosen[CODE_MEMORY]),
            ram.addr.eq(Mux(self.idle, self.address, core.addr)),
            ram.write.eq(Mux(self.idle, self.write & chosen[DATA_MEMORY], core.write)),
            ram.data.eq(Mux(self.idle, written_words[DATA_MEMORY], core.write_data)),
            self.trace.store_valid.eq(core.write),
            self.trace.store_address.eq(core.addr),
            self.trace.store.eq(core.write_data),
        ]
        with m.If(self.write & chosen[SETTINGS_MEMORY]):
            m.d.sync += setting.eq(written_words[SETTINGS_MEMORY])
        written, shown = Signal(), Signal()  # the half of the pixels that is written, and that is read
        write_pixel = self.write & chosen[PIXELS_MEMORY]
        pixel = self._pixels(m, core, written, shown, write_pixel, written_words[PIXELS_MEMORY])
        answers = {
            SETTINGS_MEMORY: setting,
            CODE_MEMORY: read.data,
            DATA_MEMORY: ram.answer,
            PIXELS_MEMORY: pixel,
            COUNTERS_MEMORY: spent,
        }
        answer = Signal.like(bytes_in)
        m.d.comb += [
            answer.eq(Array(answers[memory.name] for memory in self.memories)[self.select]),
            self.answer.eq(answer.word_select(self.position, 8)),
        ]
        image = registered(m, core.addr >> self._half == PIXELS)
        m.d.comb += core.data.eq(Mux(image, pixel, ram.answer))

        done = self._results(m, core)
        held = Signal(range(IMAGES + 1))
        m.d.comb += [self.idle.eq(held == 0), self.room.eq(held != IMAGES)]
        m.d.sync += held.eq(held + self.commit - done)
        with m.If(~self.again):
            m.d.sync += [written.eq(written ^ self.commit), shown.eq(shown ^ done)]
        return m

    @property
    def _half(self) -> int:
        """Address bits of an image's bytes."""
        return ceil_log2(self.config.pixels) - 1

    def _pixels(
        self, m: Module, core: ScalarCore, written: Signal, shown: Signal, write: Value, pixel: Value
    ) -> Signal:
        """Make the memory of two images. Returns the byte that the core, or the host, has asked for."""
        m.submodules.pixels = pixels = sized_memory(PIXEL_BITS, self.config.pixels)
        to, at, own = pixels.write_port(), pixels.read_port(), Cat(self.address[: self._half], written)
        m.d.comb += [
            to.addr.eq(own),
            to.data.eq(pixel),
            to.en.eq(write),
            at.addr.eq(Mux(self.idle, own, Cat(core.addr[: self._half], shown ^ self.again))),
        ]
        return at.data

    def _results(self, m: Module, core: ScalarCore) -> Signal:
        """Run the core while there are images. Returns whether the last result of an image is being taken."""
        results, word, done = self.results, self.results.p.word, Signal()
        # The core's code waits for its results: their way to the link would be the longest path.
        waiting = skid_buffer(m, core.results)
        with m.FSM() as states:
            with m.State("REST"), m.If(~self.idle):
                m.d.comb += core.start.eq(1)
                m.next = "RUN"
            with m.State("RUN"), m.If(core.done):
                m.next = "DRAIN"
            with m.State("DRAIN"), m.If(~waiting.valid):
                m.next = "CYCLES"
            with m.State("CYCLES"):
                m.d.comb += [results.valid.eq(1), word.eq(core.cycles)]
                with m.If(results.ready):
                    m.next = "SATURATIONS"
            with m.State("SATURATIONS"):
                m.d.comb += [results.valid.eq(1), word.eq(core.saturations), results.p.last.eq(1)]
                with m.If(results.ready):
                    m.d.comb += done.eq(1)
                    m.next = "REST"
        with m.If(states.ongoing("RUN") | states.ongoing("DRAIN")):
            m.d.comb += [results.valid.eq(waiting.valid), word.eq(waiting.payload), results.p.answer.eq(1)]
            m.d.comb += waiting.ready.eq(results.ready)
        return done
