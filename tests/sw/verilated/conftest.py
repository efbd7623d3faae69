import os
from pathlib import Path

import pytest

from haarlequin.sw.verilated.build import build
from tests.sw.verilated.loopback import Loopback


@pytest.fixture(scope="session")
def loopback(tmp_path_factory) -> Path:
    """The simulator of `Loopback`, one for all the workers."""
    base = tmp_path_factory.getbasetemp()
    return build(Loopback(), (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "loopback")
