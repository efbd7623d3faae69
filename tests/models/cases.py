"""Cases for tests of configurations: their ids, and any JSON."""

from hypothesis import strategies as st

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1é", max_size=3),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text("a1é", max_size=3), values, max_size=2)
    ),
    max_leaves=5,
)


def case_id(case):
    """The id of a dict of changes; messages have none."""
    if isinstance(case, str):
        return ""
    return ",".join(f"{name}={str(value)[:24]}:{type(value).__name__}" for name, value in case.items())


def makes_a_config_or_a_config_error(make):
    """Whatever is legal also survives JSON, and its derived figures can be computed."""
    try:
        config = make()
    except ConfigError:
        return
    assert ModelConfig.from_json(config.to_json()) == config
    assert round(config.score_scale) < 1 << config.widths.score_weight
    assert config.embedding_acc_shift >= 0
