from dataclasses import replace

import pytest

from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import Decoder
from haarlequin.sw.boot_image import boot_image, identity_crc
from haarlequin.sw.devices.link import load_frames
from haarlequin.sw.table_folder import TablesError
from tests.sw.devices.fake import DIGEST, MEMORIES, TABLES


def test_an_image_is_a_mark_a_length_and_a_hosts_frames():
    image = boot_image(TABLES)
    assert int.from_bytes(image[:4], "little") == identity_crc(Identity(DIGEST, 48_000_000, MEMORIES))
    assert int.from_bytes(image[4:7], "little") == len(image) - 7
    decoder = Decoder()
    assert decoder.feed(image[7:]) == load_frames(TABLES)
    assert decoder.give_up() == []


def test_a_mark_is_an_accelerators_own():
    """Whatever its clock is, but for its configuration and its memories."""
    identity = Identity(DIGEST, 48_000_000, MEMORIES)
    assert identity_crc(replace(identity, clock_hz=1)) == identity_crc(identity)
    deeper = (replace(MEMORIES[0], depth=5), *MEMORIES[1:])
    others = [replace(identity, config_hash=DIGEST + 1), replace(identity, memories=deeper)]
    assert len({identity_crc(other) for other in [identity, *others]}) == 3
    assert identity_crc(identity) not in (0, 0xFFFFFFFF)


def test_an_image_that_is_too_long(monkeypatch):
    size = len(boot_image(TABLES)) - 7
    monkeypatch.setattr("haarlequin.sw.boot_image.MOST_BYTES", size)
    assert len(boot_image(TABLES)) == size + 7
    monkeypatch.setattr("haarlequin.sw.boot_image.MOST_BYTES", size - 1)
    with pytest.raises(TablesError, match=f"at most {size - 1} bytes of frames, not {size}"):
        boot_image(TABLES)


def test_tables_of_an_accelerator_that_cannot_be():
    """Found with damaged files: a digest of more than 32 bits was a traceback."""
    with pytest.raises(TablesError, match="for no accelerator: config_hash must be 0 to 4294967295"):
        boot_image(replace(TABLES, digest=1 << 32))
    with pytest.raises(TablesError, match="for no accelerator: there must be 1 to 16 memories, not 0"):
        boot_image(replace(TABLES, memories=(), words={}))
