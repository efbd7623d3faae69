import zlib
from dataclasses import replace

import pytest

from haarlequin.hw.codes import Activation, Operand, OperationCode
from haarlequin.hw.config import FORMAT, ScalarConfig
from haarlequin.hw.lanes.loader import local_layout
from haarlequin.hw.pass_fields import lead_limit
from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.hw.program import constants_layout, group_slices, pass_layout, update_layout
from haarlequin.hw.scalar import isa
from haarlequin.hw.settings import settings_layout
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.widths import Widths

SMALL = CONFIGS["2x64"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 0}, "lanes must be a positive integer, not 0"),
        ({"weights": 1.5}, r"weights must be a positive integer, not 1\.5"),
        ({"lanes": 3}, "width must be even and a multiple of lanes: 64 for 3"),
        ({"lanes": 128}, "width must be even and a multiple of lanes: 64 for 128"),
        ({"lanes": 3, "width": 9}, "width must be even and a multiple of lanes: 9 for 3"),
        ({"bank_b": 768}, "bank_b must be a power of two, two regions, not 768"),
        (
            {"widths": Widths(offset=12, bias=8, slope=3, multiplier=2)},
            "offset must be narrower: four of 12 bits",
        ),
        ({"widths": Widths(affine_shift=(6, 8))}, "multiplier must have more than 11 bits"),
        ({"widths": Widths(slope_shift=(5, 10))}, "slope must have more than 6 bits"),
        ({"widths": Widths(affine_shift=(0, 0))}, "affine_shift must end at 1 at least"),
        ({"theta": 2}, "theta must be 1, 3 or 5, not 2"),
    ],
)
def test_an_illegal_configuration(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("name", "bits"), [("2x64", 16), ("16x64", 64), ("32x128", 64), ("64x128-large", 128)]
)
def test_v_takes_a_bit_for_each_token(name, bits):
    assert accelerator(name).value_bits == bits


@pytest.mark.parametrize(("lanes", "bits"), [(6, 42), (18, 54)])
def test_v_takes_whole_tiles(lanes, bits):
    assert replace(SMALL, lanes=lanes, width=54, max_tokens=40).value_bits == bits


@pytest.mark.parametrize("pixels", [0, 96, 1 << 15, 64.0])
def test_image_memory_of_a_scalar_machine(pixels):
    with pytest.raises(ConfigError, match="pixels must be a power of two, 2 to 16384, not"):
        replace(CONFIGS["scalar"], pixels=pixels)


@pytest.mark.parametrize("data", [0, (1 << 16) + 1, 64.0])
def test_data_memory_of_a_scalar_machine(data):
    with pytest.raises(ConfigError, match="data must be 1 to 65536 words, not"):
        replace(CONFIGS["scalar"], data=data)


def test_a_scalar_machine_counts_the_agreements_of_one_word():
    """That is what its rates and summaries compare with lanes."""
    assert (ScalarConfig.lanes, ScalarConfig.width) == (1, isa.WORD)


@pytest.mark.parametrize(("windows", "parts"), [(0, (0, 0, 0, 1, 1, 1)), (1, (0, 1, 2, 3, 4, 5))])
def test_every_chunk_of_a_word_has_a_bit_of_its_edge(windows, parts):
    machine = replace(SMALL, lanes=8, width=48, windows=windows)
    assert machine.edge_parts == parts


def test_each_has_a_digest_of_its_own():
    changed = replace(CONFIGS["scalar"], pixels=64)
    assert len({config.digest for config in (*CONFIGS.values(), changed)}) == len(CONFIGS) + 1


def test_a_format_of_tables_has_a_number():
    """Where this fails, tables do not mean what they did: raise `FORMAT` and put both new numbers here."""
    config = CONFIGS["8x64"]
    layouts = pass_layout, update_layout, settings_layout, constants_layout, local_layout
    words = [repr(layout(config)) for layout in layouts] + [repr(group_slices(config))]
    words += [
        repr([(code.name, code.value) for code in codes]) for codes in (Activation, Operand, OperationCode)
    ]
    fields = isa.OP, isa.R, isa.IMMEDIATE, tuple(kind.bits for kind in isa.Saturation), isa.PIXELS
    words += [
        repr((*fields, isa.memories(1, 1))),
        *(repr(list(names)) for names in (isa.Source, isa.Alu, isa.Control)),
    ]
    assert (FORMAT, zlib.crc32("".join(words).encode())) == (4, 0xE018E380)


def test_accelerators_with_a_name_are_what_they_were():
    """Where this fails, bitstreams that people have refuse the tables of now: if that is meant, put the new
    number here and a line into the changelog.
    """
    digests = [(name, config.digest) for name, config in CONFIGS.items()]
    assert zlib.crc32(repr(digests).encode()) == 1069414159


@pytest.mark.parametrize(("theta", "rows"), [(1, 1), (3, 1), (5, 2)])
def test_how_far_a_window_is_ahead_of_its_token(theta, rows):
    """Rows of the grid, and the tokens beside each: θ // 2, and one for a convolution of 3×3."""
    config = replace(CONFIGS["2x64"], theta=theta, max_columns=10)
    assert lead_limit(config) == rows * 11
