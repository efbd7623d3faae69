"""`python -m hw.verilog`: an accelerator as plain Verilog, for other flows."""

import argparse
import gc
from collections.abc import Iterator
from pathlib import Path

from amaranth.back import verilog as backend
from amaranth.hdl import Const, Value
from amaranth.lib import wiring

from models.cli import one_line_errors
from models.errors import UsageError
from models.files import replacing

from .accelerator import Accelerator
from .config import CONFIGS, accelerator


def ports(component: wiring.Component) -> Iterator[tuple[str, bool, Value]]:
    """Name, whether it is an input, and value of every port; a name is the member's path joined by ``__``."""
    for path, member, value in component.signature.flatten(component):
        yield "__".join(map(str, path)), member.flow is wiring.In, Value.cast(value)


def verilog(component: wiring.Component, name: str = "top") -> str:
    """The component as plain Verilog, module ``name``, with its `ports` and ``clk`` and ``rst``. Constants,
    such as the ready of an always-ready stream, are no ports.
    """
    signals = {path: (value, None) for path, _, value in ports(component) if not isinstance(value, Const)}
    gc.disable()  # or it looks through a growing design again and again: two fifths of the time
    try:
        return backend.convert(component, name=name, ports=signals, emit_src=False, strip_internal_attrs=True)
    finally:
        gc.enable()


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make verilog", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, metavar="CONFIG", help=f"one of {', '.join(CONFIGS)}")
    parser.add_argument("--clock", type=int, default=50_000_000, help="in Hz (default: 50 MHz)")
    parser.add_argument("--timeout", type=int, default=1 << 16, help="of a frame that was cut, in cycles")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: build/verilog/CONFIG.v)")
    arguments = parser.parse_args(argv)
    with one_line_errors(verbose=False):
        config = accelerator(arguments.config)
        if arguments.clock < 1 or arguments.timeout < 2:
            raise UsageError("--clock must be at least 1, --timeout at least 2")
        path = arguments.output or Path("build/verilog", f"{config.name}.v")
        print(f"elaborating {config.name}: seconds, up to half a minute for 64 lanes", flush=True)
        text = verilog(Accelerator(config, arguments.clock, arguments.timeout), "haarlequin")
        with replacing(path) as draft:
            draft.write_text(text)
        print(f"{path}: module haarlequin, {text.count(chr(10)):,} lines; rx and tx speak docs/protocol.md")


if __name__ == "__main__":
    main()
