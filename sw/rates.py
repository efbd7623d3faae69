"""The rates of a trained model on an accelerator: cycles, images and operations in a second, and its line.

All of them are computed from the compiled tables and from the frames of the protocol, not measured. The
commands and the tables of docs/ take them from here. ``model`` is the name of a model of the zoo, ``config``
that of an accelerator.
"""

from functools import cache

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.head import Head
from haarlequin.hw.link.ethernet.datagrams import TO_BOARD, pieces
from haarlequin.hw.link.ethernet.rgmii import ETHERNET_HZ
from haarlequin.hw.link.protocol import RESULT_BYTES, Frame, FrameType, encode
from haarlequin.hw.link.usb_ids import HIGH_SPEED_PACKET, PACKET
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import PRESETS
from haarlequin.sw import answers
from haarlequin.sw.compiler.resources import bit_macs, embedding_cycles
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.table_folder import Compiled

PACKETS_PER_SECOND = 19_000
"""Packets of 64 bytes that USB carries at full speed (USB 2.0, table 5-9: 19 in a millisecond)."""

HIGH_SPEED_PACKETS_PER_SECOND = 104_000
"""Packets of 512 bytes that it carries at high speed (table 5-10: 13 in each of 8 microframes)."""

FIFO_BYTES_PER_SECOND = 40e6
"""Bytes that an FT232H carries in its synchronous FIFO mode (DS_FT232H, section 1: up to 40 Mbytes/s). Its
bus has 60 million cycles for them."""

DATAGRAM_BYTES = 8 + 14 + 20 + 8 + TO_BOARD.size + 4 + 12
"""Bytes on the line for a datagram, beside those of the link: preamble, the headers of Ethernet, IPv4 and
UDP, the datagram's own, the check sequence, and the gap to the next frame."""

BITS_OF_A_BYTE = 10
"""On a UART: a start bit, eight of data, a stop bit."""


@cache
def tables(model: str, config: str) -> Compiled:
    """The tables of a model; they are kept from an earlier start, if nothing has changed.

    Raises `DoesNotFit` where the accelerator is too small.
    """
    return ModelSource(model).compiled(CONFIGS[config].digest).placed


def cycles(model: str, config: str) -> int:
    """Cycles from one image's beginning to the next one's.

    On lanes the next image's embedding runs beside the layers, and the slower of the two counts.
    """
    machine, took = CONFIGS[config], tables(model, config).cycles
    if isinstance(machine, AcceleratorConfig):
        return max(took, embedding_cycles(PRESETS[model], machine))
    return took


def latency_cycles(model: str, config: str) -> int:
    """Cycles from a whole image to the last word of its answer, if no other image is before it: those of its
    embedding, of its layers and of the head.

    The accelerator takes 17 or 18 more on lanes, in which its parts begin one after the other.
    """
    machine, source, took = CONFIGS[config], PRESETS[model], tables(model, config).cycles
    if not isinstance(machine, AcceleratorConfig):
        return took  # one core does all of it
    head = 0 if source.segmentation else Head.cycles(source.stages[-1].dim, len(source.classes))
    return embedding_cycles(source, machine) + took + head


def operations(model: str, config: str) -> dict[str, tuple[int, float]]:
    """By the name of an operation, its cycles of an image, and how busy the lanes are: the share of the bit
    products that they could make meanwhile. Operations without cycles are left out.
    """
    machine, took = CONFIGS[config], tables(model, config).operations
    products = {code.title: count for code, count in bit_macs(PRESETS[model]).items()}
    if not isinstance(machine, AcceleratorConfig):  # its firmware does all
        products = dict.fromkeys(took, sum(products.values()))
    ideal = {name: products.get(name, 0) / (machine.lanes * machine.width) for name in took}
    return {name: (count, ideal[name] / count) for name, count in took.items() if count}


def frame_bytes(model: ModelConfig) -> dict[str, int]:
    """Bytes on the line for one image: of its IMAGE frame to the board, of its RESULT frame from it."""
    pixels = model.image[0] * model.image[1] * model.channels
    words = answers.words(model, whole=False) + answers.COUNTERS
    return {
        "image": len(encode(Frame(FrameType.IMAGE, payload=bytes(pixels)))),
        "result": len(encode(Frame(FrameType.RESULT, payload=bytes(RESULT_BYTES * words)))),
    }


def line_images_per_second(model: ModelConfig, baud: int) -> float:
    """The most images in a second that a serial line carries.

    Both directions work at once, so the larger frame decides; what the host and its USB add is not counted.
    """
    return baud / BITS_OF_A_BYTE / max(frame_bytes(model).values())


def spi_images_per_second(model: ModelConfig, hertz: float) -> float:
    """The most images in a second that an SPI bus carries, on the same terms; no byte is stuffed on the way
    to the accelerator."""
    return hertz / 8 / max(frame_bytes(model).values())


def fifo_images_per_second(model: ModelConfig) -> float:
    """The most images in a second that the synchronous FIFO of an FT232H carries, one direction at a time."""
    return FIFO_BYTES_PER_SECOND / sum(frame_bytes(model).values())


def usb_images_per_second(model: ModelConfig, high_speed: bool = False) -> float:
    """The most images in a second that USB carries, both frames in packets of their own."""
    packet = HIGH_SPEED_PACKET if high_speed else PACKET
    packets = sum(-(-size // packet) for size in frame_bytes(model).values())
    return (HIGH_SPEED_PACKETS_PER_SECOND if high_speed else PACKETS_PER_SECOND) / packets


def udp_images_per_second(model: ModelConfig) -> float:
    """The most images in a second that a gigabit carries in datagrams, both directions at once."""
    size = max(frame_bytes(model).values())
    return ETHERNET_HZ / (size + len([*pieces(bytes(size))]) * DATAGRAM_BYTES)


def images_per_second(model: str, config: str, clock_hz: float, baud: int) -> tuple[float, float]:
    """Images in a second that the accelerator computes, and those that come through its line."""
    computed = clock_hz / cycles(model, config)
    return computed, min(computed, line_images_per_second(PRESETS[model], baud))


def latency(model: str, config: str, clock_hz: float, baud: int) -> float:
    """Seconds from the first bit of an image's frame to the last bit of its result's, if no other image is
    before it: the line's time for both frames, and `latency_cycles`.

    The head's cycles count in full, although the result's frame begins with the first word that is ready.
    What the host and its USB add is not counted.
    """
    line = BITS_OF_A_BYTE * sum(frame_bytes(PRESETS[model]).values()) / baud
    return line + latency_cycles(model, config) / clock_hz


def giga_operations(model: str, images: float) -> float:
    """10⁹ operations in a second, two for each binary product, where ``images`` are computed in a second."""
    return 2e-9 * images * sum(bit_macs(PRESETS[model]).values())
