"""A plugin of pytest, `-p tests.coverage.benches`: which statements each simulated bench comes to.

Every process writes what it has found into a file of the folder ``$COVERAGE_FOLDER`` when it ends.
"""

import json
import os
from pathlib import Path

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from tests.coverage.rtl import Branch, Lines, instrument

FOUND = Lines()
_simulations: list[tuple[Simulator, list[Branch]]] = []
"""The simulations that the present test has made, each with its branches."""
_make = Simulator.__init__


def _instrumented(self: Simulator, toplevel, **options) -> None:
    fragment = Fragment.get(toplevel, platform=None)
    branches, always = instrument(fragment)
    FOUND.add(Lines(always, always))
    _simulations.append((self, branches))
    _make(self, fragment, **options)


def pytest_configure(config: pytest.Config) -> None:
    Simulator.__init__ = _instrumented


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    for simulator, branches in _simulations:
        state = simulator._engine._state
        for branch in branches:
            FOUND.known |= branch.lines
            if state.slots[state.get_signal(branch.covered)].curr:
                FOUND.covered |= branch.lines
    _simulations.clear()


def pytest_sessionfinish(session: pytest.Session) -> None:
    folder = Path(os.environ["COVERAGE_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"known": sorted(FOUND.known), "covered": sorted(FOUND.covered)}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(facts), encoding="utf-8")
