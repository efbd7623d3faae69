"""The cocotb side of `make sim`: load the tables through the link, stream images, keep every result.

`sim.run` starts it, with the names of its files in the environment, and compares.
"""

import json
import os
from pathlib import Path

import cocotb

from sim.driver import Port
from sw.protocol import Decoder, ErrorCode, Frame, FrameType, encode

ANSWER_CYCLES = 200_000
"""For which an answer may keep one waiting that no image is needed for."""


class Host:
    """A host on the link: sends frames, and takes those that come back in turn."""

    def __init__(self, port: Port):
        self.port, self._decoder = port, Decoder()
        self._frames: list[Frame] = []

    async def answer(self, kind: FrameType, timeout: int = ANSWER_CYCLES) -> Frame:
        """The next frame, which must be of that kind."""
        while not self._frames:
            self._frames = self._decoder.feed(await self.port.receive(1, timeout))
        frame = self._frames.pop(0)
        if frame.type != kind:
            detail = f" {ErrorCode(frame.detail).name}" if frame.type == FrameType.ERROR else ""
            raise AssertionError(f"the machine answered {frame.type.name}{detail} instead of {kind.name}")
        return frame


@cocotb.test()
async def images(dut):
    """Load, run, read the counters."""
    job = json.loads(Path(os.environ["BENCH_JOB"]).read_text())
    port = Port(dut, job["gaps"], job["stalls"], job["seed"])
    await port.reset()
    host = Host(port)
    loading = cocotb.start_soon(port.send(Path(os.environ["BENCH_LOAD"]).read_bytes()))
    for _ in range(job["loads"]):
        await host.answer(FrameType.ACK)
    await loading

    payloads, done = [], []

    async def send():
        for number, image in enumerate(job["images"]):
            while number - len(payloads) >= 2:  # room for one beside the one at work
                await port.cycles(64)
            frame = Frame(FrameType.IMAGE, number % 256, payload=bytes.fromhex(image))
            await port.send(encode(frame), job["timeout"])

    sending = cocotb.start_soon(send())
    for number in range(len(job["images"])):
        frame = await host.answer(FrameType.RESULT, job["timeout"])
        assert frame.sequence == number % 256, f"result {number} came as {frame.sequence}"
        payloads.append(frame.payload.hex())
        done.append(port.last_cycle)
    await sending

    asked = 4 * job["operations"]
    await port.send(encode(Frame(FrameType.READ, 0, job["counters"], 0, asked=asked)))
    data = (await host.answer(FrameType.DATA)).payload
    counters = [int.from_bytes(data[i : i + 4], "little") for i in range(0, asked, 4)]
    await port.flush_trace()
    results = {"cycles": port.cycle, "payloads": payloads, "done": done, "counters": counters}
    Path(os.environ["BENCH_RESULTS"]).write_text(json.dumps(results))
