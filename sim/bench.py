"""The cocotb side of `make sim`: load the tables through the link, stream images, keep every result.

`sim.run` starts it, with the files' names in the environment, and compares.
"""

import json
import os
from pathlib import Path

import cocotb

from sim.driver import Port
from sw.protocol import Decoder, ErrorCode, Frame, FrameType, encode


class Host:
    """A host on the link: sends frames, sorts what comes back."""

    def __init__(self, port: Port):
        self.port, self.decoder = port, Decoder()
        self.frames: list[Frame] = []

    async def answer(self, timeout: int) -> Frame:
        """The next frame."""
        while not self.frames:
            self.frames = self.decoder.feed(await self.port.receive(1, timeout))
        return self.frames.pop(0)

    async def ask(self, frame: Frame, timeout: int = 100_000) -> Frame:
        """Send a frame and wait for its answer."""
        await self.port.send(encode(frame))
        return await self.answer(timeout)


@cocotb.test()
async def images(dut):
    """Load, read back, run."""
    job = json.loads(Path(os.environ["BENCH_JOB"]).read_text())
    port = Port(dut)
    await port.reset()
    host = Host(port)
    await host.port.send(bytes.fromhex(job["load"]) if "load" in job else Path(job["load_file"]).read_bytes())
    for _ in range(job["loads"]):
        frame = await host.answer(200_000)
        assert frame.type == FrameType.ACK, f"loading: {frame.type.name} {frame.detail}"
    loaded = port.cycle
    results = []
    pixels = [bytes.fromhex(image) for image in job["images"]]

    async def send():
        for number, image in enumerate(pixels):
            while number - len(results) >= job["in_flight"]:
                await port.cycles(200)
            await port.send(encode(Frame(FrameType.IMAGE, sequence=number % 256, payload=image)), 10_000_000)

    sending = cocotb.start_soon(send())
    while len(results) < len(pixels):
        frame = await host.answer(job["timeout"])
        assert frame.type == FrameType.RESULT, (
            f"image {len(results)}: {frame.type.name} {ErrorCode(frame.detail).name if frame.detail else ''}"
        )
        results.append({"sequence": frame.sequence, "payload": frame.payload.hex(), "cycle": port.last_cycle})
    await sending
    await port.flush_trace()
    Path(os.environ["BENCH_RESULTS"]).write_text(
        json.dumps({"loaded": loaded, "cycles": port.cycle, "results": results})
    )
