"""The machine without its link: memories that the host loads, images in, results out."""

import gc
import warnings
from functools import cache

from amaranth.hdl import Array, Cat, Module, Mux, ShapeLike, Signal, UnusedElaboratable, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.common.counters import COUNTER_BITS, Counters
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.common.host_bus import HostBus
from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.answers import Answers
from haarlequin.hw.ends.head import Head
from haarlequin.hw.ends.images import Images
from haarlequin.hw.ends.results import image_answers, send_results
from haarlequin.hw.lanes.layers import Layers
from haarlequin.hw.lanes.trace import trace_layout
from haarlequin.hw.link.identity import Memory, numbers
from haarlequin.hw.link.ports import machine_ports
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, PIXELS_MEMORY, SETTINGS_MEMORY
from haarlequin.hw.settings import SETTINGS_WORD, settings_layout


@cache
def memories(config: AcceleratorConfig) -> tuple[Memory, ...]:
    """The memories of a machine that the host can reach, by number, without building the machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        found = Machine(config).memories
        gc.collect()  # deletes the machine while the warning is off that it was never elaborated
    return found


class Machine(wiring.Component):
    """The lanes, embedding, head and memories, ready to be connected to a link.

    The host's bus does one write or read per cycle. It may be used only while ``idle`` is high, except that
    counters may be read at any time, and pixels may be written while ``room`` is high.

    Parameters
    ----------
    config : AcceleratorConfig
        The sizes of the machine.

    Members
    -------
    select : In
        The number of a memory in `memories`.
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
        Reads the word.
    answer : Out(8)
        The byte at ``position`` of the word that was read, `answer_latency` cycles after ``read``. Until then
        ``select``, ``address`` and ``position`` must not change.
    idle : Out(1)
        No image is in the machine.
    room : Out(1)
        The machine can take another image.
    image_bytes : Out(LENGTH_BITS)
        The number of bytes of an image, from the settings.
    commit : In(1)
        Hands over the image whose pixels were written; allowed while ``room`` is high.
    again : In(1)
        While it is high, ``commit`` hands over the image of the last ``commit`` before it once more. It may
        change only while ``idle`` is high.
    results : Out(stream.Signature(RESULT))
        For each image its logits, or the answers of its tokens, then its cycles, then its saturations.
    result_words : Out(16)
        The number of these words.
    trace : Out
        The words that layers, embedding and pooling write, for verification, and when passes, loads and the
        embedding begin. ``embed`` comes in the first cycle of an image's embedding, with ``embed_begins``
        high, and in the cycle after the last.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        w = config.widths
        self._layers, self._images = Layers(config), Images(config)
        self._answers = None
        if config.answers:
            self._answers = Answers(w.wide, config.max_tokens, config.max_classes, config.answers)
        self._head = Head(w, config.max_tokens, config.max_channels, config.max_classes)
        self._settings = settings_layout(config)
        head, images = self._head, self._images
        self._tables = self._layers.tables | {
            PIXELS_MEMORY: images.pixels,
            "patch weights": images.weights,
            "embedding": images.constants,
            "positions": images.positions,
            "head": head.constants,
            "head weights": head.weights,
            "head biases": head.biases,
        }
        tables = [
            Memory(name, _bits(t.signature.shape), t.signature.depth) for name, t in self._tables.items()
        ]
        counters = Memory(COUNTERS_MEMORY, COUNTER_BITS, len(OperationCode))
        settings = Memory(SETTINGS_MEMORY, SETTINGS_WORD, -(-self._settings.size // SETTINGS_WORD))
        self.memories = settings, *tables, counters
        """The memories that the host can reach, by number. Counters can only be read."""
        number = numbers(self.memories)
        # Pixels come while images are computed: they are the first.
        order = sorted(tables, key=lambda memory: memory.name != PIXELS_MEMORY)
        stations = {number[one.name]: self._tables[one.name].signature.flip() for one in order}
        self._bus = HostBus(stations, len(self.memories))
        wide = data.ArrayLayout(signed(w.wide), config.lanes)
        sums = head.signature.members["sums"].signature.members["payload"].shape
        trace = {name: field.shape for name, field in trace_layout(config)}
        trace |= {
            "x_valid": 1,
            "x_address": len(self._images.address),
            "x": wide,
            "embed_valid": 1,
            "embed_begins": 1,
            "sum_valid": 1,
            "sum": sums,
        }
        super().__init__(machine_ports(self.memories) | {"trace": Out(data.StructLayout(trace))})

    @property
    def answer_latency(self) -> int:
        """Cycles from ``read`` to ``answer``."""
        return 1 + self._bus.latency

    def elaborate(self, platform):
        m = Module()
        layers, images, head = self._layers, self._images, self._head
        m.submodules.layers, m.submodules.images, m.submodules.head = layers, images, head
        if self._answers:
            m.submodules.answers = self._answers
        settings = self._host(m)
        m.d.comb += [
            layers.settings.eq(settings),
            images.settings.eq(settings),
            head.dim.eq(settings.head_dim),
            head.classes.eq(settings.classes),
            head.shift.eq(settings.head_shift),
            self.image_bytes.eq(streamed(m, settings.image_bytes)),
            self.result_words.eq(streamed(m, settings.result_words)),
            # Images go into the layers, and sums into the head.
            images.commit.eq(self.commit),
            images.again.eq(self.again),
            self.room.eq(images.room),
            layers.start.eq(images.waiting),
            images.begin.eq(layers.begin),
            images.done.eq(layers.done),
            layers.region.eq(images.region),
            layers.x_valid.eq(images.valid),
            layers.x_address.eq(images.address),
            layers.x.eq(images.word),
            images.ready.eq(layers.x_ready),
        ]
        # The link's checksum is on the other side of it, and the answers come a long way.
        results = stream.Signature(self.results.payload.shape()).create()
        wiring.connect(m, skid_buffer(m, results), wiring.flipped(self.results))
        answers = image_answers(m, layers.sums, settings, head, self._answers)
        send_results(m, results, self.result_words, answers, settings, layers, images, head)
        flying = Signal(4)
        gone = self.results.valid & self.results.ready & self.results.p.last
        m.d.sync += flying.eq(flying + self.commit - gone)
        m.d.comb += self.idle.eq(flying == 0)
        for name, _ in layers.trace.shape():
            m.d.comb += self.trace[name].eq(layers.trace[name])
        m.d.comb += [
            self.trace.x_valid.eq(images.valid & images.ready),
            self.trace.x_address.eq(images.address),
            self.trace.x.eq(images.word),
            self.trace.embed_valid.eq(images.busy ^ registered(m, images.busy)),
            self.trace.embed_begins.eq(images.busy),
            self.trace.sum_valid.eq(layers.sums.valid & layers.sums.ready),
            self.trace.sum.eq(layers.sums.payload),
        ]
        return m

    def _host(self, m: Module) -> data.View:
        """Connect the host's bus to the memories. Returns the settings."""
        # They have no reset, so that they keep their values after a RESET, like all that the host loads.
        settings = Signal(self._settings, reset_less=True)
        m.submodules.counters = counters = Counters(len(OperationCode), COUNTER_BITS)
        number = numbers(self.memories)
        bits = Value.cast(settings)
        parts = [bits[first : first + SETTINGS_WORD] for first in range(0, len(bits), SETTINGS_WORD)]
        # The bus waits in a register, because it comes from the link's other end.
        ports = self.select, self.address, self.byte, self.take, self.write, self.position, self.read
        select, address, byte, take, write, position, read = (registered(m, port) for port in ports)
        word = Signal(SETTINGS_WORD, reset_less=True)
        with m.If(take):
            m.d.sync += word.eq(Cat(word[8:], byte))
        for at, part in enumerate(parts):
            here = self.write & (self.select == number[SETTINGS_MEMORY]) & (self.address == at)
            with m.If(registered(m, here)):
                m.d.sync += part.eq(word)
        second_half = (select == number[PIXELS_MEMORY]) & self._images.half
        m.submodules.bus = bus = self._bus
        m.d.comb += [
            bus.select.eq(select),
            bus.address.eq(address + Mux(second_half, self.config.pixels // 2, 0)),
            bus.byte.eq(byte),
            bus.take.eq(take),
            bus.write.eq(write),
            bus.position.eq(position),
            bus.read.eq(read),
            self._images.hold.eq(bus.busy),
            self.answer.eq(bus.answer),
        ]
        for name, table in self._tables.items():
            wiring.connect(m, getattr(bus, f"table_{number[name]}"), table)
        # It is counted a cycle late, because it comes from the program's word, and the counters are slow.
        operation = Signal(OperationCode, init=OperationCode.WAITING)
        m.d.sync += operation.eq(self._layers.operation)
        m.d.comb += [counters.index.eq(operation), counters.addr.eq(address)]
        of_settings = registered(m, Array(parts)[address[: ceil_log2(len(parts))]])
        counted = registered(m, select == number[COUNTERS_MEMORY])
        answer = Mux(counted, counters.answer, of_settings)
        m.d.comb += bus.before.eq(registered(m, answer.word_select(position, 8)))
        return settings


def _bits(shape: ShapeLike) -> int:
    """The width of a shape."""
    return Value.cast(Signal(shape)).shape().width
