"""`haarlequin COMMAND …`: run a program of the project, which is imported only when it is asked for."""

import importlib
import sys

from haarlequin.sw.start import imports

COMMANDS = {
    "infer": ("sw.infer", "label images, on the simulated accelerator, a board or the integer model"),
    "compile": ("sw.compile", "an ONNX file into program and tables of an accelerator"),
    "explore": ("sw.explore", "which lanes and words compute a model best on a board"),
    "sim": ("sim.run", "real images through the real RTL, bit for bit"),
    "wave": ("sim.wave", "one image as a waveform, for Surfer and GTKWave"),
    "train": ("models.training.train", "train a network or a teacher"),
    "export": ("models.onnx.export", "a trained checkpoint into an ONNX file"),
    "evaluate": ("sw.evaluate", "how many test images a model labels right, in integers"),
    "attention": ("sw.attention", "what each attention layer of a trained model does"),
    "ablate": ("sw.ablate", "which parts of the network help"),
    "data": ("models.data.fetch", "fetch CIFAR-10 and check it"),
    "benchmark": ("sim.benchmark.command", "figures of boards, simulator and computer, and their marks"),
    "report": ("sim.report.command", "one page that shows the machine"),
    "bitstream": ("sw.bitstream", "the bitstream of a board"),
    "flash": ("sw.flash", "put it on the board"),
    "verilog": ("hw.verilog", "the accelerator as plain Verilog"),
    "area": ("hw.area", "what the blocks cost on an ECP5"),
    "gatesim": ("sim.gatesim", "the netlist of a board against the integer model"),
    "noise": ("sim.noise", "a thousand faults on the link of the real RTL"),
    "cable": ("sim.cable", "images a second through a simulated SPI bus"),
    "serve": ("sim.serve", "any device over HTTP, or the simulated one on a pseudo-terminal"),
}
"""The module within ``haarlequin`` whose ``main`` each command is, and what it does."""


def usage() -> str:
    """The list of commands, as ``haarlequin --help`` prints it."""
    rows = [f"  {name:<10}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: haarlequin COMMAND …", "", *rows, "", "haarlequin COMMAND --help says more."])


def main(argv: list[str] | None = None) -> None:
    """The command line. Exit code 2 for an unknown command, 3 where a package is missing."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        from haarlequin import __version__

        print(__version__)
    elif name not in COMMANDS:
        print(f"error: unknown command {name!r}: there are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    else:
        with imports():  # around the command too, which imports some packages only where they are needed
            importlib.import_module(f"haarlequin.{COMMANDS[name][0]}").main(rest)


if __name__ == "__main__":
    main()
