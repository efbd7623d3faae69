import pytest

from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.protocol import ProtocolError
from haarlequin.models.common.errors import LONGEST, ConfigError, OneLine, UsageError, printable
from haarlequin.models.presets import preset
from haarlequin.sw.devices import DeviceError


def test_words_of_a_file_give_a_terminal_no_orders():
    assert printable("grün → \U0001f600") == "grün → \U0001f600"
    assert printable("a\x1b]0;x\7\n\x9b2J\u202e") == r"a\x1b]0;x\x07\n\x9b2J\u202e"


@pytest.mark.parametrize("kind", [UsageError, ConfigError, ProtocolError, DeviceError])
def test_every_message_is_one_line_whatever_it_quotes(kind):
    assert issubclass(kind, OneLine)
    assert str(kind("memory 'a\nb\x1b[2J' is unknown")) == r"memory 'a\nb\x1b[2J' is unknown"


def test_the_middle_of_a_long_message_is_left_out():
    whole = UsageError("x" * LONGEST)
    assert str(whole) == "x" * LONGEST
    cut = str(UsageError(f"cause {'x' * 10**6} remedy"))
    assert len(cut) == LONGEST
    assert cut.startswith("cause xxx")
    assert " … " in cut
    assert cut.endswith("xxx remedy")


def test_values_and_names_of_strangers():
    """Found with damaged files: a value of 5,000 letters, and a memory with a line break in its name."""
    with pytest.raises(ConfigError) as refused:
        preset("digits").with_(theta="x" * 5000)
    assert len(str(refused.value)) == LONGEST
    with pytest.raises(ProtocolError) as refused:
        Memory("a\nb", 0, 1)
    assert "\n" not in str(refused.value)
