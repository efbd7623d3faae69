"""`make check` does not import modules whose tests are all slow: that takes longer than its tests."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from haarlequin.models.common.places import tool_variables

# For `make mutate`: whether a test fails, not on which of the smallest inputs.
settings.register_profile("mutate", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])

# A command that runs within a test leaves the caches that it chose, which may be a folder of that test alone.
os.environ.update(tool_variables())

ALL_SLOW = "\npytestmark = pytest.mark.slow\n"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return ALL_SLOW in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session")
def loopback(tmp_path_factory) -> Path:
    """The simulator of `Loopback`, one for all the workers."""
    from haarlequin.sw.verilated.build import build
    from tests.sw.verilated.loopback import Loopback

    base = tmp_path_factory.getbasetemp()
    return build(Loopback(), (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "loopback")
