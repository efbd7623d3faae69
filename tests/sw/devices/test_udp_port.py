"""Boards on a network that lose, repeat, forget or are not there; test_devices.py has one that works."""

import errno
import os
import random
import socket

import pytest

from haarlequin.hw.link.ethernet.address import PORT
from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, MOST, NUMBERS, SLOTS, TO_BOARD
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices import DeviceError, device_names, is_board, open_device, udp_port
from haarlequin.sw.devices.byte_line import Unplugged
from haarlequin.sw.devices.udp_port import AGAIN, STUCK_SECONDS, UdpLine

PATIENCE = 0.25


class Board:
    """A board as docs/protocol.md has it, and its socket; a wait takes as long as it is told to.

    ``lost`` says of each datagram in turn, in either direction, whether it is lost.
    """

    def __init__(self, lost=lambda: False, takes=True):
        self.lost, self.takes, self.now = lost, takes, 0.0
        self.session, self.following, self.kept, self.came = None, 0, {}, bytearray()
        self.answers, self.number, self.sent, self.closed = [], 0, [], False
        self._timeout = 0.0

    def settimeout(self, value):
        self._timeout = value

    def send(self, data):
        self.sent.append(data)
        if self.lost():
            return len(data)
        session, number = TO_BOARD.unpack_from(data)
        if session != self.session:
            if number:
                return len(data)
            self.session, self.following, self.kept = session, 0, {}
        ahead = (number - self.following) % NUMBERS
        if ahead < SLOTS and number not in self.kept:
            self.kept[number] = data[TO_BOARD.size :]
            self.pass_on()
        else:
            self.answer(b"")
        return len(data)

    def pass_on(self):
        while self.takes and self.following in self.kept:
            self.came += self.kept.pop(self.following)
            self.following = (self.following + 1) % NUMBERS
            self.answer(b"")

    def answer(self, data):
        if not self.lost():
            self.answers.append(FROM_BOARD.pack(self.session, self.following, self.number) + data)
        self.number = (self.number + bool(data)) % NUMBERS

    def recv(self, size):
        if not self.answers:
            self.now += self._timeout
            raise TimeoutError("timed out")
        return self.answers.pop(0)[:size]

    def close(self):
        self.closed = True


def line(board):
    return UdpLine("udp:it", board, lambda: board.now, 1.0, PATIENCE)


def test_long_frames_go_in_several_datagrams_and_never_more_than_the_board_keeps():
    board, data = Board(), random.Random(1).randbytes(20 * MOST + 7)
    line(board).send(data)
    assert board.came == data
    assert {len(each) - TO_BOARD.size for each in board.sent} == {256, 512, MOST, 263}
    assert len(board.sent) == 22

    board.takes = False
    for at in range(3):
        one = line(board)
        with pytest.raises(Unplugged, match=r"^udp:it: the board has taken nothing for 10 s$"):
            one.send(data)
        assert len(board.kept) == SLOTS, at
        assert len({each for each in board.sent if each[:2] == board.sent[-1][:2]}) == SLOTS


@pytest.mark.parametrize("seed", range(5))
def test_what_is_lost_in_either_direction_is_sent_again_and_comes_once(seed):
    dice = random.Random(seed)
    board, data = Board(lambda: dice.random() < 0.3), dice.randbytes(70 * MOST)
    one = line(board)
    for at in range(0, len(data), 7000):
        one.send(data[at : at + 7000])
    while board.following < len(one._flying) + board.following and one._flying:
        one.receive(PATIENCE)
    assert board.came == data


def test_numbers_go_round():
    board = Board()
    one = line(board)
    one.send(b"begin")
    one.receive(0.0)
    one._number, board.following = NUMBERS - 2, NUMBERS - 2
    data = random.Random(1).randbytes(5 * MOST)
    one.send(data)
    one.receive(1.0)
    assert board.came == b"begin" + data
    assert not one._flying


def test_answers_come_once_and_in_order():
    board = Board()
    one = line(board)
    one.send(b"?")
    for data in (b"a", b"b", b"c"):
        board.answer(data)
    board.answers += board.answers[1:3]  # doubled
    board.answers.append(FROM_BOARD.pack(board.session ^ 1, 9, 9) + b"of another session")
    board.answers += [b"", b"short", FROM_BOARD.pack(board.session, 1, 9) + bytes(MOST + 1)]
    board.number = 3
    board.answer(b"d")
    came = b""
    while data := one.receive(0.5):
        came += data
    assert came == b"abcd"


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 4096, 40_000])
def test_a_damaged_number_makes_only_few_others_old(step):
    """The link asks six times."""
    board = Board()
    one = line(board)
    one.send(b"?")
    board.answer(b"a")
    board.answers.append(FROM_BOARD.pack(board.session, 1, 1 + step) + b"X")
    board.number = 2
    for _ in range(5):
        board.answer(b"b")
    came = b""
    while data := one.receive(0.5):
        came += data
    assert came in (b"aX" + b"b" * count for count in range(1, 6))


