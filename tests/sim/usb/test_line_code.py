import random

import pytest
from amaranth.sim import Simulator

from haarlequin.sim.usb import packets
from haarlequin.sim.usb.line_code import Receiver, Sender
from haarlequin.sim.usb.packets import Pid
from tests.hw.bench import LIMIT, limited

BIT = 8
J, K, SILENT = (1, 0), (0, 1), (0, 0)


def levels(packet):
    """The levels of D+ and D− that USB 2.0 wants for a packet, bit by bit, from its text alone."""
    bits = [0] * 7 + [1] + [byte >> i & 1 for byte in packet for i in range(8)]
    sent, ones = [], 0
    for bit in bits:
        sent.append(bit)
        ones = ones + 1 if bit else 0
        if ones == 6:
            sent.append(0)
            ones = 0
    level, found = J, []
    for bit in sent:
        level = level if bit else (K if level == J else J)
        found.append(level)
    return [*found, SILENT, SILENT, J]


def random_packet(dice):
    """With runs of ones in it, also at its end."""
    body = bytes(dice.choice((0xFF, 0x7F, 0xFC, 0, dice.randrange(256))) for _ in range(dice.randrange(66)))
    return dice.choice((bytes([dice.choice([*Pid]).byte]) + body, packets.data(Pid.DATA1, body[:64])))


PACKETS = [*(random_packet(random.Random(seed)) for seed in range(6)), b"\xd2\xff\xff\xff", b"\xd2\x3f\xfc"]


def send(packet):
    """The levels of a `Sender`, bit by bit."""
    sender, found, left = Sender(BIT), [], list(packet)
    simulator = Simulator(sender)
    simulator.add_clock(1e-6)

    async def testbench(context):
        context.set(sender.start, 1)
        await context.tick()
        context.set(sender.start, 0)
        every = []
        while True:
            context.set(sender.valid, bool(left))
            context.set(sender.byte, left[0] if left else 0)
            driving, done, ready, plus, minus = (
                context.get(signal)
                for signal in (sender.driving, sender.done, sender.ready, sender.d_p, sender.d_n)
            )
            if driving:
                every.append((plus, minus))
            if ready:
                left.pop(0)
            await context.tick()
            if done:
                break
        assert context.get(sender.driving) == 0
        found.extend(every)

    simulator.add_testbench(testbench)
    with limited(LIMIT):
        simulator.run()
    return found


def receive(sent, late=0):
    """What a `Receiver` makes of levels: (its bytes, whether it says broken, and right)."""
    receiver, came, ends = Receiver(BIT), [], []
    simulator = Simulator(receiver)
    simulator.add_clock(1e-6)

    async def testbench(context):
        for plus, minus in [J] * late + [J] * BIT + sent + [J] * 8 * BIT:
            context.set(receiver.d_p, plus)
            context.set(receiver.d_n, minus)
            if context.get(receiver.strobe):
                came.append(context.get(receiver.byte))
            if context.get(receiver.ended):
                ends.append((context.get(receiver.broken), context.get(receiver.right)))
            await context.tick()

    simulator.add_testbench(testbench)
    with limited(LIMIT):
        simulator.run()
    return bytes(came), ends


@pytest.mark.parametrize("packet", PACKETS, ids=range(len(PACKETS)))
def test_a_packet_is_sent_as_the_standard_says(packet):
    # The first bit of a packet is begun a bit after the start.
    sent = send(packet)
    assert sent[:BIT] == [J] * BIT
    assert sent[BIT::BIT] == levels(packet)
    assert sent[BIT:] == [level for level in levels(packet) for _ in range(BIT)]


@pytest.mark.parametrize("packet", PACKETS, ids=range(len(PACKETS)))
def test_a_packet_is_received_as_it_was_sent(packet):
    of_data = packets.kind(packet) in (Pid.DATA0, Pid.DATA1) and packets.payload(packet) is not None
    sent = [level for level in levels(packet) for _ in range(BIT)]
    for late in range(2):
        assert receive(sent, late) == (packet, [(0, int(of_data))])


@pytest.mark.parametrize("drift", [-0.0025, 0.0025])
def test_a_sender_with_a_clock_of_its_own(drift):
    """Both ends may be off by 0.25 % (USB 2.0, section 7.1.11)."""
    packet = packets.data(Pid.DATA0, bytes(range(64)))
    found = levels(packet)
    sent = [found[min(int(i / BIT / (1 + drift)), len(found) - 1)] for i in range(len(found) * BIT)]
    assert receive(sent)[0] == packet


def test_a_packet_that_is_cut_off_or_badly_stuffed_is_broken():
    packet = packets.data(Pid.DATA0, b"\xff" * 8)
    whole = levels(packet)
    cut = [*whole[:-8], SILENT, SILENT, J]
    stuffed = next(i for i in range(7, len(whole)) if len({*whole[i - 7 : i]}) == 1)
    bad = [*whole[:stuffed], whole[stuffed - 1], *whole[stuffed + 1 :]]
    for levels_ in (cut, bad):
        _, ((broken, _),) = receive([level for level in levels_ for _ in range(BIT)])
        assert broken
