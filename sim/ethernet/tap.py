"""The operating system's own network at a simulated board's plug, by a TAP device (Linux)."""

import fcntl
import os
import select
import struct
import threading
from types import TracebackType
from typing import Self

from haarlequin.sim.ethernet import packets
from haarlequin.sim.ethernet.host import Cable

TUN = "/dev/net/tun"
_SET_INTERFACE, _TAP, _PLAIN = 0x400454CA, 0x0002, 0x1000
"""The request TUNSETIFF, and its flags IFF_TAP and IFF_NO_PI (linux/if_tun.h)."""

STEP_SECONDS = 20e-6
"""The time of the simulation between two looks at the device."""

MOST = 2048
"""Bytes of a frame at most."""


class Tap:
    """A network device whose cable leads to a simulated board, as long as the ``with`` block lasts.

    The simulation runs in a thread of its own, as fast as it can. The operating system has to give the device
    an address.

    Arguments:
        name: the device's.
        cable: the one to the board.

    Raises OSError where there is no right to make one.
    """

    def __init__(self, name: str, cable: Cable):
        self._cable, self._ended = cable, threading.Event()
        self._file = os.open(TUN, os.O_RDWR)
        try:
            wanted = struct.pack("16sH22x", name.encode(), _TAP | _PLAIN)
            fcntl.ioctl(self._file, _SET_INTERFACE, wanted)
        except BaseException:
            os.close(self._file)
            raise
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def _relay(self) -> None:
        while not self._ended.is_set():
            while select.select([self._file], [], [], 0)[0]:
                self._cable.send(os.read(self._file, MOST))
            raw = self._cable.take(STEP_SECONDS)
            if raw is not None:
                os.write(self._file, packets.frame_of(raw))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._file)
