"""The rule of every stream: once its payload is offered and not taken, it stays offered as it is.

Each block is proven by itself. The parts of it that have streams are cut out of it and may do what they like
within the rule; they are proven in their turn. A stream's valid never depends on itself within one cycle, so
that together the proofs hold for the whole machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from amaranth.hdl import Const, Elaboratable, Fragment, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Flow, In, Out

from haarlequin.hw.codes import ResultPart
from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.ends.pool import Pool
from haarlequin.hw.link.link import Link
from haarlequin.hw.link.protocol import FrameType
from haarlequin.hw.machine import Machine
from haarlequin.hw.scalar.core import ScalarCore
from tests.formal.design import Design, below, names


def streams(component: wiring.Component) -> Iterator[tuple[str, Flow, stream.Interface]]:
    """Every stream among a component's ports: its name, its flow as the component sees it, and itself."""
    for name, member in component.signature.members.items():
        if member.is_port or not isinstance(member.signature, stream.Signature):
            continue
        yield name, member.flow, getattr(component, name)


def always_ready(one: stream.Interface) -> bool:
    """Whether the stream is taken in every cycle by its signature: the rule says nothing then."""
    return isinstance(one.ready, Const)


def blocks(root: Elaboratable) -> dict[str, wiring.Component]:
    """One component of every class within ``root`` that has streams, by the name of the class."""
    with names():
        whole = Fragment.get(root, None)
    found = {}
    for part in below(whole):
        component = origin(part)
        if component is not None and any(True for _ in streams(component)):
            found.setdefault(type(component).__name__, component)
    return found


def origin(part: Fragment) -> wiring.Component | None:
    """The component that a fragment was made of, if it was one."""
    return next((each for each in part.origins or () if isinstance(each, wiring.Component)), None)


def broken(m: Module, one: stream.Interface, name: str) -> Signal:
    """High where ``one`` breaks the rule: a payload that waited a cycle before is gone or has changed."""
    waited, payload = Signal(name=f"{name}_waited"), Signal.like(Value.cast(one.payload), name=f"{name}_was")
    found = Signal(name=f"{name}_broken")
    m.d.sync += [waited.eq(one.valid & ~one.ready), payload.eq(one.payload)]
    m.d.comb += found.eq(waited & (~one.valid | (Value.cast(one.payload) != payload)))
    return found


KEPT = {"FrameSender": ("Link",), "ScalarCore": ("ScalarMachine",)}
"""Parts with streams that are not cut out of these blocks, whose streams depend on how those work."""


@dataclass(frozen=True)
class Precondition:
    """What a block relies on, beside the rules of the streams that it reads."""

    says: str
    holds: Callable[["StreamDesign", wiring.Component], Value]


def _pool(design: Design, pool: Pool) -> Value:
    return ~(registered(design.m, pool.enable) & pool.sums.valid)


def _machine(design: Design, machine: Machine) -> Value:
    finished, settings, part = (design.signal(name) for name in ("finished", "settings", "part"))
    clipped, answers = machine._head.clipped, data.View(machine._settings, settings).answers
    return (
        ~(machine._layers.done & finished)
        & (answers == design.before(answers))
        & (design.signal("by_token") == (answers != 0))
        & ((part != ResultPart.SATURATIONS) | (clipped == design.before(clipped)))
    )


def _core(design: Design, core: ScalarCore) -> Value:
    code_addr, instruction = core.code_addr, core.instruction
    same = design.before(code_addr) == design.before(design.before(code_addr))
    return ~same | (instruction == design.before(instruction))


def _link(design: Design, link: Link) -> Value:
    names = "frame__ready", "sending", "left"
    none, sending, left = (design.signal(f"sender.{name}") for name in names)
    owed = ~none & (sending == FrameType.RESULT) & (left != 0) & ~design.signal("aborted")
    return ~(link.idle & (owed | design.signal("sequences.r_rdy") | link.results.valid))


PRECONDITIONS = {
    "Link": Precondition("a machine without an image owes no word of a RESULT (`Machine.flying`)", _link),
    "Pool": Precondition("no token comes while sums wait (`wait_head` of the compiler's passes)", _pool),
    "Machine": Precondition(
        "an image ends only when the result before it was sent (`wait_head` of the "
        "compiler's passes), and settings hold still",
        _machine,
    ),
    "ScalarCore": Precondition("the code does not change while an image is computed", _core),
}
"""By the name of the block."""

MAY_CHANGE: dict[str, tuple[str, Callable[["StreamDesign"], Value]]] = {
    "Link: FrameSender.frame": ("a header is read only in the cycle that takes it", lambda design: Const(1)),
    "Link: FrameSender.payload": (
        "it counts from the cycle on that takes its header, to a RESET, which spoils the frame",
        lambda design: (
            design.before(design.signal("sender.frame__ready"))
            | design.before(design.component.reset)
            | design.signal("aborted")
        ),
    ),
    **{
        f"LineSwitch: to_send_{line}": (
            "another line comes into use",
            lambda design: design.signal("used") != design.before(design.signal("used")),
        )
        for line in range(2)
    },
}
"""Streams whose contract allows a payload that waits to change, and when."""


class StreamDesign(Design):
    """A block whose parts with streams are cut out, with a flag for each stream that it drives."""

    def __init__(self, component: wiring.Component):
        self.name = type(component).__name__
        self.parts: list[tuple[str, wiring.Component, bool]] = []
        self.vacuous: list[str] = []
        """Streams that it drives and that are always taken at once."""
        super().__init__(component, self._cut)
        self._streams("", component, In)
        for name, part, kept in self.parts:
            self._streams(f"{name}.", part, Out, not kept)
        kept = {name: part for name, part, kept in self.parts if kept} | {self.name: component}
        for name, block in kept.items():
            if name in PRECONDITIONS:
                self.assume(PRECONDITIONS[name].holds(self, block))

    def _cut(self, part: Fragment) -> bool:
        component = origin(part)
        if component is None or not any(True for _ in streams(component)):
            return False
        name = type(component).__name__
        kept = self.name in KEPT.get(name, ())
        self.parts.append((name, component, kept))
        return not kept

    def _streams(self, prefix: str, component: wiring.Component, keeps: Flow, assumed: bool = True) -> None:
        """Streams with the flow ``keeps`` keep the rule, all others must."""
        for name, flow, one in streams(component):
            path = f"{prefix}{name}"
            if always_ready(one):
                if flow is not keeps:
                    self.vacuous.append(path)
                continue
            found = broken(self.m, one, path.replace(".", "_"))
            if flow is not keeps:
                _, allowed = MAY_CHANGE.get(f"{self.name}: {path}", ("", None))
                if allowed is None:
                    self.never(path, found)
                elif isinstance(may := allowed(self), Const):
                    self.vacuous.append(path)
                else:
                    self.never(path, found & ~may)
            elif assumed:
                self.assume(~found)
