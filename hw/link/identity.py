"""The description that an accelerator gives of itself: its configuration, its clock, and its memories."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from haarlequin.hw.link.protocol import MAX_DEPTH, MAX_MEMORIES, MAX_WIDTH, VERSION, ProtocolError

_IDENTITY = struct.Struct("<BIIB")  # version, configuration's hash, clock in Hz, number of memories
_MEMORY = struct.Struct("<HIB")  # width, depth, length of the name that follows


@dataclass(frozen=True)
class Memory:
    """One memory that the host can reach: ``depth`` words of ``width`` bits."""

    name: str
    width: int
    depth: int

    def __post_init__(self):
        if not (self.name.isascii() and 1 <= len(self.name) <= 255):
            raise ProtocolError(f"a memory's name must be 1 to 255 ASCII characters, not {self.name!r}")
        for name, limit in (("width", MAX_WIDTH), ("depth", MAX_DEPTH)):
            value = getattr(self, name)
            if not (type(value) is int and 1 <= value <= limit):
                raise ProtocolError(f"memory {self.name}: {name} must be 1 to {limit}, not {value!r}")

    @property
    def word_bytes(self) -> int:
        """The number of bytes that a word takes in a payload."""
        return -(-self.width // 8)

    def pack(self, words: Iterable[int]) -> bytes:
        """The payload of a LOAD with these words. Raises `ProtocolError` for a word that is too wide."""
        packed = bytearray()
        for word in words:
            if not 0 <= word < 1 << self.width:
                raise ProtocolError(f"memory {self.name}: a word must have {self.width} bits, not {word:#x}")
            packed += word.to_bytes(self.word_bytes, "little")
        return bytes(packed)

    def unpack(self, payload: bytes) -> list[int]:
        """The words in the payload of a DATA frame, without the bits beyond their width."""
        size, mask = self.word_bytes, (1 << self.width) - 1
        words = (payload[i : i + size] for i in range(0, len(payload), size))
        return [int.from_bytes(word, "little") & mask for word in words]


def numbers(memories: Sequence[Memory]) -> dict[str, int]:
    """The number of each memory by its name. Frames and the machine's bus select a memory by its number."""
    return {memory.name: number for number, memory in enumerate(memories)}


@dataclass(frozen=True)
class Identity:
    """The description that an accelerator gives of itself, which is the payload of IDENTITY.

    The index of a memory in ``memories`` is its number.
    """

    config_hash: int
    clock_hz: int
    memories: tuple[Memory, ...]
    version: int = VERSION

    def __post_init__(self):
        limits = {"config_hash": (0, 0xFFFFFFFF), "clock_hz": (1, 0xFFFFFFFF), "version": (0, 0xFF)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (type(value) is int and low <= value <= high):
                raise ProtocolError(f"{name} must be {low} to {high}, not {value!r}")
        names = [memory.name for memory in self.memories]
        if not 1 <= len(names) <= MAX_MEMORIES:
            raise ProtocolError(f"there must be 1 to {MAX_MEMORIES} memories, not {len(names)}")
        if len(set(names)) != len(names):
            raise ProtocolError(f"memories must have names of their own, not {', '.join(names)}")

    def number(self, name: str) -> int:
        """The number of the memory of that name. Raises `ProtocolError` if there is none."""
        known = numbers(self.memories)
        if name not in known:
            raise ProtocolError(f"there is no memory {name!r}: there are {', '.join(known)}")
        return known[name]

    def encode(self) -> bytes:
        """The identity as a payload."""
        encoded = _IDENTITY.pack(self.version, self.config_hash, self.clock_hz, len(self.memories))
        for memory in self.memories:
            name = memory.name.encode("ascii")
            encoded += _MEMORY.pack(memory.width, memory.depth, len(name)) + name
        return encoded

    @classmethod
    def decode(cls, payload: bytes) -> "Identity":
        """The identity in a payload. Raises `ProtocolError` for another version, or for anything else."""
        if payload[:1] != bytes([VERSION]):
            raise ProtocolError(f"an identity must begin with version {VERSION}, not {payload[:1].hex()!r}")
        try:
            version, config_hash, clock_hz, count = _IDENTITY.unpack_from(payload)
            memories, at = [], _IDENTITY.size
            for _ in range(count):
                width, depth, length = _MEMORY.unpack_from(payload, at)
                at += _MEMORY.size
                memories.append(Memory(payload[at : at + length].decode("ascii"), width, depth))
                at += length
        except (struct.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"not an identity: {error}") from None
        if at != len(payload):
            raise ProtocolError(f"an identity of {at} bytes must not have {len(payload)}")
        return cls(config_hash, clock_hz, tuple(memories), version)
