import re
from dataclasses import replace
from itertools import pairwise

import pytest
from amaranth.lib.crc import catalog
from hypothesis import assume, given
from hypothesis import strategies as st

from haarlequin.hw.link import protocol
from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.protocol import (
    BENCHED,
    HEADER_BYTES,
    MAX_DEPTH,
    MAX_PAYLOAD,
    PAYLOAD,
    Decoder,
    ErrorCode,
    Frame,
    FrameType,
    ProtocolError,
    encode,
)
from haarlequin.models.common.places import ROOT

PAGE = ROOT / "docs" / "protocol.md"

IDENTITY = Identity(0x12345678, 48_000_000, (Memory("weights", 12, 0x20000), Memory("pixels", 8, 128)))

EXAMPLES = {
    "IDENTIFY": Frame(FrameType.IDENTIFY, 1),
    "IDENTITY": Frame(FrameType.IDENTITY, 1, payload=IDENTITY.encode()),
    "LOAD": Frame(FrameType.LOAD, 2, 0, 0x10203, IDENTITY.memories[0].pack([0xABC, 0x123])),
    "ACK": Frame(FrameType.ACK, 2),
    "READ": Frame(FrameType.READ, 3, 0, 0x10203, asked=4),
    "DATA": Frame(FrameType.DATA, 3, payload=bytes.fromhex("bc0a2301")),
    "SEAL": Frame(FrameType.SEAL, 4),
    "IMAGE": Frame(FrameType.IMAGE, 5, payload=bytes([0, 85, 170, 255])),
    "RESULT": Frame(FrameType.RESULT, 5, payload=bytes.fromhex("fefffffff3000000")),
    "BENCH": Frame(FrameType.BENCH, 6, address=1000),
    "BENCHED": Frame(FrameType.BENCHED, 6, payload=BENCHED.pack(243_210, -2000 % (1 << 32))),
    "RESET": Frame(FrameType.RESET, 7),
    "ERROR": Frame(FrameType.ERROR, 8, ErrorCode.FULL),
}


@st.composite
def frames(draw):
    kind = draw(st.sampled_from(FrameType))
    byte = st.integers(0, 255)
    payload = draw(st.binary(max_size=40)) if kind & PAYLOAD else b""
    asked = 0 if kind & PAYLOAD else draw(st.integers(0, MAX_PAYLOAD))
    return Frame(kind, draw(byte), draw(byte), draw(st.integers(0, MAX_DEPTH - 1)), payload, asked)


