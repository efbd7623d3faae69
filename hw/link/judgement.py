"""The link's judgement of frames: why one is refused, and what is wrong with a payload."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

from haarlequin.hw.link.protocol import COUNT_BITS, WAITS, ErrorCode, FrameType
from haarlequin.hw.link.receiver import FrameReceiver
from haarlequin.hw.link.words import Words


def refusal_of(
    m: Module, header: data.View, words: Words, *, sealed: Value, idle: Value, room: Value, image_bytes: Value
) -> Signal:
    """Why the frame with this header is refused, an ErrorCode or 0: 4 bits, in the same cycle.

    ``words`` has begun with the frame. The others are what `Link` says of them, ``room`` for an image's
    number, too.
    """
    refusal = Signal(4)
    with m.Switch(header.type):
        with m.Case(FrameType.LOAD, FrameType.READ):
            with m.If(~idle):
                m.d.comb += refusal.eq(ErrorCode.BUSY)
            with m.Elif(~words.inside | (header.detail >= len(words.memories))):
                m.d.comb += refusal.eq(ErrorCode.RANGE)
            with m.Elif(header.length == 0):
                m.d.comb += refusal.eq(ErrorCode.LENGTH)
        with m.Case(FrameType.IMAGE):
            with m.If(~sealed):
                m.d.comb += refusal.eq(ErrorCode.TABLES_DAMAGED)
            with m.Elif(header.length != image_bytes):
                m.d.comb += refusal.eq(ErrorCode.LENGTH)
            with m.Elif(~room & (header.detail != WAITS)):
                m.d.comb += refusal.eq(ErrorCode.FULL)
        with m.Case(FrameType.BENCH):
            with m.If(~sealed):
                m.d.comb += refusal.eq(ErrorCode.TABLES_DAMAGED)
            with m.Elif(~idle):
                m.d.comb += refusal.eq(ErrorCode.BUSY)
            with m.Elif((header.address == 0) | (header.address >> COUNT_BITS != 0)):
                m.d.comb += refusal.eq(ErrorCode.LENGTH)
        with m.Case(FrameType.IDENTIFY, FrameType.RESET, FrameType.SEAL):
            pass
        with m.Default():
            m.d.comb += refusal.eq(ErrorCode.TYPE)
    return refusal


def fault_of(m: Module, receiver: FrameReceiver, words: Words) -> Signal:
    """The fault of the payload that has ended, an ErrorCode or 0: 4 bits, in the same cycle."""
    fault = Signal(4)
    with m.If(receiver.cut):
        m.d.comb += fault.eq(ErrorCode.TIMEOUT)
    with m.Elif(~receiver.intact):
        m.d.comb += fault.eq(ErrorCode.CRC)
    with m.Elif(words.outside):
        m.d.comb += fault.eq(ErrorCode.RANGE)
    with m.Elif(words.position != 0):
        m.d.comb += fault.eq(ErrorCode.LENGTH)
    return fault
