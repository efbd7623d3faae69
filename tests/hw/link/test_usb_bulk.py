"""The device behind a PHY that takes bytes, with its clock alone. What goes over wires is in test_usb.py."""

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import stream
from amaranth.sim import Simulator
from luna.gateware.interface.utmi import UTMIInterface

from haarlequin.hw.link.usb_bulk import bulk_device
from haarlequin.hw.link.usb_ids import ENDPOINT, PACKET
from haarlequin.sim.usb import packets
from haarlequin.sim.usb.packets import Pid
from tests.hw.bench import LIMIT, limited

pytestmark = pytest.mark.slow

CONFIGURE = bytes([0x00, 9, 1, 0, 0, 0, 0, 0])
REST, RESET = 0b01, 0b00
"""The two wires of a bus that rests at full speed, and of one that is reset."""


class Device(Elaboratable):
    """The device alone."""

    def __init__(self):
        self.bus = UTMIInterface()
        self.received, self.to_send = stream.Signature(8).flip().create(), stream.Signature(8).create()

    def elaborate(self, platform):
        m = Module()
        bulk_device(m, self.bus, "0123", self.received, self.to_send)
        return m


class Host:
    """The host's side of the PHY, a byte a cycle. The device has not been given an address."""

    def __init__(self, context, bus):
        self.context, self.bus = context, bus
        context.set(bus.tx_ready, 1)
        context.set(bus.line_state, REST)

    async def tick(self, count=1):
        await self.context.tick("usb").repeat(count)

    async def send(self, packet):
        context, bus = self.context, self.bus
        context.set(bus.rx_active, 1)
        await self.tick()
        context.set(bus.rx_valid, 1)
        for byte in packet:
            context.set(bus.rx_data, byte)
            await self.tick()
        context.set(bus.rx_valid, 0)
        context.set(bus.rx_active, 0)
        await self.tick()

    async def answer(self):
        """The packet that comes, or b""."""
        came = bytearray()
        for _ in range(40):
            await self.tick()
            while self.context.get(self.bus.tx_valid):
                came.append(self.context.get(self.bus.tx_data))
                await self.tick()
        return bytes(came)

    async def out(self, pid, payload, token=Pid.OUT, endpoint=ENDPOINT):
        """The kind of the answer."""
        await self.send(packets.token(token, 0, endpoint))
        await self.send(packets.data(pid, payload))
        return packets.kind(await self.answer())

    async def configure(self):
        assert await self.out(Pid.DATA0, CONFIGURE, Pid.SETUP, endpoint=0) == Pid.ACK
        await self.send(packets.token(Pid.IN, 0, 0))
        assert packets.payload(await self.answer()) == b""
        await self.send(bytes([Pid.ACK.byte]))

    async def reset(self):
        self.context.set(self.bus.line_state, RESET)
        await self.tick(400)
        self.context.set(self.bus.line_state, REST)
        await self.tick(10)

    async def fill(self):
        """The packets that it takes until it is full."""
        for count in range(9):
            if await self.out(Pid.DATA1 if count % 2 else Pid.DATA0, bytes(PACKET)) == Pid.NAK:
                return count
        raise AssertionError("it is never full")


@pytest.mark.parametrize("again", [Host.configure, Host.reset])
def test_what_waits_is_dropped_whatever_the_other_clock_does(again):
    """Both are signs of a single cycle of the PHY's clock, and here no other one ticks."""
    device = Device()
    simulator = Simulator(device)
    simulator.add_clock(1 / 12e6, domain="usb")

    async def testbench(context):
        host = Host(context, device.bus)
        await host.tick(10)
        await host.configure()
        assert await host.fill() > 1
        await again(host)
        assert await host.out(Pid.DATA0, bytes(PACKET)) == Pid.ACK

    simulator.add_testbench(testbench)
    with limited(LIMIT):
        simulator.run()
