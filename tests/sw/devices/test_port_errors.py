"""What is said of a serial port that cannot be opened: the cause, and what to do."""

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
import termios
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from haarlequin.sw.devices import DeviceError, port_errors
from haarlequin.sw.devices.serial_port import SerialLine

HOLD = """
import fcntl, os, sys
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
if sys.argv[2] == "lock":
    fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def port():
    """The name of a pseudo-terminal that nobody serves."""
    mine, theirs = os.openpty()
    tty.setraw(theirs)
    yield os.ttyname(theirs)
    os.close(mine)
    os.close(theirs)


@pytest.fixture
def two_ports(monkeypatch):
    """What pyserial finds on this computer."""
    found = [SimpleNamespace(device=name) for name in ("/dev/ttyUSB1", "/dev/ttyUSB0")]
    monkeypatch.setattr(port_errors.list_ports, "comports", lambda: found)


@contextlib.contextmanager
def held(port, how):
    """Another program has it open; its process."""
    command = [sys.executable, "-c", HOLD, port, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def said(port, baud=9600):
    """What comes after the device's name, in one line."""
    with pytest.raises(DeviceError) as caught:
        SerialLine(str(port), baud)
    name = f"serial:{port}@{baud}: ".replace("\0", r"\x00")  # as every one-line message has it
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    return message.removeprefix(name)


def fails(monkeypatch, error):
    """Let opening any port raise this, as pyserial does."""

    def opened(*_, **__):
        raise error

    monkeypatch.setattr(serial, "Serial", opened)


def test_a_socket_is_no_port(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "x"))
        assert said(tmp_path / "x").startswith("this is not a serial port but a socket; ")


@pytest.mark.usefixtures("two_ports")
@pytest.mark.parametrize("number", [errno.ENXIO, errno.ENODEV, errno.EIO])
def test_a_port_with_nothing_behind_it(port, monkeypatch, number):
    """As the ports /dev/ttyS4 and on, which Linux has for hardware that might be."""
    monkeypatch.setattr(termios, "tcgetattr", lambda fd: (_ for _ in ()).throw(termios.error(number, "")))
    assert said(port) == (
        f"nothing is connected to it ({os.strerror(number)}); the ports are /dev/ttyUSB0, /dev/ttyUSB1; "
        "is the board plugged in?"
    )


def test_no_rights_in_a_container(port, monkeypatch):
    fails(monkeypatch, serial.SerialException(errno.EPERM, "could not open"))
    assert said(port) == (
        f"Operation not permitted; a container must be given the port: docker run --device {port} …"
    )


@pytest.mark.usefixtures("two_ports")
@pytest.mark.parametrize("port", ["/dev/no-such-port", "no/such\0port", "/dev/null/x", "x" * 300])
def test_a_port_that_is_not_there(port):
    assert said(port) == (
        "there is no such port; the ports are /dev/ttyUSB0, /dev/ttyUSB1; is the board plugged in?"
    )


def test_what_is_no_port(tmp_path, monkeypatch):
    monkeypatch.setattr(port_errors.list_ports, "comports", list)
    (tmp_path / "file").touch()
    for port, kind in (
        (tmp_path, "a folder"),
        ("/dev/null", "another device"),
        (tmp_path / "file", "a file"),
    ):
        assert said(port) == f"this is not a serial port but {kind}; there is no serial port at all"


def refused(monkeypatch, mode, group=20):
    """What is said of a port with these rights, which this user may not open."""
    port = "/dev/ttyUSB0"
    fails(monkeypatch, serial.SerialException(errno.EACCES, "could not open"))
    status = os.stat_result((stat.S_IFCHR | mode, 1, 1, 1, 0, group, 0, 0, 0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda path, **_: status)
        return said(port).removeprefix("Permission denied; ")


NO_GROUP = "no group may use it: sudo chmod a+rw /dev/ttyUSB0 does until it is plugged in again"


@pytest.mark.parametrize("members", [[], ["others"], ["me", "others"]])
def test_a_port_that_is_for_a_group(monkeypatch, members):
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name="dialout", gr_mem=members))
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="me"))
    wanted = (
        "you are in its group dialout since you logged in: log in again"
        if "me" in members
        else "it is for the group dialout: sudo usermod -aG dialout $USER, then log in again"
    )
    assert {refused(monkeypatch, mode) for mode in (0o660, 0o666, 0o661, 0o771)} == {wanted}
    # To read or to write alone is not enough, and root's group is nobody's.
    assert {refused(monkeypatch, mode) for mode in (0o600, 0o620, 0o640, 0o606, 0o617)} == {NO_GROUP}
    assert refused(monkeypatch, 0o660, group=0) == NO_GROUP


@pytest.mark.parametrize("database", [(grp, "getgrgid"), (pwd, "getpwuid")])
def test_a_group_or_a_user_without_a_name(monkeypatch, database):
    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name="dialout", gr_mem=[]))
    monkeypatch.setattr(*database, unknown)
    assert refused(monkeypatch, 0o660) == NO_GROUP


def test_a_port_that_another_program_has_locked(port):
    """A second one has it open without a lock, and is not in the way."""
    with held(port, "open"), held(port, "lock") as holder:
        name = said(port).removeprefix("it is in use by ")
        assert name.endswith(f" (process {holder.pid}): end that first")
        assert name.startswith("python")
    SerialLine(port, 9600).close()


def test_a_port_that_this_program_has_open(port):
    line = SerialLine(port, 9600)
    assert said(port) == "it is in use by this program itself: end that first"
    line.close()


def test_a_port_that_is_exclusive(port, monkeypatch):
    """By TIOCEXCL, of which /proc says nothing but who has it open; root may open it all the same."""
    fails(monkeypatch, serial.SerialException(errno.EBUSY, f"could not open port {port}: [Errno 16] …"))
    with held(port, "open") as holder:
        assert f" (process {holder.pid})" in said(port)


def test_a_port_in_use_and_processes_that_cannot_be_looked_at(port, monkeypatch):
    """They are another user's, or end meanwhile; or there is no /proc."""
    fails(monkeypatch, serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"))
    listed = Path.iterdir

    def gone(folder):
        if folder.name == "fd":
            raise FileNotFoundError
        return listed(folder)

    def nothing(folder):
        raise PermissionError

    for iterdir in (gone, nothing):
        monkeypatch.setattr(Path, "iterdir", iterdir)
        assert said(port) == "it is in use by another program: end that first"


@pytest.mark.parametrize(
    "error",
    [ValueError("Failed to set custom baud rate (7): …"), termios.error(errno.EINVAL, "Invalid argument")],
    ids=["pyserial", "system"],
)
def test_a_rate_that_this_port_has_not(port, monkeypatch, error):
    fails(monkeypatch, error)
    assert said(port, 7).startswith("it cannot do 7 baud: ")


def test_another_cause(port, monkeypatch):
    """What the system says, as it is."""
    fails(monkeypatch, OSError(errno.EMFILE, "Too many open files"))
    assert said(port) == "Too many open files"


def test_where_there_are_no_terminals():
    """As on Windows."""
    code = (
        "import sys\n"
        "import serial, serial.tools.list_ports\n"
        "for name in ('termios', 'fcntl', 'grp', 'pwd', 'tty'):\n"
        "    sys.modules[name] = None\n"
        "import haarlequin.sw.devices.serial_port\n"
    )
    # filelock warns of what it lacks there.
    command = [sys.executable, "-W", "ignore", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
