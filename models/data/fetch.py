"""`haarlequin data`: download CIFAR-10 from its official address into `data/`."""

import argparse
import hashlib
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from haarlequin.models.common.cli import command, line_of
from haarlequin.models.common.files import replacing
from haarlequin.models.data.cifar import MD5
from haarlequin.models.data.split import DataError

NAME = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{NAME}"


class Offline(Exception):
    """The data cannot be reached from this computer; the message says what to do."""


def fetch(url: str, target: Path, md5: str) -> bool:
    """Download ``url`` to ``target``, whole and with that checksum, or not at all; False if it was there.

    Raises `Offline` where the address cannot be reached, and `DataError` where the checksum is another.
    """
    if target.exists() and _md5(target) == md5:
        return False
    try:
        with replacing(target) as draft:
            _download(url, draft)
            if (found := _md5(draft)) != md5:
                raise DataError(f"{url} has md5 {found}, published is {md5}: damaged on its way, try again")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise Offline(
            f"no way to {url} from here ({reason}): bring it to {target} from a machine that is online "
            f"(md5 {md5}), or train on any image folder with --data DIR"
        ) from None
    return True


def _download(url: str, draft: Path) -> None:
    with urllib.request.urlopen(url, timeout=30) as response, draft.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=size, unit="B", unit_scale=True, desc=url.rpartition("/")[2]) as bar:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@command
def main(argv: list[str] | None = None) -> None:
    """The command line: exit code 3 where there is no network."""
    parser = argparse.ArgumentParser(prog="haarlequin data", description="Fetch CIFAR-10, 170 MB.")
    parser.add_argument("--to", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    target = parser.parse_args(argv).to / NAME
    try:
        came = fetch(URL, target, MD5[NAME])
    except (Offline, DataError, OSError) as error:
        print(f"error: {line_of(error)}", file=sys.stderr)
        sys.exit(3 if isinstance(error, Offline) else 2)
    what = "fetched" if came else "already there"
    print(f"{target}: {what}, checksum right; train with --data {target.parent}")
