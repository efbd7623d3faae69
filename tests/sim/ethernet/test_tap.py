"""The simulated board on a network of the operating system's own: Linux asks, pings and sends datagrams."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from haarlequin.hw.link.ethernet.address import Address
from haarlequin.models.common.places import build_folder
from haarlequin.sim.ethernet.board import ethernet_simulator
from tests.sim.ethernet.in_namespace import IMAGES, MACHINE, NO_RIGHT

pytestmark = pytest.mark.slow

APART = ["unshare", "--net"] if os.name == "posix" and os.getuid() == 0 else ["unshare", "-r", "--net"]
"""The command that gives a program a network of its own, in which it may do what it likes."""


def test_ping_and_inference_through_the_kernel():
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(program):
            pytest.skip(f"{program} is missing: apt-get install {package}")
    made = subprocess.run([*APART, "true"], capture_output=True, encoding="utf-8")
    if made.returncode:
        pytest.skip(f"there is no right to make a network namespace: {made.stderr.strip()}")
    ethernet_simulator(MACHINE, build_folder("sim"))
    command = [*APART, sys.executable, "-m", "tests.sim.ethernet.in_namespace"]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600)
    if ran.returncode == NO_RIGHT:
        pytest.skip(ran.stdout.strip())
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["pinged"] == [True, True, True]
    assert f"{Address().ip} dev haarlequin0 lladdr {Address().mac}" in found["neighbour"]
    assert (found["images"], found["exact"]) == (IMAGES, True)
