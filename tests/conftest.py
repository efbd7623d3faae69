"""`make check` does not import modules whose tests are all slow: that takes longer than its tests."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from haarlequin.models.common import ledger
from haarlequin.models.common.places import build_folder, tool_variables

# For `make mutate`: whether a test fails, not on which of the smallest inputs.
settings.register_profile("mutate", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])

# A command that runs within a test leaves the caches that it chose, which may be a folder of that test alone.
os.environ.update(tool_variables())

ALL_SLOW = "\npytestmark = pytest.mark.slow\n"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return ALL_SLOW in collection_path.read_text(encoding="utf-8") or None


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    """Keep the result of a run of all tests for the page of `make report`."""
    chosen = config.option.keyword or config.option.markexpr or config.option.collectonly
    if chosen or [*config.args] != config.getini("testpaths"):
        return
    counts = {
        kind: len(terminalreporter.getreports(kind)) for kind in ("passed", "failed", "error", "skipped")
    }
    says = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    ledger.write("test", "make test", exitstatus == 0, says)


OWN = build_folder().absolute()


@pytest.fixture(autouse=True)
def no_result_of_a_test(monkeypatch):
    """A command that a test runs in the build folder of this run leaves no result there."""
    write = ledger.write

    def outside(*arguments):
        if build_folder().absolute() != OWN:
            write(*arguments)

    monkeypatch.setattr(ledger, "write", outside)


@pytest.fixture(scope="session")
def loopback(tmp_path_factory) -> Path:
    """The simulator of `Loopback`, one for all the workers."""
    from haarlequin.sw.verilated.build import build
    from tests.sw.verilated.loopback import Loopback

    base = tmp_path_factory.getbasetemp()
    return build(Loopback(), (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "loopback")
