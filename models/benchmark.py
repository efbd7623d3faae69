"""`haarlequin benchmark`: images per second of the golden model, for all presets or for some."""

import argparse
import time

import numpy as np

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.config import PRESETS, preset
from haarlequin.models.golden import GoldenModel, threads


def images_per_second(name: str, seconds: float = 3.0) -> float:
    """Images per second of the golden model of a preset, measured for about ``seconds``."""
    config = preset(name)
    golden = GoldenModel.blank(config)
    shape = (4 * golden.images_per_pass, *config.image, config.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    golden(pixels[:1])
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        golden(pixels)
        done += len(pixels)
    return done / (time.perf_counter() - start)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="haarlequin benchmark", description="Time the golden model.")
    parser.add_argument("preset", nargs="*", default=list(PRESETS), help="default: all of them")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False):
        for name in arguments.preset:
            print(f"{name}: {images_per_second(name):.0f} images/s on {threads()} threads", flush=True)
