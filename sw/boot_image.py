"""The boot image of a model: it lies in a board's flash, so that the board is ready after power-up.

`hw/link/boot.py` says how it is laid out, and reads it.
"""

from haarlequin.hw.link.boot import IDENTITY_CRC_BYTES, LENGTH_BYTES, identity_crc
from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import ProtocolError, encode
from haarlequin.sw.devices.link import load_frames
from haarlequin.sw.table_folder import Compiled, TablesError

MOST_BYTES = (1 << 8 * LENGTH_BYTES) - 1


def boot_image(tables: Compiled) -> bytes:
    """The image that loads a model into its accelerator; raises `TablesError` where it would be too long,
    or where no accelerator can have the tables' memories.
    """
    try:
        frames = b"".join(map(encode, load_frames(tables)))
        crc = identity_crc(Identity(tables.digest, 1, tables.memories))
    except ProtocolError as error:
        raise TablesError(f"the tables are for no accelerator: {error}") from None
    if len(frames) > MOST_BYTES:
        raise TablesError(f"a boot image has at most {MOST_BYTES} bytes of frames, not {len(frames)}")
    return crc.to_bytes(IDENTITY_CRC_BYTES, "little") + len(frames).to_bytes(LENGTH_BYTES, "little") + frames
