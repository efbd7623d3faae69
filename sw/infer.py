"""`python sw/infer.py IMAGE…`: say what is on these pictures.

Images go to an accelerator, simulated or real, and labels come out. Exit codes: 1 means that the device
failed or gave another result than the golden model, 2 that some input could not be used, and 3 that this
Python is too old or lacks a package.
"""

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from haarlequin.sw.start import imports, lack

# The golden model computes one image at a time, too little work to share: threads would only wait for each
# other. It is set here, because the libraries read it when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
with imports():
    import numpy as np
    from tqdm import tqdm

    from haarlequin.models.common.cli import command, one_line_errors
    from haarlequin.models.common.errors import UsageError, printable
    from haarlequin.models.common.files import check_replaceable
    from haarlequin.models.common.pictures import PictureError
    from haarlequin.models.segmentation import enlarge
    from haarlequin.sw import mask_picture
    from haarlequin.sw.accelerator import Accelerator, answer_shares
    from haarlequin.sw.answer_page import LABELS, Answer, Page
    from haarlequin.sw.devices import KINDS, DeviceError, Result
    from haarlequin.sw.devices.plugged_in import listing
    from haarlequin.sw.images import class_of, find
    from haarlequin.sw.report import Item, Report, Tally


def items(accelerator: Accelerator, arguments: argparse.Namespace) -> tuple[list[Item], list[str]]:
    """The images to classify, and a message for each name on the command line that leads to no image."""
    names, limit = arguments.images, arguments.limit
    if not names:
        return _test_images(accelerator, arguments.data)[:limit], []
    if arguments.data:
        raise UsageError("--data is for the model's own test images: leave out --data, or the images")
    found = find(names)
    good = [each.path for each in found if not each.problem]
    config = accelerator.model_config
    classes = () if config.segmentation else config.classes
    wanted = [Item(str(path), path, class_of(path, classes)) for path in good[:limit]]
    return wanted, [f"{each.path}: {each.problem}" for each in found if each.problem]


def _test_images(accelerator: Accelerator, folder: Path | None) -> list[Item]:
    """The model's own test images. ``folder`` holds the data set, unless a Python package brings it."""
    from haarlequin.models import data  # it imports scikit-learn

    name = accelerator.model_config.name
    if folder is None and name not in data.BUNDLED:
        raise UsageError(f"name images, or give --data DIR, the data set of {name}, to take its test images")
    test = data.load(accelerator.model_config, folder).test
    targets: list[int | None] = [None] * len(test) if test.has_masks else test.labels.tolist()
    pairs = zip(test.pixels, targets, strict=True)
    return [Item(f"{name}/test/{i}", pixels, label) for i, (pixels, label) in enumerate(pairs)]


def run(
    accelerator: Accelerator,
    wanted: list[Item],
    report: Report,
    tally: Tally,
    check: bool,
    mask: Path | None = None,
    page: Page | None = None,
) -> None:
    """Classify the wanted images and report each; raises `DeviceError` where the device fails. ``mask`` is
    the file for a picture of the only image's mask, ``page`` is told every answer, too.
    """
    under_way: deque[tuple[Item, np.ndarray]] = deque()

    def pixels() -> Iterator[np.ndarray]:
        for item in wanted:
            try:
                converted, note = accelerator.pixels(item.image)
            except PictureError as error:
                tally.refused += 1
                tally.settled.add(item.path)
                report.error(str(error))
                if page:
                    page.refuse(str(error))
                report.skip()
                continue
            if note:
                report.note(item.path, note)
            under_way.append((item, converted))
            tally.first = tally.first or time.perf_counter()
            yield converted

    for result in accelerator.stream(pixels()):
        item, image = under_way.popleft()
        tally.add(item, result)
        report.image(item, result)
        if mask:
            config = accelerator.model_config
            answer = enlarge(result.labels, config.grids[-1], config.image)
            mask_picture.write(mask, image, answer, config.classes)
        difference = accelerator.check(image, result) if check else None
        if difference:
            tally.differing += 1
            report.error(f"{item.path}: {difference}")
        if page:
            page.add(_shown(accelerator, item, image, result, page.top, difference))


def _shown(
    accelerator: Accelerator, item: Item, image: np.ndarray, result: Result, top: int, difference: str | None
) -> Answer:
    """An answer as the page shows it."""
    config = accelerator.model_config
    mask = enlarge(result.labels, config.grids[-1], config.image) if config.segmentation else None
    shares = answer_shares(result, len(config.classes), config.logit_scale, top)
    return Answer(item.path, shares, image, mask, result.cycles, item.target, difference)


