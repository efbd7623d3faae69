"""All properties: what each shows, how, and the design that it is about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from amaranth.hdl import Fragment, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.common.flow_control import skid_buffer
from haarlequin.hw.link.boot import FlashBoot
from haarlequin.hw.link.ethernet.address import Address
from haarlequin.hw.link.ethernet.line import Station
from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.stuffer import Stuffer
from haarlequin.hw.link.switch import LineSwitch
from haarlequin.hw.link.uart import Uart
from haarlequin.hw.presets import CONFIGS
from tests.formal import overflow, receiver, sums, thresholds
from tests.formal.design import Design, below, names
from tests.formal.streams import PRECONDITIONS, StreamDesign, blocks, origin
from tests.small_machines import SMALLEST

UNBOUNDED = "unbounded"
ANY_STATE = "any state, bounded"
ALL_INPUTS = "all inputs"


@dataclass(frozen=True)
class Property:
    """Something to be proven of a design: none of its flags ever rises."""

    name: str
    says: str
    kind: str
    design: Callable[[], Design]
    arbitrary: bool = False
    """Registers of the block begin with any value."""


class SkidBuffer(wiring.Component):
    """`skid_buffer` between two ports."""

    source: In(stream.Signature(8))
    out: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        wiring.connect(m, skid_buffer(m, wiring.flipped(self.source)), wiring.flipped(self.out))
        return m


CLOCK, TIMEOUT = 1_000_000, 8


def machines(lanes=SMALLEST) -> list[Accelerator]:
    """An accelerator with lanes, one with the scalar core."""
    return [Accelerator(config, CLOCK, TIMEOUT) for config in (lanes, CONFIGS["scalar"])]


def boot(clock_hz: int) -> FlashBoot:
    """The block that loads tables from a flash."""
    return FlashBoot(Identity(0, clock_hz, (Memory("pixels", 8, 4),)), 0)


@cache
def with_streams() -> dict[str, wiring.Component]:
    """Every block that has streams, by its class."""
    found = {"SkidBuffer": SkidBuffer(), "Uart": Uart(4), "FlashBoot": boot(CLOCK)}
    found |= {"Stuffer": Stuffer(), "LineSwitch": LineSwitch(2)}
    for machine in (*machines(replace(SMALLEST, answers=8)), Station(Address())):
        found |= blocks(machine)
    return found


@cache
def components() -> dict[str, wiring.Component]:
    """Every block of the two machines, by its class, with sizes of `overflow.SIZES`."""
    found: dict[str, wiring.Component] = {"Uart": Uart(434), "FlashBoot": boot(50 * CLOCK)}
    found |= {"Stuffer": Stuffer(), "LineSwitch": LineSwitch(2)}
    for machine in (*machines(overflow.SIZES), Station(Address())):
        with names():
            whole = Fragment.get(machine, None)
        for part in below(whole):
            component = origin(part)
            if component is not None:
                found.setdefault(type(component).__name__, component)
    return found


def properties() -> Iterator[Property]:
    """All of them, the quick ones of each kind first."""
    yield Property(
        "receiver",
        f"without bytes it searches again within {receiver.BOUND} cycles, with a timeout of "
        f"{receiver.TIMEOUT} and a link that answers within {receiver.PATIENCE}",
        ANY_STATE,
        receiver.receiver,
        arbitrary=True,
    )
    yield Property(
        "threshold.counter",
        "an end found ahead is count + step ≥ limit",
        UNBOUNDED,
        lambda: thresholds.counting(3),
    )
    yield Property(
        "threshold.rounding", "sat(((v + half) >> s) + b) in one addition", ALL_INPUTS, thresholds.rounding
    )
    yield Property("threshold.sign", "the sign bit is y ≥ −move", ANY_STATE, thresholds.sign, arbitrary=True)
    yield Property(
        "threshold.softmax", "e ≥ ⌈τ·Σ / 2^F⌉ is e << F ≥ τ·Σ", ANY_STATE, thresholds.softmax, arbitrary=True
    )
    for name, block in with_streams().items():
        says = "what waits stays"
        if name in PRECONDITIONS:
            says += f", as long as {PRECONDITIONS[name].says}"
        yield Property(f"stream.{name}", says, UNBOUNDED, lambda block=block: StreamDesign(block))
    for name, block in components().items():
        says = "no sum or counter is cut off"
        if name in sums.PREPARE:
            says += f", as long as {sums.RELIES[name]}"
        yield Property(
            f"overflow.{name}", says, UNBOUNDED, lambda block=block: overflow.OverflowDesign(block)
        )
