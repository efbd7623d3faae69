import pytest

from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.sw.plan.limits import binary_weights, check
from tests.sw.plan.rows import network


@pytest.mark.parametrize("stages", ["/2 c32x4 a128x5", "p4 t64x3", "/2 a64x1w8", "/1 c16x2 c32x4 a64x3n"])
def test_networks_that_have_a_place(stages):
    check(network(stages))


@pytest.mark.parametrize(
    ("stages", "changes", "message"),
    [
        ("/2 a64x2s8", {}, "/2 a64x2s8: the machine cannot place shifted windows, in a64x2s8"),
        ("/2 c31x2", {}, "an odd number of channels, 31"),
        ("/2 a64x2", {"own": "learned"}, "the learned own term"),
        ("p4 t64x2", {"mlp_ratio": 16}, "an MLP of more than 8 repeats"),
        ("/1 a64x2", {}, "sums of 2120 signs, more than 2047"),
        ("/2 a128x2h1", {}, "a score's shift of 6, not 2 to 5, in a128x2h1"),
    ],
)
def test_what_has_none_is_named_in_a_line(stages, changes, message):
    with pytest.raises(UsageError) as refused:
        check(network(stages, **changes))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_has_no_integers_has_none():
    with pytest.raises(ConfigError, match="pre_norm"):
        check(network("/2 c32x4", pre_norm=True))


@pytest.mark.parametrize(
    ("stages", "megabits"), [("p4 t64x3", 0.17), ("/2 c32x4 a64x3", 0.23), ("/1 c16x2 c32x4 a64x3", 0.24)]
)
def test_binary_weights(stages, megabits):
    """NETWORK.md has these."""
    assert round(binary_weights(network(stages)) / 1e6, 2) == megabits
