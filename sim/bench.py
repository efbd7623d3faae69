"""The cocotb side of `make sim`: load the tables through the link, stream images, keep every result.

`sim.simulate` starts it, names its files in the environment, and compares what it wrote.
"""

import json
import os
import time
from pathlib import Path

import cocotb

from haarlequin.hw.link.protocol import Decoder, ErrorCode, Frame, FrameType, encode
from haarlequin.sw.verilated.driver import Port
from haarlequin.sw.verilated.simulation import CHUNK

ANSWER_CYCLES = 200_000
"""How long an answer may take for which no image is computed, in cycles."""


class Host:
    """A host on the link: sends frames, and takes those that come back in turn."""

    def __init__(self, port: Port):
        self.port, self._decoder = port, Decoder()
        self._frames: list[Frame] = []
        self.sent: list[tuple[int, int, int]] = []
        """For each IMAGE that `run` has sent its image, and its bytes on ``rx``: the number of the first, and
        of the one after the last. An image that was refused is there again."""
        self.answered: list[tuple[int, int, int]] = []
        """The same of each RESULT and the bytes of ``tx``."""

    async def frame(self, timeout: int = ANSWER_CYCLES) -> Frame:
        """Wait for the next frame, whatever it is."""
        while not self._frames:
            self._frames = self._decoder.feed(await self.port.receive(1, timeout))
        return self._frames.pop(0)

    async def answer(self, kind: FrameType) -> Frame:
        """Wait for the next frame, which must be of that kind."""
        frame = await self.frame()
        assert frame.type == kind, f"the machine answered {_told(frame)} instead of {kind.name}"
        return frame

    async def load(self, frames: bytes, answers: int) -> None:
        """Send frames, each of which must be acknowledged."""
        loading = cocotb.start_soon(self.port.send(frames))
        for _ in range(answers):
            await self.answer(FrameType.ACK)
        await loading

    async def run(self, images: list[bytes], timeout: int) -> tuple[list[str], list[int]]:
        """Send images as soon as there is room; their results, and the cycle in which each had come."""
        payloads: list[str] = []
        done: list[int] = []
        full: list[int] = []

        async def send() -> None:
            for number, image in enumerate(images):
                refused = True
                while refused:
                    frame = encode(Frame(FrameType.IMAGE, number % 256, payload=image))
                    self.sent.append((number, self.port.sent, self.port.sent + len(frame)))
                    await self.port.send(frame, timeout)
                    await self.port.cycles(3 * CHUNK)  # a refusal would have come by now
                    refused = bool(full)
                    full.clear()

        sending = cocotb.start_soon(send())
        while len(payloads) < len(images):
            frame = await self.frame(timeout)
            if (frame.type, frame.detail) == (FrameType.ERROR, ErrorCode.FULL):
                full.append(frame.sequence)
                continue
            assert frame.type == FrameType.RESULT, f"image {len(payloads)} was answered by {_told(frame)}"
            assert frame.sequence == len(payloads) % 256, f"result {len(payloads)} came as {frame.sequence}"
            last = self.port.received
            self.answered.append((len(payloads), last - len(encode(frame)), last))
            payloads.append(frame.payload.hex())
            done.append(self.port.last_cycle)
        await sending
        return payloads, done

    async def read(self, memory: int, address: int, count: int) -> bytes:
        """Read ``count`` bytes of a memory from the word ``address`` on."""
        await self.port.send(encode(Frame(FrameType.READ, 0, memory, address, asked=count)))
        return (await self.answer(FrameType.DATA)).payload

    async def counters(self, memory: int, count: int) -> list[int]:
        """Read the cycle counters."""
        data = await self.read(memory, 0, 4 * count)
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, 4 * count, 4)]


def _told(frame: Frame) -> str:
    return frame.type.name + (f" {ErrorCode(frame.detail).name}" if frame.type == FrameType.ERROR else "")


@cocotb.test()
async def jobs(dut):
    """Do each job in turn: load it, read some of it back, run its images, read the counters."""
    what = json.loads(Path(os.environ["BENCH_JOB"]).read_text(encoding="utf-8"))
    port = Port(dut, what["gaps"], what["stalls"], what["seed"])
    await port.reset()
    results = []
    for job in what["jobs"]:
        host, bytes_before = Host(port), {"sent_before": port.sent, "answered_before": port.received}
        await host.load(Path(job["load"]).read_bytes(), job["answers"])
        for memory, address, words in job["samples"]:
            read = await host.read(memory, address, len(words) // 2)
            assert read.hex() == words, f"memory {memory} reads {read.hex()} from {address} on, not {words}"
        first, began = port.cycle, time.perf_counter()
        payloads, done = await host.run([bytes.fromhex(image) for image in job["images"]], job["timeout"])
        running = {"running_cycles": port.cycle - first, "running_seconds": time.perf_counter() - began}
        counters = await host.counters(what["counters"], what["operations"])
        await port.flush_trace()
        size = Path(what["trace"]).stat().st_size
        part = {"payloads": payloads, "done": done, "counters": counters, "trace_bytes": size}
        part |= {"sent": host.sent, "answered": host.answered}
        results.append(part | bytes_before | running | {"cycles": port.cycle})
    Path(os.environ["BENCH_RESULTS"]).write_text(json.dumps(results), encoding="utf-8")
