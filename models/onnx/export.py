"""`haarlequin export CHECKPOINT -o model.onnx`: write a model in deploy mode as an ONNX file."""

import argparse
from pathlib import Path

from haarlequin.models.common import cli
from haarlequin.models.common.errors import UsageError
from haarlequin.models.network.checkpoint import load
from haarlequin.models.network.freeze import freeze
from haarlequin.models.onnx.graph import export, save


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="haarlequin export", description="Write a model as ONNX.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint in deploy mode")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="what to write")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


@cli.command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    with cli.one_line_errors(arguments.verbose):
        if arguments.output.is_dir():
            raise UsageError(f"{arguments.output} is a folder: -o takes the name of a file")
        model = load(arguments.checkpoint)
        if not model.deployed:
            raise UsageError(f"{arguments.checkpoint} is in its float phase: export a finished model")
        exported = export(freeze(model))
        size = save(exported, arguments.output)
        nodes, classes = len(exported.graph.node), len(model.config.classes)
        print(f"{arguments.output}: {size:,} bytes, {nodes} nodes, {classes} classes")
