"""Compare what a scalar machine has stored with the golden model's trace, tensor by tensor."""

from collections.abc import Iterable

import numpy as np

from haarlequin.hw.scalar.isa import ADDRESS, WORD
from haarlequin.models.golden import Trace
from haarlequin.sw.compiler.check import Difference
from haarlequin.sw.scalar.firmware import Firmware
from haarlequin.sw.scalar.layout import Buffer


def compare(firmware: Firmware, stores: Iterable[tuple[int, int]], trace: Trace) -> Difference | None:
    """The first difference of one image's stores (address, word) from its golden trace (a batch of one)."""
    memory = np.zeros(1 << ADDRESS, np.uint16)
    seen = [0] * len(firmware.milestones)
    due = [1 if layerless(buffers) else firmware.model.config.layers for buffers in firmware.milestones]
    for address, word in stores:
        memory[address] = word
        if address != firmware.milestone_address:
            continue
        for buffer in firmware.milestones[word]:
            name = buffer.tensor.format(layer=seen[word])
            if difference := _compare(name, buffer, memory, trace[name][0]):
                return difference
        seen[word] += 1
    for buffers, times, wanted in zip(firmware.milestones, seen, due, strict=True):
        if times != wanted:
            return Difference(
                buffers[0].tensor.format(layer=times), "nowhere among the stores", wanted, times
            )
    return None


def layerless(buffers: list[Buffer]) -> bool:
    """Whether these tensors exist once, and not in every layer."""
    return "{layer}" not in buffers[0].tensor


def _compare(name: str, buffer: Buffer, memory: np.ndarray, expected: np.ndarray) -> Difference | None:
    size = int(np.prod(buffer.shape))
    words = memory[buffer.address : buffer.address + size].reshape(buffer.shape)
    if buffer.kind in ("signs", "bits"):
        bits = np.unpackbits(words.astype("<u2").view(np.uint8), axis=-1, bitorder="little")
        got = bits.reshape(*buffer.shape[:-1], buffer.shape[-1] * WORD)[..., : expected.shape[-1]]
        expected = expected > 0
    elif buffer.kind == "planes":
        rows, columns = buffer.shape[1:]
        reach = _reach(buffer, expected)
        inner = words[:, reach : rows - reach, reach : columns - reach].astype(np.int16)
        got = inner.reshape(len(inner), -1).T
    else:
        got = words.astype(np.int16)
    wrong = np.argwhere(got != expected)
    if not len(wrong):
        return None
    place = tuple(wrong[0])
    head = f"head {place[0]}, " if len(place) == 3 else ""
    kind = "key" if head else "channel"
    where = f"{head}token {place[-2]}, {kind} {place[-1]}"
    return Difference(name, where, int(expected[place]), int(got[place]))


def _reach(buffer: Buffer, expected: np.ndarray) -> int:
    """The width of the padding around a token grid that has as many tokens as ``expected``."""
    rows, columns = buffer.shape[1:]
    return next(r for r in range(3) if (rows - 2 * r) * (columns - 2 * r) == len(expected))
