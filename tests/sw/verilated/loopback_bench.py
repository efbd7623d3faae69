"""The cocotb tests that test_driver.py runs on `Loopback`, with the parameters in the environment."""

import os
import random
import time
from pathlib import Path

import cocotb
import pytest
from cocotb.handle import HierarchyObject

from haarlequin.sw.verilated.driver import Port
from haarlequin.sw.verilated.simulation import CHUNK
from haarlequin.sw.verilated.trace import read_trace

TRACE_WIDTH = 75
"""No multiple of 8 or 32."""


def trace_of(byte: int, cycle: int) -> int:
    """The trace event of a byte taken from rx in a cycle."""
    return byte | cycle << 8 | (byte ^ 0xFF) << (TRACE_WIDTH - 8)


def traced(path: Path, start: int = 0) -> list[int]:
    """The bytes of a trace from event ``start`` on. Each must have the component's own count of cycles."""
    events = [
        (int.from_bytes(event.tobytes(), "little"), int(cycle))
        for event, cycle in zip(*read_trace(path, TRACE_WIDTH, start), strict=True)
    ]
    assert [event for event, _ in events] == [trace_of(event & 0xFF, cycle) for event, cycle in events]
    return [event & 0xFF for event, _ in events]


async def started(dut: HierarchyObject, **arguments: int) -> Port:
    port = Port(dut, **arguments)
    await port.reset()
    return port


@cocotb.test()
async def exchange(dut):
    """Every byte comes back, in order and plus one; nothing comes after the last one."""
    seed = int(os.environ["BENCH_SEED"])
    port = await started(
        dut, gaps=int(os.environ["BENCH_GAPS"]), stalls=int(os.environ["BENCH_STALLS"]), seed=seed
    )
    data = random.Random(seed).randbytes(int(os.environ["BENCH_BYTES"]))
    began = time.perf_counter()
    sending = cocotb.start_soon(port.send(data))
    # In two pieces that are no multiples of a chunk.
    received = await port.receive(CHUNK + 1) + await port.receive(len(data) - CHUNK - 1)
    await sending
    duration = time.perf_counter() - began
    assert received == bytes((byte + 1) % 256 for byte in data)
    assert await port.rest(quiet=100) == b""
    assert dut.taken.value.to_unsigned() == len(data)
    print(f"last_cycle={port.last_cycle} bytes_per_second={len(data) / duration:.0f}", flush=True)


@cocotb.test()
async def cycles(dut):
    port = await started(dut)
    before = port.cycle
    await port.cycles(1000)
    assert port.cycle == before + 1000
    began = time.perf_counter()
    await port.cycles(200_000)
    print(f"cycles_per_second={200_000 / (time.perf_counter() - began):.0f}", flush=True)


@cocotb.test()
async def timeouts(dut):
    port = await started(dut, stalls=15)
    await port.send(b"abc")
    with pytest.raises(TimeoutError, match=r"^tx gave 3 of 4 bytes, then none in 500 cycles$"):
        await port.receive(4, timeout=500)
    assert port.cycle > 500
    # What has come stays there for the next one to ask.
    assert await port.receive(3) == b"bcd"


@cocotb.test()
async def reset(dut):
    """A reset forgets what was on its way, in the component, in the bench and in the port."""
    port = await started(dut)
    # One chunk has been taken by then, one is on its way and one waits.
    sending = cocotb.start_soon(port.send(bytes(3 * CHUNK)))
    await port.cycles(CHUNK + CHUNK // 2)
    sending.cancel()
    await port.reset()
    assert await port.rest(quiet=100) == b""
    dut.mask.value = 0xFF
    await port.send(b"\x00\x01")
    assert await port.receive(2) == b"\x00\xff"
    dut.mask.value = 0


@cocotb.test()
async def seeds(dut):
    """The seed decides the gaps and the stalls, and nothing else does."""
    ends = []
    for seed in (1, 1, 2):
        port = await started(dut, gaps=8, stalls=8, seed=seed)
        await port.send(bytes(500))
        await port.receive(500)
        ends.append(port.last_cycle)
    assert ends[0] == ends[1] != ends[2], ends


@cocotb.test()
async def trace(dut):
    """The trace so far can be read while the simulation runs."""
    path = Path(os.environ["BENCH_TRACE"])
    port = await started(dut)
    await port.flush_trace()
    start = len(traced(path))
    await port.send(b"xyz")
    await port.flush_trace()
    assert bytes(traced(path, start)) == b"xyz"


@cocotb.test()
async def arguments(dut):
    for wrong in ({"gaps": 16}, {"stalls": -1}, {"seed": 0}, {"seed": 1 << 32}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"^{name} must be an integer from"):
            Port(dut, **wrong)


@cocotb.test()
async def failure(dut):
    raise AssertionError("layer 2, token 5: expected 3, got 4")


@cocotb.test()
async def crash(dut):
    os.abort()


@cocotb.test()
async def endless(dut):
    print("simulating", flush=True)
    port = await started(dut)
    while True:
        await port.cycles(1000)
