"""A program for a network namespace of its own: a ping and an inference through Linux's own stack, as JSON.

It says why and exits with `NO_RIGHT` where it may not make a TAP device.
"""

import json
import socket
import struct
import subprocess
import sys
import time

import numpy as np

from haarlequin.hw.link.ethernet.address import Address
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import vit
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.ethernet import packets
from haarlequin.sim.ethernet.board import ethernet_simulator
from haarlequin.sim.ethernet.host import IP, Cable
from haarlequin.sim.ethernet.tap import Tap
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.devices import CompiledModel, open_device, udp_port
from haarlequin.sw.verilated.simulation import Simulation
from tests.small_machines import MACHINES

NO_RIGHT = 77
MACHINE = MACHINES["4x16"]
IMAGES = 3
SECONDS = 120.0
"""How long an answer to a ping may take, on a computer that has other work."""


def ping(address: str, sequence: int, body: bytes) -> bytes:
    """The body of an echo reply, by a socket of the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.settimeout(SECONDS)
        icmp.sendto(packets.echo(8, 77, sequence, body), (address, 0))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            came, (source, _) = icmp.recvfrom(2048)
            message = came[20:]
            kind, code, _, identifier, number = struct.unpack_from(">BBHHH", message)
            if (source, kind, code, identifier, number) == (address, 0, 0, 77, sequence):
                assert packets.sum16(message) in (0, 0xFFFF)
                return message[8:]
    raise TimeoutError("no answer to a ping")


def main() -> None:
    """Print what came of it."""
    cable = Cable(Simulation(ethernet_simulator(MACHINE, build_folder("sim"), lambda line: None)))
    board = Address()
    try:
        tap = Tap("haarlequin0", cable)
    except OSError as error:
        print(f"there is no right to make a TAP device here: {error}")
        sys.exit(NO_RIGHT)
    udp_port.LATENCY, udp_port.PATIENCE = 20.0, 5.0  # a simulated board is slow
    with tap:
        subprocess.run(["ip", "address", "add", f"{IP}/24", "dev", "haarlequin0"], check=True)
        subprocess.run(["ip", "link", "set", "haarlequin0", "up"], check=True)
        bodies = [bytes(range(56)), b"", bytes(1400)]
        pinged = [ping(board.ip, number, body) == body for number, body in enumerate(bodies)]
        shown = subprocess.run(["ip", "neighbour"], check=True, capture_output=True, encoding="utf-8").stdout
        sizes = {"image": (8, 8), "channels": 1, "patch": 2, "dim": 16, "heads": 2, "layers": 2}
        config = vit(name="small", mean=(128.0,), classes=("a", "b"), **sizes)
        golden = freeze(random_model(config, seed=2))
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 1), np.uint8)
        with open_device(f"udp:{board.ip}", None) as device:
            device.load(CompiledModel(compile_model(golden, MACHINE).compiled()))
            logits = [result.logits.tolist() for result in device.run(images)]
    cable.simulation.close()
    exact = bool(np.array_equal(logits, golden(images)))
    print(json.dumps({"pinged": pinged, "neighbour": shown, "exact": exact, "images": len(logits)}))


if __name__ == "__main__":
    main()
