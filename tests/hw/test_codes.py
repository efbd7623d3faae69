import pytest

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import pass_layout

LAYOUT = pass_layout(CONFIGS["2x64"])


@pytest.mark.parametrize(
    ("field", "code"), [("shortcut", Operand), ("activation", Activation), ("operation", OperationCode)]
)
def test_a_field_has_the_shape_of_its_code(field, code):
    assert LAYOUT[field].shape is code
    assert max(code) < 1 << LAYOUT[field].width
    assert len({*code}) == len(code.__members__)  # no two of the same number


@pytest.mark.parametrize("memory", SignMemory)
def test_a_sign_memory_has_its_fields_of_a_pass(memory):
    assert LAYOUT[memory.reads].width == LAYOUT["bits_base"].width
    assert LAYOUT[memory.writes].width == 1
    assert memory.activation.name == memory.name


def test_operations_as_people_read_them():
    """And as tables have them, in their manifest."""
    assert [code.title for code in OperationCode] == [
        "signs",
        "Haar",
        "queries and keys",
        "values",
        "scores",
        "context",
        "output",
        "expand",
        "reduce",
        "convolution",
        "merge",
        "head",
        "waiting",
        "late",
    ]
