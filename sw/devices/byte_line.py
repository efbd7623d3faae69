"""A stream of bytes to an accelerator and back."""

from abc import ABC, abstractmethod


class Line(ABC):
    """What carries the frames of docs/protocol.md.

    It may lose bytes and damage them, and need not notice. One thread at a time uses it.
    """

    name: str
    """For messages."""
    latency: float
    """Seconds after which an answer that takes the accelerator no time must have begun to come."""
    exact: bool
    """Whether nothing can be damaged on it, so that tables need not be read back."""

    silence_hint = ""
    """Where nothing has ever come on it: what to look at, to be appended to the message."""
    noise_hint = ""
    """Likewise where nothing has come but what makes no frame."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Bytes to the accelerator; returns before silence begins to count."""

    @abstractmethod
    def receive(self, seconds: float) -> bytes:
        """The next bytes from it, at least one; none where nothing comes for so many seconds.

        Seconds are the accelerator's: of a simulated one, cycles at the clock it tells of.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""
