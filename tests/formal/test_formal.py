"""The quick proofs, and a planted fault for every kind, which must be refuted."""

import re
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.ends.pool import Pool
from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.words import Words
from tests.formal import receiver, thresholds
from tests.formal.allowed import MODULO
from tests.formal.design import Design
from tests.formal.engine import EngineError, Outcome, prove
from tests.formal.overflow import OverflowDesign
from tests.formal.properties import SkidBuffer, components, with_streams
from tests.formal.streams import PRECONDITIONS, StreamDesign
from tests.formal.sums import PREPARE, RELIES

pytestmark = pytest.mark.slow

HW = Path(__file__).resolve().parents[2] / "hw"


def outcomes(design: Design, folder: Path, arbitrary: bool = False) -> set[Outcome]:
    return {each.outcome for each in prove(design, folder, arbitrary, seconds=60)}


class Restless(wiring.Component):
    """Offers a number that goes on while it waits."""

    out: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.out.payload.eq(self.out.payload + 1)
        m.d.comb += self.out.valid.eq(1)
        return m


class Shy(wiring.Component):
    """Takes back what it offers once it waits."""

    source: In(stream.Signature(8))
    out: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        waited = Signal()
        m.d.sync += waited.eq(self.out.valid & ~self.out.ready)
        m.d.comb += [self.out.payload.eq(self.source.payload), self.out.valid.eq(self.source.valid & ~waited)]
        m.d.comb += self.source.ready.eq(self.out.ready & ~waited)
        return m


class NarrowPool(Pool):
    """Its sums have one bit too few."""

    def elaborate(self, platform):
        self._sum = signed(self._sum.width - 1)
        return super().elaborate(platform)


def never_late() -> Design:
    """A receiver whose time-out is cut off."""
    design = receiver.receiver()
    late = design.signal("late")
    comb = design.fragment.statements["comb"]
    comb[:] = [each for each in comb if late not in each._lhs_signals()]
    return design


PROOFS = {
    "stream": lambda: StreamDesign(SkidBuffer()),
    "stream with a precondition": lambda: StreamDesign(Pool(2, 12, 4)),
    "sum": lambda: OverflowDesign(Pool(1, 12, 4)),
    "counter": lambda: OverflowDesign(Words([Memory("a", 24, 5), Memory("b", 9, 3)])),
    "receiver": receiver.receiver,
    "counter's end": lambda: thresholds.counting(3),
    "rounding": thresholds.rounding,
}

FAULTS = {
    "a payload that changes while it waits": lambda: StreamDesign(Restless()),
    "a valid that falls while it waits": lambda: StreamDesign(Shy()),
    "a sum one bit too narrow": lambda: OverflowDesign(NarrowPool(1, 12, 4)),
    "a receiver that never times out": never_late,
    "a receiver that times out too late": lambda: receiver.receiver(timeout=2 * receiver.TIMEOUT),
    "a bound that is one cycle too short": lambda: receiver.receiver(receiver.BOUND - 1),
    "an end one off": lambda: thresholds.counting(3, off=1),
    "a saturation one off": lambda: thresholds.rounding(off=1),
    "a sign one off": lambda: thresholds.sign(off=1),
    "a softmax's bound one off": lambda: thresholds.softmax(off=1),
}


def any_state(name: str) -> bool:
    return "receiver" in name or "bound" in name or "sign" in name


@pytest.mark.parametrize("name", PROOFS)
def test_proven(name, tmp_path):
    assert outcomes(PROOFS[name](), tmp_path, any_state(name)) == {Outcome.PROVEN}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_refuted(name, tmp_path):
    assert Outcome.REFUTED in outcomes(FAULTS[name](), tmp_path, any_state(name))


def test_a_counterexample_is_told_cycle_by_cycle(tmp_path):
    design = StreamDesign(Shy())
    (verdict,) = prove(design, tmp_path)
    waits, *_ = verdict.cycles[-2:]
    assert waits["source__valid"] == 1
    assert waits["out__ready"] == 0


def test_assumptions_that_contradict_each_other_prove_nothing(tmp_path):
    design = StreamDesign(Shy())
    waits = design.component.out.valid & ~design.component.out.ready
    design.assume(waits)
    design.assume(~waits)
    with pytest.raises(EngineError, match="no run meets what is assumed"):
        prove(design, tmp_path)


def test_a_precondition_is_needed(tmp_path, monkeypatch):
    monkeypatch.delitem(PRECONDITIONS, "Pool")
    assert outcomes(StreamDesign(Pool(2, 12, 4)), tmp_path) == {Outcome.REFUTED}


def test_every_precondition_is_of_a_block():
    assert PRECONDITIONS.keys() <= with_streams().keys()
    assert RELIES.keys() == PREPARE.keys() <= components().keys()


def without_property(text: str, known: set[str]) -> set[str]:
    """The classes of a file that make a stream among their ports and have no property."""
    classes = re.split(r"^class (\w+)", text, flags=re.MULTILINE)[1:]
    made = {
        name for name, body in zip(classes[::2], classes[1::2], strict=True) if "stream.Signature(" in body
    }
    return made - known


UNPROVEN = {
    "TileBuffer": "a request is withdrawn when what is stored may have changed; its bench has both",
    "SpiSlave": "it has two clocks, which its bench runs at six ratios; what has one of them is proven alone",
    "FifoMaster": "it has two clocks; its bench is a chip that checks every cycle of its bus, at six ratios",
    "EthernetLine": "it has two clocks, which its bench runs at four ratios; what has one is proven alone",
    "UsbDevice": "it has two clocks, and LUNA's machine between them; its bench is a host at its wires",
    "UlpiDevice": "it has two clocks, and LUNA's machine between them; its bench is a host at its pins",
    "WeightStore": "the receiver of its words is always ready, and it is for simulation alone",
}
"""Blocks whose streams follow another rule."""


def test_every_stream_has_a_property():
    known = {*with_streams(), *UNPROVEN}
    for path in sorted(HW.rglob("*.py")):
        missing = without_property(path.read_text(encoding="utf-8"), known)
        assert not missing, f"{path}: this stream has no property: {', '.join(missing)}"
    assert without_property("class New(Component):\n    out: Out(stream.Signature(8))\n", known) == {"New"}


def test_every_assignment_that_may_wrap_is_there():
    """An entry that names none is out of date; one that is missing would be a flag to prove."""
    found = set()
    for component in components().values():
        found |= OverflowDesign(component).meant
    assert MODULO.keys() - found == set()
