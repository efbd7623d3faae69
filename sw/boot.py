"""What lies in a board's flash so that it powers up ready: `hw/boot.py` takes the layout from here.

A boot image is a mark of the accelerator (4 bytes, lowest first), the length of the rest (3 bytes, lowest
first), and the very frames that a host would send: a LOAD for every piece of the tables, numbered from 0 on
modulo 256, and a SEAL, numbered on. Behind it may lie anything.
"""

import zlib
from dataclasses import replace

from sw.compiled import Compiled, TablesError
from sw.devices.link import load_frames
from sw.protocol import Identity, encode

MARK_BYTES = 4
LENGTH_BYTES = 3
MOST_BYTES = (1 << 8 * LENGTH_BYTES) - 1


def mark(identity: Identity) -> int:
    """Of accelerators with that configuration and those memories, whatever their clock: a CRC-32."""
    return zlib.crc32(replace(identity, clock_hz=1).encode())


def boot_image(tables: Compiled) -> bytes:
    """The image that fills an accelerator with a model; raises `TablesError` where its length has no room."""
    frames = b"".join(map(encode, load_frames(tables)))
    if len(frames) > MOST_BYTES:
        raise TablesError(f"a boot image has at most {MOST_BYTES} bytes of frames, not {len(frames)}")
    whose = mark(Identity(tables.digest, 1, tables.memories))
    return whose.to_bytes(MARK_BYTES, "little") + len(frames).to_bytes(LENGTH_BYTES, "little") + frames