def split(data, cuts):
    """A stream in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def decode(pieces):
    decoder = Decoder()
    found = [frame for piece in pieces for frame in decoder.feed(piece)]
    return found + decoder.give_up()


CUTS = st.lists(st.integers(0, 1000), max_size=6)


@given(st.lists(frames(), max_size=5), CUTS)
def test_frames_come_back_whatever_pieces_they_come_in(sent, cuts):
    stream = b"".join(encode(frame) for frame in sent)
    decoder = Decoder()
    found = [frame for piece in split(stream, cuts) for frame in decoder.feed(piece)]
    assert found == sent
    assert decoder.give_up() == []


@given(frames())
def test_a_frame_comes_with_its_last_byte(frame):
    decoder, whole = Decoder(), encode(frame)
    assert decoder.feed(whole[:-1]) == []
    assert decoder.feed(whole[-1:]) == [frame]


GARBAGE = st.lists(st.one_of(st.just(protocol.SYNC), st.integers(0, 255)), max_size=30).map(bytes)


@st.composite
def damaged(draw):
    """What is left of a frame: a part, or all of it with a bit flipped."""
    whole = encode(draw(frames()))
    if draw(st.booleans()):
        return whole[: draw(st.integers(0, len(whole) - 1))]
    bit = draw(st.integers(0, 8 * len(whole) - 1))
    return bytes(byte ^ ((1 << bit % 8) if i == bit // 8 else 0) for i, byte in enumerate(whole))


@given(st.lists(st.one_of(frames(), GARBAGE, damaged()), max_size=8), CUTS)
def test_every_intact_frame_is_found(parts, cuts):
    wanted = [part for part in parts if isinstance(part, Frame)]
    # A CRC of 16 bits is right by chance, and hypothesis would find it.
    rubbish = b"".join(part for part in parts if not isinstance(part, Frame))
    assume(decode([rubbish]) == [])
    stream = b"".join(encode(part) if isinstance(part, Frame) else part for part in parts)
    assert decode(split(stream, cuts)) == wanted


@given(frames(), st.data())
def test_one_flipped_bit_is_always_noticed(frame, data):
    whole = bytearray(encode(frame))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert frame not in decode([bytes(whole)])


def test_a_type_that_nobody_knows_is_skipped():
    whole = bytearray(encode(Frame(FrameType.ACK)))
    whole[1] = 0x7F
    whole[HEADER_BYTES:] = protocol.crc(whole[1:HEADER_BYTES]).to_bytes(2, "big")
    assert decode([bytes(whole), encode(Frame(FrameType.ACK, 1))]) == [Frame(FrameType.ACK, 1)]


def test_what_is_behind_a_cut_frame_comes_when_it_is_given_up():
    decoder = Decoder()
    cut = encode(Frame(FrameType.RESULT, 1, payload=bytes(1000)))[:100]
    assert decoder.feed(cut + encode(Frame(FrameType.ACK, 2))) == []
    assert decoder.give_up() == [Frame(FrameType.ACK, 2)]
    assert decoder.feed(encode(Frame(FrameType.ACK, 3))) == [Frame(FrameType.ACK, 3)]


@given(st.binary(max_size=100))
def test_the_crc_is_the_catalogues(data):
    assert protocol.crc(data) == catalog.CRC16_IBM_3740(8).compute(data)


def test_the_largest_payload():
    frame = Frame(FrameType.LOAD, payload=bytes(MAX_PAYLOAD))
    assert decode([encode(frame)]) == [frame]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sequence": 256}, "LOAD: sequence must be 0 to 255, not 256"),
        ({"sequence": -1}, "LOAD: sequence must be 0 to 255, not -1"),
        ({"detail": 256}, "LOAD: detail must be 0 to 255, not 256"),
        ({"address": 1 << 24}, "LOAD: address must be 0 to 16777215, not 16777216"),
        ({"payload": bytes(1 << 24)}, "LOAD: payload must be at most 16777215 bytes, not 16777216"),
        ({"asked": 1}, "LOAD asks for nothing, not 1 bytes"),
        ({"type": FrameType.READ, "asked": 1 << 24}, "READ: asked must be 0 to 16777215, not 16777216"),
        ({"type": FrameType.READ, "payload": b"1"}, "READ takes no payload, not 1 bytes"),
    ],
)
def test_a_frame_that_there_cannot_be(fields, message):
    with pytest.raises(ProtocolError, match=message):
        Frame(**{"type": FrameType.LOAD} | fields)


@given(st.integers(1, 70), st.data())
def test_words_come_back(width, data):
    memory = Memory("words", width, 100)
    words = data.draw(st.lists(st.integers(0, (1 << width) - 1), max_size=5))
    packed = memory.pack(words)
    assert len(packed) == len(words) * memory.word_bytes
    assert memory.unpack(packed) == words
    # Bits beyond the width are nobody's.
    beyond = (0xFF << width) & ((1 << 8 * memory.word_bytes) - 1)
    assert memory.unpack(b"".join((w | beyond).to_bytes(memory.word_bytes, "little") for w in words)) == words


def test_a_memory_is_found_by_its_name():
    assert [IDENTITY.number(memory.name) for memory in IDENTITY.memories] == [0, 1]
    with pytest.raises(ProtocolError, match="there is no memory 'counters': there are weights, pixels"):
        IDENTITY.number("counters")


@pytest.mark.parametrize("word", [-1, 0x1000])
def test_a_word_that_is_too_wide(word):
    with pytest.raises(ProtocolError, match="memory weights: a word must have 12 bits, not"):
        IDENTITY.memories[0].pack([0, word])


def test_an_identity_comes_back():
    names = [Memory(chr(65 + i) * (1 + 16 * i), 1 + 4000 * i, 1 + 1_118_481 * i) for i in range(16)]
    for identity in (
        IDENTITY,
        Identity(0xFFFFFFFF, 0xFFFFFFFF, tuple(names)),
        Identity(0, 1, (Memory("m", 1, MAX_DEPTH),)),
    ):
        assert Identity.decode(identity.encode()) == identity


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "an identity must begin with version 2, not ''"),
        (replace(IDENTITY, version=1).encode(), "an identity must begin with version 2, not '01'"),
        (IDENTITY.encode()[:8], "not an identity: unpack_from requires"),
        (IDENTITY.encode()[:12], "not an identity: unpack_from requires"),
        (IDENTITY.encode()[:-1], "an identity of 37 bytes must not have 36"),
        (IDENTITY.encode() + b"x", "an identity of 37 bytes must not have 38"),
        (IDENTITY.encode().replace(b"w", b"\xff"), "not an identity: 'ascii' codec"),
    ],
)
def test_bytes_that_are_no_identity(payload, message):
    with pytest.raises(ProtocolError, match=message):
        Identity.decode(payload)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Memory("", 1, 1), "a memory's name must be 1 to 255 ASCII characters, not ''"),
        (lambda: Memory("é", 1, 1), "a memory's name must be 1 to 255 ASCII characters, not 'é'"),
        (lambda: Memory("m", 0, 1), "memory m: width must be 1 to 65535, not 0"),
        (lambda: Memory("m", 1, 1 + MAX_DEPTH), "memory m: depth must be 1 to 16777216, not 16777217"),
        (lambda: Memory("m", 1, 2.0), "memory m: depth must be 1 to 16777216, not 2.0"),
        (lambda: replace(IDENTITY, config_hash=-1), "config_hash must be 0 to 4294967295, not -1"),
        (lambda: replace(IDENTITY, clock_hz=48e6), "clock_hz must be 1 to 4294967295, not 48000000.0"),
        (lambda: replace(IDENTITY, version=256), "version must be 0 to 255, not 256"),
        (lambda: replace(IDENTITY, memories=()), "there must be 1 to 16 memories, not 0"),
        (
            lambda: replace(IDENTITY, memories=tuple(Memory(str(i), 1, 1) for i in range(17))),
            "there must be 1 to 16 memories, not 17",
        ),
        (
            lambda: replace(IDENTITY, memories=(Memory("m", 1, 1),) * 2),
            "memories must have names of their own, not m, m",
        ),
    ],
)
def test_an_identity_that_there_cannot_be(make, message):
    with pytest.raises(ProtocolError, match=re.escape(message)):
        make()


def hexadecimal(data):
    return " ".join(f"{byte:02x}" for byte in data)


def test_the_pages_examples():
    """Every type has one, and each is what it encodes to."""
    lines = re.findall(
        r"^    ([A-Z]+) +((?:[0-9a-f]{2} ?)+)((?:\n {5,}(?:[0-9a-f]{2} ?)+)*)$", PAGE.read_text(), re.M
    )
    found = {name: " ".join((first + rest).split()) for name, first, rest in lines}
    assert found == {name: hexadecimal(encode(frame)) for name, frame in EXAMPLES.items()}
    assert [frame.type.name for frame in EXAMPLES.values()] == list(EXAMPLES)
    assert set(EXAMPLES) == set(FrameType.__members__)


def test_the_pages_numbers():
    """Every type and every error code has its row."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` +\| +(0x[0-9a-f]{2}|\d) +\|", PAGE.read_text(), re.M))
    wanted = {kind.name: f"0x{kind:02x}" for kind in FrameType} | {
        code.name: str(int(code)) for code in ErrorCode
    }
    assert rows == wanted
