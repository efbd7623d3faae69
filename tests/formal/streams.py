"""The rule of every stream: once its payload is offered and not taken, it stays offered as it is.

Each block is proven by itself. The parts of it that have streams are cut out of it and may do what they like
within the rule; they are proven in their turn. A stream's valid never depends on itself within one cycle, so
that together the proofs hold for the whole machine.
"""

from collections.abc import Callable, Iterator

from amaranth.hdl import Const, Elaboratable, Fragment, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from tests.formal.design import Design, below, names


def streams(component: wiring.Component) -> Iterator[tuple[str, bool, stream.Interface]]:
    """Every stream among a component's ports: its name, whether the component reads it, and itself."""
    for name, member in component.signature.members.items():
        if member.is_port or not isinstance(member.signature, stream.Signature):
            continue
        yield name, member.flow is In, getattr(component, name)


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
    """High where ``one`` breaks the rule: a payload that waited in the cycle before is gone or has changed."""
    waited, payload = Signal(name=f"{name}_waited"), Signal.like(Value.cast(one.payload), name=f"{name}_was")
    found = Signal(name=f"{name}_broken")
    m.d.sync += [waited.eq(one.valid & ~one.ready), payload.eq(one.payload)]
    m.d.comb += found.eq(waited & (~one.valid | (Value.cast(one.payload) != payload)))
    return found


class StreamDesign(Design):
    """A block whose parts with streams are cut out, with a flag for each stream that it drives."""

    def __init__(self, component: wiring.Component):
        self.parts: list[tuple[str, wiring.Component]] = []
        self.vacuous: list[str] = []
        """Streams that it drives and that are always taken at once."""
        super().__init__(component, self._cut)
        self._streams("", component, True)
        for name, part in self.parts:
            self._streams(f"{name}.", part, False)

    def _cut(self, part: Fragment) -> bool:
        component = origin(part)
        has = component is not None and any(True for _ in streams(component))
        if has:
            self.parts.append((type(component).__name__, component))
        return has

    def _streams(self, prefix: str, component: wiring.Component, outside: bool) -> None:
        """Of the block itself, ``outside``, the inputs keep the rule; of a part the outputs do."""
        for name, is_in, one in streams(component):
            path = f"{prefix}{name}"
            if always_ready(one):
                if is_in is not outside:
                    self.vacuous.append(path)
                continue
            found = broken(self.m, one, path.replace(".", "_"))
            if is_in is outside:
                self.assume(~found)
            else:
                self.never(path, found)
