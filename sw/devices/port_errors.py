"""Say why a serial port cannot be opened, and what a person can do about it."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from serial.tools import list_ports

BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY)
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
EMPTY = (errno.ENXIO, errno.ENODEV, errno.EIO)

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a disk",
}


def reason(port: str, baud: int, error: Exception) -> str:
    """The cause and its remedy, in one line.

    Arguments:
        port: the port that could not be opened.
        baud: the rate that was wanted.
        error: the exception that pyserial raised.
    """
    number = _number(error)
    if "\0" in port or number in MISSING:
        return f"there is no such port; {_ports()}; is the board plugged in?"
    try:
        status = Path(port).stat()
    except OSError:  # the folder may not be looked into, or this is Windows, which has no such files
        return why(error)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind or number == errno.ENOTTY:
        return f"this is not a serial port but {kind or 'another device'}; {_ports()}"
    if number == errno.EPERM:
        return f"{os.strerror(number)}; a container must be given the port: docker run --device {port} …"
    if number == errno.EACCES:
        return f"{os.strerror(number)}; {rights(port, status)}"
    if number in BUSY:
        return f"it is in use by {holders(status) or 'another program'}: end that first"
    if number in EMPTY:
        return f"nothing is connected to it ({os.strerror(number)}); {_ports()}; is the board plugged in?"
    if number == errno.EINVAL or isinstance(error, ValueError | OverflowError):
        return f"it cannot do {baud} baud: build the bitstream for another rate, and give serial:{port}@RATE"
    return why(error)


def why(error: Exception) -> str:
    """The operating system's message, without pyserial's words around it."""
    return getattr(error, "strerror", None) or str(error)


def _number(error: Exception) -> int | None:
    """The operating system's error number.

    pyserial's exception may have lost it, and `termios.error` has it only as its first argument.
    """
    for each in (error, error.__context__):
        first = each.args[0] if each and each.args else None
        if number := getattr(each, "errno", None) or (first if isinstance(first, int) else None):
            return number
    return None


def _ports() -> str:
    there = sorted(port.device for port in list_ports.comports())
    return f"the ports are {', '.join(there)}" if there else "there is no serial port at all"


def rights(port: str, status: os.stat_result) -> str:
    """Say how this user gets the right to use the port."""
    import grp  # Windows does not have it
    import pwd

    try:
        group = grp.getgrgid(status.st_gid)
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may lack names for some numbers
        group, user = None, ""
    if not group or not status.st_gid or status.st_mode & 0o060 != 0o060:
        return f"no group may use it: sudo chmod a+rw {port} does until it is plugged in again"
    if user in group.gr_mem:
        return f"you are in its group {group.gr_name} since you logged in: log in again"
    return f"it is for the group {group.gr_name}: sudo usermod -aG {group.gr_name} $USER, then log in again"


def holders(status: os.stat_result) -> str:
    """The programs that have a port open, as far as /proc tells; only those that locked it, if any did."""
    locked, opened = set(), set()
    for process in (each for each in _listed(Path("/proc")) if each.name.isdigit()):
        for link in _listed(process / "fd"):
            with suppress(OSError):  # the file has just been closed
                held = link.stat()
                if stat.S_ISCHR(held.st_mode) and held.st_rdev == status.st_rdev:
                    opened.add(process)
                    facts = (process / "fdinfo" / link.name).read_text(encoding="utf-8", errors="replace")
                    if "FLOCK" in facts:
                        locked.add(process)
    return ", ".join(_named(each) for each in sorted(locked or opened))


def _listed(folder: Path) -> list[Path]:
    """The files in a folder; none where the process has ended or belongs to another user."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _named(process: Path) -> str:
    """Name a process by its command, given its folder in /proc."""
    if int(process.name) == os.getpid():
        return "this program itself"
    try:
        command = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        command = "another program"
    return f"{command} (process {process.name})"