def test_answers_whose_numbers_go_round():
    board = Board()
    one = line(board)
    board.number = NUMBERS - 1
    one.send(b"?")
    board.answer(b"a")
    board.answer(b"b")
    assert one.receive(1.0) + one.receive(1.0) == b"ab"


def test_silence_is_as_long_as_was_said():
    board = Board()
    one = line(board)
    one.send(b"?")
    assert one.receive(0.0) == b""
    assert board.now == 0.0  # a datagram without bytes was there; no other one was waited for
    before = board.now
    assert one.receive(3.0) == b""
    assert board.now - before == pytest.approx(3.0)
    one.close()
    assert board.closed


def test_a_board_that_was_switched_off_gets_a_new_session():
    """And what was on its way is given up, for the link to send it again."""
    board = Board()
    one = line(board)
    one.send(b"before")
    one.receive(0.0)
    board.session = None
    one.send(b"lost")
    assert one.receive((AGAIN + 2) * PATIENCE) == b""
    assert sum(each.endswith(b"lost") for each in board.sent) == 1 + 5  # a few may be lost on the way, too
    one.send(b"after")
    assert board.came == b"beforeafter"


def test_a_board_that_only_waits_keeps_its_session():
    """As while a BENCH goes on: it says each time that it has nothing new."""
    board = Board()
    one = line(board)
    one.send(b"first")
    one.receive(0.0)
    board.takes = False
    one.send(b"second")
    session = one._session
    one.receive(STUCK_SECONDS)
    assert one._session == session
    board.takes = True
    board.pass_on()
    one.receive(0.0)
    assert board.came == b"firstsecond"


def test_a_number_that_cannot_be_ends_the_session():
    """As of a damaged datagram: what the board wants is not what this end has."""
    board = Board()
    one = line(board)
    one.send(b"first")
    one.receive(0.0)
    board.following = 5
    one.send(b"second")
    one.receive((AGAIN + 2) * PATIENCE)
    one.send(b"third")
    assert board.came == b"firstthird"


def refused(board, error, on):
    def fails(*_):
        raise error

    setattr(board, on, fails)
    return board


@pytest.mark.parametrize("on", ["send", "recv"])
@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ECONNREFUSED, "the computer at this address is no accelerator, or has another port"),
        (errno.EHOSTUNREACH, "has this computer an address in the board's network (docs/boards.md)?"),
        (errno.ENETUNREACH, "has this computer an address in the board's network (docs/boards.md)?"),
        (errno.EPERM, ""),
    ],
)
def test_what_the_operating_system_says(number, hint, on):
    board = refused(Board(), OSError(number, os.strerror(number)), on)
    one = line(board)
    use = (lambda: one.send(b"?")) if on == "send" else (lambda: one.receive(1.0))
    with pytest.raises(Unplugged) as caught:
        use()
    message = str(caught.value)
    assert message.startswith(f"udp:it: {os.strerror(number)}")
    assert message.endswith(hint)
    assert "\n" not in message


def failure(name):
    with pytest.raises(DeviceError) as caught:
        open_device(name, None).close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_answers(monkeypatch):
    board = Board(lost=lambda: True)
    monkeypatch.setattr(udp_port, "_connected", lambda host, port: board)
    monkeypatch.setattr(udp_port.time, "monotonic", lambda: board.now)
    message = failure("udp:192.168.2.50")
    assert message.startswith("udp:192.168.2.50: asked what it is 6 times, and nothing came; is the cable")
    assert message.endswith("(docs/boards.md)?")
    assert board.closed


def test_a_port_at_which_nobody_listens():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert "the computer at this address is no accelerator" in failure(f"udp:127.0.0.1:{port}")


def test_a_host_that_there_is_not(monkeypatch):
    def nobody(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(udp_port, "_connected", nobody)
    assert failure("udp:nowhere.invalid") == (
        "udp:nowhere.invalid: there is no such host (Name or service not known); a board has an address, "
        "192.168.2.50 if no other was chosen"
    )
    monkeypatch.undo()
    assert "there is no such host" in failure(f"udp:{'x' * 70}.invalid")


@pytest.mark.parametrize(
    "name", ["udp::1", "udp:a:0", "udp:a:65536", "udp:a:b", "udp:a b", "udp:::1", "udp:a:"]
)
def test_names_of_another_form(name):
    with pytest.raises(UsageError, match=r"is not udp:HOST\[:PORT\], udp:192\.168\.2\.50 for example$"):
        open_device(name, None)


def test_names(monkeypatch):
    asked = []

    def connected(*where):
        asked.append(where)
        raise OSError(errno.ENETDOWN, "Network is down")

    monkeypatch.setattr(udp_port, "_connected", connected)
    for name in ("udp:board", "udp:10.0.0.7:1234"):
        failure(name)
    assert asked == [("board", PORT), ("10.0.0.7", 1234)]
    assert is_board("udp:board,serial:/dev/ttyUSB0")
    with pytest.raises(UsageError, match="are the same device: name it once"):
        device_names(f"udp:board,udp:board:{PORT}")
    with pytest.raises(UsageError, match=r"^unknown device 'udp:'"):
        open_device("udp:", None)
