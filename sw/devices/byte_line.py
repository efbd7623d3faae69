"""A line: it carries bytes to an accelerator and back."""

from abc import ABC, abstractmethod

from haarlequin.sw.devices.device import DeviceError


class Unplugged(DeviceError):
    """A line is gone: nothing will ever come on it again, but it may be opened again."""


class Line(ABC):
    """Carries the frames of docs/protocol.md.

    A line may lose or damage bytes without noticing it. Only one thread at a time may use it.
    """

    name: str
    """The name that messages give it."""
    latency: float
    """Seconds within which the first byte of an answer comes, if the accelerator needs no time for it."""
    exact: bool
    """Whether the line never damages anything, so that tables need not be read back."""
    flow_control: bool = False
    """Whether the accelerator may take bytes as late as it likes, and none is lost."""

    silence_hint = ""
    """Appended to a message where nothing has ever come on the line: what a person should look at."""
    noise_hint = ""
    """Appended to a message where bytes have come, but never a frame: what a person should look at."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator. The silence that `receive` waits for is counted from the return."""

    @abstractmethod
    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator, at least one; empty where nothing comes for ``seconds``.

        Seconds are the accelerator's time: in simulation they are cycles divided by the clock rate that the
        accelerator reports.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the line."""
