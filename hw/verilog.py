"""`haarlequin verilog`: an accelerator as plain Verilog, for other flows."""

import argparse
import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import verilog as backend
from amaranth.hdl import Const, Value
from amaranth.lib import wiring

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder, writable

_TRIGGER = re.compile(r"reg (\\\$auto\$verilog_backend\S+) += 0;")
"""A register that yosys declares in a module with processes, and reads in each process so that it runs
at time 0."""


def ports(component: wiring.Component) -> Iterator[tuple[str, bool, Value]]:
    """For every port its name, whether it is an input, and its value.

    The name is the path of the member, joined by ``__``.
    """
    for path, member, value in component.signature.flatten(component):
        yield "__".join(map(str, path)), member.flow is wiring.In, Value.cast(value)


def verilog(component: wiring.Component, name: str = "top") -> str:
    """The component as the text of a Verilog module called ``name``.

    Its ports are `ports`, ``clk`` and ``rst``. Constants, such as the ready of an always-ready stream, do not
    become ports. The text is Verilog-2005 and means the same to a tool that reads it as SystemVerilog.
    """
    signals = {path: (value, None) for path, _, value in ports(component) if not isinstance(value, Const)}
    gc.disable()  # otherwise it walks through the growing design again and again: two fifths of the time
    try:
        with _own_yosys():
            options = {"emit_src": False, "strip_internal_attrs": True}
            text = backend.convert(component, name=name, ports=signals, **options)
    finally:
        gc.enable()
    return _started(text)


@contextmanager
def _own_yosys() -> Iterator[None]:
    """Within the block, Amaranth uses the yosys that was installed with it, with a cache in the build folder.

    Another yosys on PATH would write different Verilog, for which simulators would be built again. The cache
    lies below `XDG_CACHE_HOME`.
    """
    ours = {"XDG_CACHE_HOME": str(writable(build_folder("cache")).absolute())}
    ours["AMARANTH_USE_YOSYS"] = os.environ.get("AMARANTH_USE_YOSYS", "builtin")
    kept = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _started(text: str) -> str:
    """The text, changed so that every ``always @*`` runs at time 0 in Verilog and in SystemVerilog.

    In SystemVerilog the initial value of a declaration is not an event: a process that waits for it never
    runs, and its outputs stay at X. A nonblocking assignment is an event in both languages, and it comes
    when every process is already waiting.
    """
    started = (
        r"reg \1 ; /* verilator lint_off INITIALDLY */ initial \1 <= 0; /* verilator lint_on INITIALDLY */"
    )
    return _TRIGGER.sub(started, text)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin verilog", description="An accelerator as plain Verilog, for other flows."
    )
    parser.add_argument("--config", required=True, metavar="CONFIG", help=f"one of {', '.join(CONFIGS)}")
    parser.add_argument(
        "--clock",
        type=int,
        default=50_000_000,
        help="the clock that IDENTIFY reports, in Hz (default: 50 MHz)",
    )
    parser.add_argument(
        "--timeout",
        type=int,
        default=1 << 16,
        help="cycles without a byte after which an incomplete frame is given up (default: 65536)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="(default: verilog/CONFIG.v in the build folder)"
    )
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False):
        config = accelerator(arguments.config)
        if arguments.clock < 1 or arguments.timeout < 2:
            raise UsageError("--clock must be at least 1, --timeout at least 2")
        path = arguments.output or build_folder("verilog", f"{config.name}.v")
        print(f"elaborating {config.name}: seconds, up to half a minute for 64 lanes", flush=True)
        text = verilog(Accelerator(config, arguments.clock, arguments.timeout), "haarlequin")
        write_text(path, text)
        print(f"{path}: module haarlequin, {text.count(chr(10)):,} lines; rx and tx speak docs/protocol.md")
