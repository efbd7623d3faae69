"""The Python side of `bench.v` within a cocotb test."""

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import Event, Lock, SimTimeoutError, Timer, Trigger, with_timeout

from haarlequin.sw.verilated.simulation import CHUNK

STEPS = 2
"""Time steps of the simulator per cycle."""


class Port:
    """The two byte streams of the component in the bench, after a reset.

    Arguments:
        dut: the bench, as cocotb gives it to a test.
        gaps: in how many of 16 cycles ``rx`` gets no byte although it could, at random: 0 to 15.
        stalls: in how many of 16 cycles ``tx`` is not ready, at random: 0 to 15.
        seed: the seed of both, 1 to 2³² − 1.

    The attribute ``last_cycle`` is the cycle in which the last byte received so far left ``tx``. The
    attributes ``sent`` and ``received`` count the bytes that were given to `send` and that `receive` has
    returned, since the reset.
    """

    def __init__(self, dut: HierarchyObject, gaps: int = 0, stalls: int = 0, seed: int = 1):
        for name, value in (("gaps", gaps), ("stalls", stalls)):
            if value not in range(16):
                raise ValueError(f"{name} must be an integer from 0 to 15, not {value!r}")
        if seed not in range(1, 1 << 32):
            raise ValueError(f"seed must be an integer from 1 to 2**32 - 1, not {seed!r}")
        self._dut = dut
        self._gaps, self._stalls, self._seed = gaps, stalls, seed
        self._buffer, self._arrival, self._sending = bytearray(), Event(), Lock()
        self._receiver = None
        self.last_cycle = self.sent = self.received = 0

    async def reset(self) -> None:
        """Reset the component and drop the bytes that are on their way. Await it before anything else."""
        self._dut.gaps.value, self._dut.stalls.value, self._dut.seed.value = (
            self._gaps,
            self._stalls,
            self._seed,
        )
        self._dut.restart.value = 1
        await self.cycles(4)
        self._dut.restart.value = 0
        await self.cycles(2)  # the reset goes through a register
        if self._receiver is None:
            self._receiver = cocotb.start_soon(self._receive())
        self._buffer.clear()
        self.sent = self.received = 0

    @property
    def cycle(self) -> int:
        """Clock edges since the reset."""
        return self._dut.cycle.value.to_unsigned()

    async def cycles(self, count: int) -> None:
        """Let ``count`` cycles pass."""
        await Timer(STEPS * count, "step")

    async def send(self, data: bytes, timeout: int = 100_000) -> None:
        """Send bytes into ``rx``, one per cycle while it is ready, until the component has taken all of them.

        Raises:
            TimeoutError: less than a chunk was taken in ``timeout`` cycles.
        """
        dut = self._dut
        async with self._sending:
            self.sent += len(data)
            for start in range(0, len(data), CHUNK):
                chunk = data[start : start + CHUNK]
                dut.send_data.value, dut.send_count.value = int.from_bytes(chunk, "little"), len(chunk)
                self._toggle("send")
                if not await _within(dut.sent.value_change, timeout):
                    raise TimeoutError(
                        f"rx took no more than {start} of {len(data)} bytes in {timeout} cycles"
                    )
            if data and not await _within(dut.idle.rising_edge, timeout):
                raise TimeoutError(f"rx did not take the last of {len(data)} bytes in {timeout} cycles")

    async def receive(self, count: int, timeout: int = 100_000) -> bytes:
        """The next ``count`` bytes of ``tx``.

        Raises:
            TimeoutError: no byte came for ``timeout`` cycles.
        """
        while len(self._buffer) < count:
            if not await self._more(timeout):
                raise TimeoutError(
                    f"tx gave {len(self._buffer)} of {count} bytes, then none in {timeout} cycles"
                )
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self.received += count
        return data

    async def rest(self, quiet: int) -> bytes:
        """All bytes of ``tx`` until nothing comes for ``quiet`` cycles."""
        while await self._more(quiet):
            pass
        return await self.receive(len(self._buffer))

    async def flush_trace(self) -> None:
        """Write every event so far to the trace file."""
        self._toggle("flush")
        await self.cycles(1)

    def _toggle(self, name: str) -> None:
        signal = getattr(self._dut, name)
        signal.value = 1 - int(signal.value)

    async def _more(self, timeout: int) -> bool:
        self._arrival.clear()
        return await _within(self._arrival.wait(), timeout + CHUNK + 1)

    async def _receive(self) -> None:
        dut = self._dut
        while True:
            await dut.received.value_change
            data = dut.received_data.value.to_unsigned().to_bytes(CHUNK, "little")
            self._buffer += data[: dut.received_count.value.to_unsigned()]
            self.last_cycle = dut.received_cycle.value.to_unsigned()
            self._arrival.set()


async def _within(trigger: Trigger, cycles: int) -> bool:
    """Whether the trigger fires within ``cycles`` cycles."""
    try:
        await with_timeout(trigger, STEPS * cycles, "step")
    except SimTimeoutError:
        return False
    return True