def benchmark(accelerator: Accelerator, item: Item, count: int, report: Report, check: bool) -> bool:
    """Compute an image ``count`` times and report it; returns whether it is as the golden model says, if that
    was to be checked. Raises `DeviceError` where the device fails, and `PictureError` for its picture.
    """
    image, note = accelerator.pixels(item.image)
    if note:
        report.note(item.path, note)
    found = accelerator.device.benchmark(image, count, report.progress)
    report.image(item, found.result, found)
    difference = accelerator.check(image, found.result) if check else None
    if difference:
        report.error(f"{item.path}: {difference}")
    return not difference


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python sw/infer.py",
        description="What is on these pictures?",
        epilog="devices: " + "; ".join(f"{name}: {text}" for name, text in KINDS.items()),
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="files, folders, patterns (default: the model's own)",
    )
    parser.add_argument(
        "--model",
        default="digits",
        metavar="NAME|PATH",
        help="a trained model, an ONNX file, a checkpoint or a folder of tables (default: digits)",
    )
    parser.add_argument(
        "--device",
        default="sim",
        metavar="NAME[,NAME…]",
        help="several share the images; or list, which names all (default: sim)",
    )
    parser.add_argument("--config", help="accelerator to simulate (default: what the model is meant for)")
    parser.add_argument("--top", type=int, metavar="K", help="labels to name (default: 1; on a page, 3)")
    parser.add_argument(
        "--mask", type=Path, metavar="OUT.png", help="draw the mask of one image, with a legend"
    )
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE.html",
        help="a page of the images, each with its answer, to look at",
    )
    parser.add_argument(
        "--benchmark",
        type=int,
        metavar="N",
        help="compute the first image N times within the accelerator: what it does without its cable",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line, for programs")
    parser.add_argument("--logits", action="store_true", help="logits of each token, for --json and --check")
    parser.add_argument("--check", action="store_true", help="compare with the golden model")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the model's data set, where it needs one")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first images")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    for name in ("top", "limit", "benchmark"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    return arguments


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    with one_line_errors(arguments.verbose, failures=(DeviceError,)):
        try:
            code = _run(arguments)
        except ImportError as error:  # a package that only some devices or models need
            print(f"error: {lack(error)}", file=sys.stderr)
            code = 3
    sys.exit(code)


def _run(arguments: argparse.Namespace) -> int:
    """Open the device, classify, and report; returns the exit code."""
    if arguments.device == "list":
        print(listing())
        return 0
    _check_mask_file(arguments.mask)
    _check_page_file(arguments)
    with _open(arguments) as accelerator:
        if arguments.check and not accelerator.model.golden:
            raise UsageError("--check: tables cannot be checked, give the model's name or its ONNX file")
        _check_kind(accelerator, arguments)
        wanted, problems = items(accelerator, arguments)
        if arguments.mask and len(wanted) + len(problems) != 1:
            raise UsageError(
                f"--mask draws one image, not {len(wanted) + len(problems)}: name one, or add --limit 1"
            )
        report, tally, failed = Report(accelerator, arguments, len(wanted)), Tally(), 0
        page = _page(accelerator, arguments)
        tally.refused = len(problems)
        for problem in problems:
            report.error(problem)
            if page:
                page.refuse(problem)
        if arguments.benchmark:
            if not wanted:
                return 2
            right = benchmark(accelerator, wanted[0], arguments.benchmark, report, arguments.check)
            return 1 if not right else 2 if problems else 0
        try:
            run(accelerator, wanted, report, tally, arguments.check, arguments.mask, page)
        except DeviceError as error:
            report.error(str(error))
            left = [item.path for item in wanted if item.path not in tally.settled]
            report.error(f"{len(left)} images have no answer, from {left[0]} on")
            failed = 1
        finally:
            summary = report.end(tally, arguments.check)
            if page:
                page.write(arguments.show, summary, sum(item.path not in tally.settled for item in wanted))
    return 1 if failed or tally.differing else 2 if tally.refused else 0


def _page(accelerator: Accelerator, arguments: argparse.Namespace) -> Page | None:
    """An empty page, where one is asked for."""
    if not arguments.show:
        return None
    config, device = accelerator.model_config, accelerator.device
    top = arguments.top or LABELS
    name = {"sim": "the simulated accelerator", "golden": "the integer model"}.get(
        arguments.device, arguments.device
    )
    return Page(config.name, name, config.classes, device.predicts, top)


def _check_mask_file(path: Path | None) -> None:
    """Raise `UsageError` for a file that no picture of a mask can be written to."""
    if path and path.suffix.lower() != ".png":
        raise UsageError(f"--mask writes a PNG: {path} must end in .png")
    if path and path.is_dir():
        raise UsageError(f"--mask writes a file: {path} is a folder")


def _check_page_file(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for a file that no page can be written to, before anything is computed for it."""
    path = arguments.show
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--show writes a page: {path} must end in .html")
    if arguments.benchmark:
        raise UsageError("--show has the answers of a run, --benchmark its speed: leave out one of them")
    check_replaceable(path)


def _check_kind(accelerator: Accelerator, arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for options that do not fit what the model answers, a label or a mask."""
    config = accelerator.model_config
    if arguments.mask and not config.segmentation:
        raise UsageError(f"--mask needs a segmentation model: {config.name} has one label for an image")
    if arguments.top and config.segmentation:
        raise UsageError(f"--top names labels of an image: {config.name} has a mask for it, see --mask")


def _open(arguments: argparse.Namespace) -> Accelerator:
    """Open the accelerator; loading has a progress bar where it takes longer than a second."""

    def notice(line: str) -> None:
        with tqdm.external_write_mode(sys.stderr):  # a bar may be there when a device fails
            print(printable(line), file=sys.stderr, flush=True)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with tqdm(unit="B", unit_scale=True, desc="loading", disable=None, leave=False, delay=1) as bar:
        return Accelerator(
            arguments.device, arguments.model, arguments.config, notice, progress, arguments.logits
        )


if __name__ == "__main__":
    main(sys.argv[1:])
