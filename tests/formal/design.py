"""Designs to be proven: parts of the product's own RTL with free inputs, and flags that must never rise.

Every block is elaborated as it is. Parts of it are taken out, so that what they drive becomes free, and
monitors are put beside it. Nothing of this is in the product's RTL.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Const, Fragment, Module, Mux, Signal, Value
from amaranth.hdl._ast import SignalSet
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from haarlequin.hw.common.tables import TableRead

ALIVE = 3
"""Assumptions that cannot hold for so many cycles contradict each other."""


class Design:
    """A block of the RTL, with assumptions about its inputs and flags that must never rise.

    Its inputs are free in every cycle. So are the answers of its memories, but an answer of a registered port
    stays while the port's ``en`` is low. Parts of the block that are cut out may drive their outputs as they
    like.

    Parameters
    ----------
    component : Component
        The block.
    cut : Callable[[Fragment], bool]
        Says of a part of the block, or of a part of such a part, whether it is cut out.

    Members
    -------
    m : Module
        What is put beside the block. Its ``sync`` domain is the block's, and is never reset.
    """

    def __init__(self, component: wiring.Component, cut: Callable[[Fragment], bool] = lambda part: False):
        self.component, self.m = component, Module()
        with names():
            self.fragment = Fragment.get(component, None)
        self._free = SignalSet(
            value
            for _, member, port in component.signature.flatten(component)
            if member.flow is In and not isinstance(value := Value.cast(port), Const)
        )
        self._unknown = SignalSet()
        self._open(self.fragment, cut)
        self._clock = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = self._clock
        self.m.submodules.block = self.fragment
        self._assumed: list[Value] = []
        self.flags: dict[str, Signal] = {}

    def _open(self, fragment: Fragment, cut: Callable[[Fragment], bool]) -> None:
        kept = []
        for part, *rest in fragment.subfragments:
            if isinstance(part, MemoryInstance):
                for port in part._read_ports:
                    self._answer(fragment, port)
            elif cut(part):
                self._free.update(_union(*map(driven, below(part))))
            else:
                kept.append((part, *rest))
                self._open(part, cut)
        fragment.subfragments = kept

    def _answer(self, fragment: Fragment, port: MemoryInstance._ReadPort) -> None:
        if port._domain == "comb":
            self._free.add(port._data)
            return
        answer = Signal.like(port._data, name=f"memory_{len(self._free)}")
        self._free.add(answer)
        self._unknown.add(port._data)
        fragment.add_statements(port._domain, port._data.eq(Mux(port._en, answer, port._data)))

    def assume(self, value: Value) -> None:
        """Whatever happens after a cycle in which ``value`` is 0, and in it, raises no flag."""
        self._assumed.append(value)

    def never(self, name: str, value: Value) -> None:
        """``value`` must never be 1. It is known by ``name``."""
        assert name not in self.flags, name
        self.flags[name] = flag = Signal(name=f"flag_{len(self.flags)}")
        self.m.d.comb += flag.eq(value)

    def lemma(self, name: str, value: Value) -> None:
        """``value`` is always 1, which has a flag of its own; all that comes after it may rely on it."""
        was = Signal(init=1, name=f"lemma_{len(self.flags)}")
        self.never(name, ~value)
        self.m.d.sync += was.eq(value)
        self.assume(was)

    def before(self, value: Value) -> Signal:
        """``value`` as it was in the cycle before; anything in the first cycle."""
        register = Signal.like(Value.cast(value), name=f"before_{len(self._unknown)}", reset_less=True)
        self._unknown.add(register)
        register.attrs["free"] = 1
        self.m.d.sync += register.eq(value)
        return register

    def signal(self, path: str) -> Signal:
        """A signal of the block, by its name, after the names of the submodules on the way, if any."""
        *way, name = path.split(".")
        fragment = self.fragment
        for step in way:
            fragment = fragment.find_subfragment(step)
        found = [signal for signal in driven(fragment) if signal.name == name]
        if len(found) > 1:
            found = [signal for signal in found if signal in registers(fragment)]
        assert len(found) == 1, f"{len(found)} signals are called {path}"
        return found[0]

    def rtlil(self, arbitrary: bool = False) -> str:
        """The design as RTLIL, module ``top``. Its outputs are the flags, in their order, and one more, which
        rises after `ALIVE` cycles in which all assumptions held.

        Registers begin at their initial values, those without a reset with any value; with ``arbitrary`` all
        registers of the block begin with any value.
        """
        m, held, now = self.m, Signal(init=1, name="assumptions_held"), Signal()
        m.d.comb += now.eq(held & Cat(Const(1, 1), *(value.bool() for value in self._assumed)).all())
        m.d.sync += held.eq(now)
        outputs = []
        for number, flag in enumerate(self.flags.values()):
            outputs.append(Signal(name=f"bad_{number}"))
            m.d.comb += outputs[-1].eq(now & flag)
        age = Signal(range(ALIVE + 1))
        m.d.sync += age.eq(age + (age != ALIVE))
        outputs.append(Signal(name="alive"))
        m.d.comb += outputs[-1].eq(now & (age == ALIVE))
        for fragment in below(self.fragment):
            for signal in registers(fragment):
                if arbitrary or signal.reset_less or signal in self._unknown:
                    signal.attrs["free"] = 1
        wanted = _union(read(Fragment.get(m, None)), *map(read, below(self.fragment)))
        free = [signal for signal in self._free if signal in wanted]
        ports = {f"{signal.name}${number}": (signal, None) for number, signal in enumerate(free)}
        ports |= {signal.name: (signal, None) for signal in (*outputs, self._clock.clk)}
        return rtlil.convert(m, ports=ports, emit_src=False)


def below(fragment: Fragment) -> Iterator[Fragment]:
    """The fragment and all within it."""
    yield fragment
    for part, _, _ in fragment.subfragments:
        yield from below(part)


def _name(name: str, value: object) -> None:
    if isinstance(value, data.View):
        value = value.as_value()
    if isinstance(value, Signal) and value.name.startswith("$"):
        value.name = name
    elif isinstance(value, TableRead):
        _name(f"{name}_addr", value.addr)
    elif isinstance(value, wiring.PureInterface):
        for path, _, port in value.signature.flatten(value):
            _name("__".join((name, *map(str, path))), port)


def driven(fragment: Fragment) -> SignalSet:
    """What the fragment itself drives."""
    return _union(*(statements._lhs_signals() for statements in fragment.statements.values()))


def registers(fragment: Fragment) -> SignalSet:
    """The registers among what the fragment itself drives."""
    clocked = (each for domain, each in fragment.statements.items() if domain != "comb")
    return _union(*(statements._lhs_signals() for statements in clocked))


def read(fragment: Fragment) -> SignalSet:
    """What the fragment itself reads."""
    return _union(*(statements._rhs_signals() for statements in fragment.statements.values()))


def _union(*sets: SignalSet) -> SignalSet:
    return SignalSet(signal for each in sets for signal in each)


@contextmanager
def names() -> Iterator[None]:
    """Signals that are made in the block get the names of the variables of the RTL that they are in.

    Amaranth finds none for signals of which several are made in one line.
    """

    def returned(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and "/hw/" in frame.f_code.co_filename:
            for name, value in frame.f_locals.items():
                _name(name, value)

    before = sys.getprofile()
    sys.setprofile(returned)
    try:
        yield
    finally:
        sys.setprofile(before)
